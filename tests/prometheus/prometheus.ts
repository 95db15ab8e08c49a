/**
 * Runs a real Prometheus for the duration of a test.
 *
 * @module
 */
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";

/** A series and its value, in the result of a query. */
export interface QueryResult {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

/** An exemplar of a series, in the result of a query. */
export interface ExemplarResult {
  readonly series: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A Prometheus that is running. */
export interface Prometheus extends AsyncDisposable {
  query(promql: string): Promise<QueryResult[]>;
  /** Returns the exemplars of all series in a query. */
  queryExemplars(promql: string): Promise<ExemplarResult[]>;
}

/**
 * Returns whether a program is installed; if not, it prints the skipped tests.
 *
 * @param args The arguments of a command that must succeed.
 */
export function isInstalled(
  program: string,
  tests: string,
  args: string[] = ["--version"],
): boolean {
  try {
    const { success } = new Deno.Command(program, { args }).outputSync();
    if (success) return true;
  } catch {
    // It does not exist.
  }
  console.warn(`Skipped: ${tests}, as "${program} ${args.join(" ")}" fails`);
  return false;
}

/**
 * Starts a Prometheus, and waits until it responds.
 *
 * @param jobs The address, host and port, that each job scrapes, by its name.
 * @param timeout How often it scrapes, and how long it waits for each scrape.
 */
export async function startPrometheus(
  jobs: Readonly<Record<string, string>>,
  timeout = "200ms",
): Promise<Prometheus> {
  const folder = await Deno.makeTempDir();
  const config = `${folder}/prometheus.json`;
  // JSON is valid YAML.
  await Deno.writeTextFile(
    config,
    JSON.stringify({
      global: { scrape_interval: timeout, scrape_timeout: timeout },
      scrape_configs: Object.entries(jobs).map(([job_name, target]) => ({
        job_name,
        static_configs: [{ targets: [target] }],
      })),
    }),
  );
  const address = `127.0.0.1:${freePort()}`;
  const child = new Deno.Command("prometheus", {
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=${address}`,
      "--enable-feature=exemplar-storage",
    ],
    stdout: "null",
    stderr: "null",
  }).spawn();

  async function ask<T>(endpoint: string, promql: string): Promise<T> {
    const parameters = new URLSearchParams({ query: promql });
    const response = await fetch(
      `http://${address}/api/v1/${endpoint}?${parameters}`,
    );
    const { status, error, data } = await response.json();
    if (status !== "success") throw new Error(`${error}: ${promql}`);
    return data;
  }

  async function query(promql: string): Promise<QueryResult[]> {
    const { result } = await ask<{
      result: { metric: Record<string, string>; value: [number, string] }[];
    }>("query", promql);
    return result.map(({ metric, value: [, value] }) => ({
      metric,
      value: Number(value.replace("Inf", "Infinity")),
    }));
  }

  async function queryExemplars(promql: string): Promise<ExemplarResult[]> {
    const found = await ask<{
      seriesLabels: Record<string, string>;
      exemplars: { labels: Record<string, string>; value: string }[];
    }[]>("query_exemplars", promql);
    return found.flatMap(({ seriesLabels: series, exemplars }) =>
      exemplars.map(({ labels, value }) => ({
        series,
        labels,
        value: Number(value),
      }))
    );
  }

  async function stop(): Promise<void> {
    child.kill("SIGKILL");
    await child.status;
    await Deno.remove(folder, { recursive: true });
  }

  try {
    await eventually(() => query("vector(1)"));
  } catch (error) {
    await stop();
    throw error;
  }
  return { query, queryExemplars, [Symbol.asyncDispose]: stop };
}

/** Returns the host and port of a server. */
export function addressOf({ addr }: Deno.HttpServer): string {
  return `127.0.0.1:${(addr as Deno.NetAddr).port}`;
}

/** Serves on loopback, on a free port. */
export function serve(
  handler: (request: Request) => Response | Promise<Response>,
): Deno.HttpServer {
  return Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    handler,
  );
}
