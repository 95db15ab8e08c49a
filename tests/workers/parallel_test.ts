import { assertEquals } from "@std/assert";

/** The minimum number of requests, and of scrapes while they are sent. */
const [REQUESTS, SCRAPES] = [2000, 20];
const CONNECTIONS = 8;

/** Runs the example with several threads on a free port. */
async function startExample(): Promise<
  AsyncDisposable & { readonly url: string }
> {
  const service = new Deno.Command(Deno.execPath(), {
    args: [
      "serve",
      "--parallel",
      "--host=127.0.0.1",
      "--port=0",
      new URL("../../examples/workers/parallel.ts", import.meta.url).href,
    ],
    env: { NO_COLOR: "1", DENO_JOBS: "4" },
    stderr: "piped",
  }).spawn();
  const reader = service.stderr.pipeThrough(new TextDecoderStream())
    .getReader();
  let printed = "";
  while (!/:\d+\//.test(printed)) {
    const { value, done } = await reader.read();
    if (done) throw new Error(`The example exited: ${printed}`);
    printed += value;
  }
  return {
    url: /http:\S+/.exec(printed)![0],
    async [Symbol.asyncDispose]() {
      service.kill();
      await service.status;
      await reader.cancel();
    },
  };
}

/** Sends a request over a new connection, which any thread may accept. */
async function request(url: string, body?: string): Promise<string> {
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const method = body === undefined ? "GET" : "POST";
  const response = await fetch(url, { client, method, body: body ?? null });
  return await response.text();
}

async function scrape(url: string): Promise<Record<string, number>> {
  const text = await request(`${url}metrics`);
  const read = (series: string) =>
    Number(text.split(`\nlukhas_orchestration_${series} `)[1]?.split("\n")[0]);
  const labels = 'lane="production",pipeline_name="checksum"';
  return {
    pipelines: read(`pipeline_total{${labels},status="success"}`) || 0,
    observed:
      read(`pipeline_duration_seconds_count{${labels},status="success"}`) || 0,
    stages:
      read(`stage_total{${labels},stage_name="hash",outcome="success"}`) || 0,
    unresponsive: read(
      'instrumentation_issues_total{issue="worker_unresponsive"}',
    ),
  };
}

Deno.test("metricsHandler() counts every request under deno serve --parallel", async () => {
  await using service = await startExample();
  let sent = 0;
  let answered = 0;
  let isDone = false;
  const client = async () => {
    while (sent < REQUESTS || scrapes < SCRAPES) {
      sent++;
      const text = await request(service.url, "Ada");
      assertEquals(text, "5c3cb098d52deb3f67e97b7fba960c4cf6880461\n");
      answered++;
    }
  };
  const problems: string[] = [];
  let scrapes = 0;
  const scraper = async () => {
    let last = 0;
    while (!isDone) {
      const before = answered;
      const { pipelines, observed, stages } = await scrape(service.url);
      const line = JSON.stringify({
        before,
        pipelines,
        observed,
        stages,
        sent,
      });
      if (pipelines! < before || pipelines! > sent) problems.push(line);
      if (observed !== pipelines || stages! < pipelines!) problems.push(line);
      if (pipelines! < last) problems.push(`${line} decreased from ${last}`);
      last = pipelines!;
      scrapes++;
    }
  };
  const scraping = scraper();
  // Without it, the clients would wait for further scrapes.
  scraping.catch(() => scrapes = SCRAPES);
  await Promise.all(Array.from({ length: CONNECTIONS }, client))
    .finally(() => isDone = true);
  await scraping;
  assertEquals(problems, []);
  for (let i = 0; i < 20; i++) {
    assertEquals(await scrape(service.url), {
      pipelines: sent,
      observed: sent,
      stages: sent,
      unresponsive: 0,
    });
  }
});
