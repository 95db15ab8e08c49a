/** Tests slow and faulty collectors, and scrapes that request only some metrics. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { createStageMetrics, type StageMetrics } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { issuesTotal, pipelineTotal, samplesOf } from "../support/samples.ts";
import { until } from "../support/wait.ts";

const PREFIX = "lukhas_orchestration_";

function broken(): never {
  throw new Error("Broken");
}

/** Creates metrics, and a foreign one whose collector waits for the test. */
function withSlowCollector() {
  const messages: string[] = [];
  const registry = new Registry();
  const metrics = createStageMetrics({
    registry,
    lane: "test",
    onIssue: ({ issue, message }) => messages.push(`${issue}: ${message}`),
  });
  metrics.pipeline("p", () => {});
  const calls: PromiseWithResolvers<void>[] = [];
  new Gauge({
    name: "slow",
    help: "Help",
    registers: [registry],
    async collect() {
      const call = Promise.withResolvers<void>();
      const value = calls.push(call);
      await call.promise;
      this.set(value);
    },
  });
  new Gauge({ name: "quick", help: "Help", registers: [registry] });
  return { metrics, registry, calls, messages };
}

/** Scrapes like Prometheus with a timeout in seconds. */
async function scrape(
  handler: ReturnType<StageMetrics["metricsHandler"]>,
  { timeout, query = "", accept = "text/plain" }: {
    timeout?: number;
    query?: string;
    accept?: string;
  } = {},
): Promise<string> {
  const headers = new Headers({ Accept: accept });
  if (timeout !== undefined) {
    headers.set("X-Prometheus-Scrape-Timeout-Seconds", `${timeout}`);
  }
  const url = `http://localhost/metrics${query}`;
  const response = await handler(new Request(url, { headers }));
  assertEquals(response.status, 200);
  return await response.text();
}

function hasOwn(text: string): boolean {
  return text.includes(
    `${PREFIX}pipeline_total{lane="test",pipeline_name="p",status="success"} 1\n`,
  );
}

function namesOf(text: string): string[] {
  return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);
}

/** Waits until pending promise callbacks have run. */
function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

Deno.test("metricsHandler() waits half of the scrape's timeout for a collector", async () => {
  const { metrics, messages } = withSlowCollector();
  const text = await scrape(metrics.metricsHandler(), { timeout: 0.1 });
  assert(hasOwn(text));
  assertStringIncludes(text, "\nquick 0\n");
  assertEquals(text.includes("slow"), false);
  assertEquals(messages, [
    'collector_error: Metric "slow" was left out: TimeoutError: Its collector took longer than 50 ms',
  ]);
});

Deno.test("metricsHandler() does not call a collector again while its last call hangs", async () => {
  const { metrics, registry, calls, messages } = withSlowCollector();
  const handlers = [
    metrics.metricsHandler(),
    createStageMetrics({ registry }).metricsHandler(),
    metrics.metricsHandler({ registry: [registry, new Registry()] }),
  ];
  await scrape(handlers[0]!, { timeout: 0.1 });
  for (const handler of [...handlers, ...handlers]) {
    const text = await scrape(handler, { timeout: 0.05 });
    assert(hasOwn(text));
    assertEquals([text.includes("slow"), calls.length], [false, 1]);
  }
  assertEquals(messages.length, 7);
  for (const message of messages.slice(1)) {
    const left = message.replace(/\d+/, "…");
    assertEquals(
      left,
      'collector_error: Metric "slow" was left out: TimeoutError: Its collector was called … ms ago and is not called again until it finishes',
    );
  }

  calls[0]!.resolve();
  await settled();
  const scraping = scrape(handlers[0]!);
  await until(() => calls.length === 2);
  calls[1]!.resolve();
  // Not 1, which the hung call has set.
  assertStringIncludes(await scraping, "\nslow 2\n");
});

Deno.test("metricsHandler() calls a collector again after its hung call failed", async () => {
  const { metrics, calls, messages } = withSlowCollector();
  const handler = metrics.metricsHandler();
  await scrape(handler, { timeout: 0.1 });
  calls[0]!.reject(new Error("Too late"));
  await settled();
  const scraping = scrape(handler);
  await until(() => calls.length === 2);
  calls[1]!.resolve();
  assertStringIncludes(await scraping, "\nslow 2\n");
  assertEquals(messages.length, 1);
});

