import { assert, assertEquals } from "@std/assert";
import { startThread, type Thread } from "../support/threads.ts";
import { eventually } from "../support/wait.ts";
import { isInstalled, startPrometheus } from "./prometheus.ts";

const PREFIX = "lukhas_orchestration_";
const THREADS = 4;

/** Starts threads with default metrics, and a collector slower than a scrape. */
async function startThreads(): Promise<
  { readonly threads: Thread[]; readonly resident: number }
> {
  const threads = await Promise.all(
    Array.from({ length: THREADS }, () => startThread({ timeout: 500 })),
  );
  let resident = 0;
  for (const [i, thread] of threads.entries()) {
    resident = await thread.call("collectDefaultMetrics", "");
    await thread.call("addSlowCollector", 10_000);
    await thread.call("record", "p", 0.1, 10 ** i);
    await thread.call("open", "p");
  }
  return { threads, resident };
}

/** Returns the own series of a scrape that do not change with time. */
function ownSamples(text: string): Map<string, number> {
  const line = new RegExp(`^(${PREFIX}[^ ]*) (.*)$`, "gm");
  const samples = [...text.matchAll(line)]
    .map(([, series, value]) => [series!, Number(value)] as const)
    .filter(([series]) => !/_unfinished_|_issues_/.test(series));
  return new Map(samples);
}

Deno.test({
  name: "Prometheus scrapes all series of threads with a slow collector",
  ignore: !isInstalled("prometheus", "scraping threads by a real Prometheus"),
  async fn() {
    const { threads, resident } = await startThreads();
    try {
      const port = await threads[0]!.call("listen");
      const expected = ownSamples(await threads[1]!.call("scrape"));
      assert(expected.size > 40, `${expected.size}`);
      await using prometheus = await startPrometheus(
        { service: `127.0.0.1:${port}` },
        "3s",
      );
      await eventually(async () => {
        const up = await prometheus.query("up");
        assertEquals(up.map(({ value }) => value), [1]);
        for (const [series, value] of expected) {
          const results = await prometheus.query(series);
          assertEquals(results.map(({ value }) => value), [value], series);
        }
      });
      const total = await prometheus.query(
        `${PREFIX}pipeline_total{pipeline_name="p",status="failure"}`,
      );
      assertEquals(total.map(({ value }) => value), [1111]);
      const running = await prometheus.query(
        `${PREFIX}pipeline_in_progress{pipeline_name="p"}`,
      );
      assertEquals(running.map(({ value }) => value), [THREADS]);

      const process = await prometheus.query('{__name__=~"process_.+"}');
      const values = new Map(
        process.map(({ metric, value }) => [metric.__name__!, value]),
      );
      assertEquals(process.length, values.size, "each name once");
      const memory = values.get("process_resident_memory_bytes")!;
      assert(memory > 0 && memory < 2 * resident, `${memory}: ${resident}`);
      const start = values.get("process_start_time_seconds")!;
      const now = Date.now() / 1000;
      assert(start > now - 86_400 && start <= now + 1, `${start}`);
      assert(values.has("process_cpu_seconds_total"));
    } finally {
      await Promise.all(threads.map((thread) => thread.end()));
    }
  },
});