Deno.test("metricsHandler() applies each scrape's own timeout to a shared collector call", async () => {
  const { metrics, calls, messages } = withSlowCollector();
  const handler = metrics.metricsHandler();
  const long = scrape(handler, { timeout: 60 });
  await until(() => calls.length === 1);
  const short = await scrape(handler, { timeout: 0.1 });
  assertEquals([hasOwn(short), short.includes("slow")], [true, false]);
  assertEquals(messages.length, 1);
  // It shares the pending call.
  const secondLong = scrape(handler, { timeout: 60 });
  await settled();
  calls[0]!.resolve();
  assertStringIncludes(await long, "\nslow 1\n");
  assertStringIncludes(await secondLong, "\nslow 1\n");
  assertEquals([calls.length, messages.length], [1, 1]);
});

Deno.test("metricsHandler() shows counts made while a scrape waits for a collector", async () => {
  const { metrics, registry, calls } = withSlowCollector();
  const handler = metrics.metricsHandler();
  const first = scrape(handler);
  await until(() => calls.length === 1);
  (registry.getSingleMetric("quick") as Gauge).set(7);
  metrics.pipeline("meanwhile", () => {});
  const second = scrape(handler);
  await settled();
  calls[0]!.resolve();
  // Own metrics are read last, all at the same instant.
  assertStringIncludes(await first, 'pipeline_name="meanwhile"');
  assertStringIncludes(await second, "\nquick 7\n");
});

/** Creates a registry with own metrics and a foreign one of each type. */
function withForeignMetrics() {
  const registry = new Registry();
  const registers = [registry];
  const metrics = createStageMetrics({ registry, lane: "test" });
  metrics.pipeline("p", () => {});
  const collected: string[] = [];
  const collect = (name: string) => () => {
    collected.push(name);
  };
  const help = "Help";
  new Counter({ name: "a_total", help, registers, collect: collect("a") });
  new Histogram({
    name: "h",
    help,
    registers,
    buckets: [1],
    collect: collect("h"),
  }).observe(1);
  new Gauge({ name: "g", help, registers, collect: collect("g") });
  return { metrics, handler: metrics.metricsHandler(), registry, collected };
}

Deno.test("metricsHandler() shows only the metrics that name[] requests", async () => {
  const { handler } = withForeignMetrics();
  const queries: [string, string[]][] = [
    ["?name[]=g", ["g"]],
    ["?name%5B%5D=g", ["g"]],
    ["?name[]=g&name[]=a_total&other=h", ["a_total", "g"]],
    ["?name[]=h", ["h"]],
    ["?name[]=h_bucket", ["h"]],
    ["?name[]=h_sum&name[]=h_count", ["h"]],
    ["?name[]=a", ["a_total"]],
    ["?name[]=none&name[]=", []],
    [`?name[]=${PREFIX}pipeline_total`, [`${PREFIX}pipeline_total`]],
    [`?name[]=${PREFIX}pipeline&name[]=g`, [`${PREFIX}pipeline_total`, "g"]],
    [
      `?name[]=${PREFIX}stage_duration_seconds_bucket`,
      [`${PREFIX}stage_duration_seconds`],
    ],
  ];
  for (const [query, names] of queries) {
    const text = await scrape(handler, { query });
    assertEquals(namesOf(text), names, query);
    const accept = "application/openmetrics-text";
    const open = await scrape(handler, { query, accept });
    const openNames = names.map((name) => name.replace(/_total$/, ""));
    assertEquals(namesOf(open), openNames, query);
    assert(open.endsWith("# EOF\n"), query);
  }
  // The whole family, as in a scrape of all metrics.
  const whole = await scrape(handler);
  const family = await scrape(handler, { query: "?name[]=h_bucket" });
  assertEquals(family.split("\n").length, 7);
  assertStringIncludes(whole, family);
  assertEquals(await scrape(handler, { query: "?name[]=none" }), "");
});

Deno.test("metricsHandler() finds a counter by name[] after the client removed its _total", async () => {
  const { handler, registry } = withForeignMetrics();
  registry.setContentType(
    Registry.OPENMETRICS_CONTENT_TYPE as unknown as typeof registry.contentType,
  );
  await registry.metrics();
  for (const name of ["a", "a_total"]) {
    const text = await scrape(handler, { query: `?name[]=${name}` });
    assertStringIncludes(text, "# TYPE a_total counter\na_total 0\n");
  }
});

Deno.test("metricsHandler() calls only the collectors of metrics that name[] requests", async () => {
  const { handler, collected } = withForeignMetrics();
  await scrape(handler, { query: "?name[]=h_sum&name[]=g" });
  assertEquals(collected.splice(0), ["h", "g"]);
  await scrape(handler, { query: `?name[]=${PREFIX}pipeline_total` });
  assertEquals(collected, []);
  await scrape(handler);
  assertEquals(collected, ["a", "h", "g"]);
});

Deno.test("metricsHandler() shows each of concurrent scrapes the metrics it requests", async () => {
  const { handler } = withForeignMetrics();
  const names = ["g", "h", "none", "a_total", "g"];
  const texts = await Promise.all([
    ...names.map((name) => scrape(handler, { query: `?name[]=${name}` })),
    scrape(handler),
  ]);
  assertEquals(
    texts.slice(0, -1).map((text) => namesOf(text).join()),
    ["g", "h", "", "a_total", "g"],
  );
  assert(hasOwn(texts.at(-1)!));
});

Deno.test("metricsHandler() updates default metrics that another collector sets", async () => {
  const registry = new Registry();
  const registers = [registry];
  const { metricsHandler } = createStageMetrics({ registry });
  let seconds = 0;
  new Counter({
    name: "my_process_cpu_user_seconds_total",
    help: "Help",
    registers,
    collect: () => system.inc(++seconds),
  });
  const system = new Counter({
    name: "my_process_cpu_system_seconds_total",
    help: "Help",
    registers,
  });
  const query = "?name[]=my_process_cpu_system_seconds_total";
  const handler = metricsHandler();
  for (const value of [1, 3]) {
    const text = await scrape(handler, { query });
    assertEquals(namesOf(text), ["my_process_cpu_system_seconds_total"]);
    assertStringIncludes(text, `seconds_total ${value}\n`);
  }
});

Deno.test("collect() that runs pipelines is included in the same scrape", async () => {
  const registry = new Registry();
  await captureMetrics({ lane: "test", registry }, async (metrics) => {
    const { pipeline, recordPipelineMetrics } = metrics;
    new Gauge({
      name: "reentrant",
      help: "Help",
      registers: [registry],
      async collect() {
        recordPipelineMetrics({
          pipelineName: "recorded",
          durationSec: 1,
          status: "success",
        });
        await pipeline("ran", () => Promise.resolve());
      },
    });
    for (const times of [1, 2]) {
      assertEquals(await samplesOf(metrics), {
        [pipelineTotal("recorded", "success")]: times,
        [pipelineTotal("ran", "success")]: times,
      });
    }
    // The registry itself reads one metric after the other.
    assertEquals(typeof await registry.metrics(), "string");
  });
});

Deno.test("collect() can scrape its own registry", async () => {
  const registry = new Registry();
  await captureMetrics(
    { lane: "test", registry, onIssue() {} },
    async (metrics) => {
      const inner: Promise<unknown>[] = [];
      new Gauge({
        name: "recursive",
        help: "Help",
        registers: [registry],
        async collect() {
          if (inner.length === 2) return;
          const scrape = samplesOf(metrics);
          inner.push(scrape);
          await scrape;
        },
      });
      metrics.pipeline("p", () => {});
      const { [issuesTotal("collector_error")]: _, ...samples } =
        await samplesOf(
          metrics,
        );
      assertEquals(samples, { [pipelineTotal("p", "success")]: 1 });
      // They end with the outer scrape, but some turns of the event loop later.
      await Promise.all(inner);
    },
  );
});

Deno.test("collect() can return invalid metrics, which are skipped or partly read", async () => {
  const odd: readonly object[] = [
    { name: "null_view", get: () => null },
    { name: "no_values", get: () => ({ name: "no_values", type: "gauge" }) },
    { name: "odd_values", get: () => ({ name: "odd_values", values: 5 }) },
    { name: "throwing", get: () => new Proxy({}, { get: broken }) },
    { name: "throws", get: broken },
    { name: "rejects", get: () => Promise.reject(new Error("Broken")) },
    { name: "no_get" },
    {
      name: "throwing_labels",
      get: () => ({
        name: "throwing_labels",
        type: "gauge",
        help: "Help",
        values: [{ labels: { label: { toString: broken } }, value: 1 }],
      }),
    },
  ];
  const registry = new Registry();
  for (const each of odd) registry.registerMetric(each as never);
  await captureMetrics(
    { lane: "test", registry, onIssue() {} },
    async (metrics) => {
      metrics.pipeline("p", () => {});
      assertEquals(await samplesOf(metrics), {
        [pipelineTotal("p", "success")]: 1,
        [issuesTotal("collector_error")]: 7,
      });
    },
  );
});
