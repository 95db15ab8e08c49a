import { trace } from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  type IdGenerator,
} from "@opentelemetry/sdk-trace-node";
import * as successor from "@prometheus-io/client";
import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  metricsHandler,
  type MetricsRegistry,
  type StageMetricsOptions,
} from "../../mod.ts";
import { manualClock } from "../../src/testing.ts";
import { registerSdk } from "../support/sdk.ts";
import { countingProvider, exemplarOf } from "../support/spans.ts";

function create(options: StageMetricsOptions = {}) {
  const clock = manualClock();
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    clock,
    tracing: countingProvider(),
    ...options,
  });
  /** Runs a pipeline of the given duration. */
  const run = (seconds: number) =>
    metrics.pipeline("p", () => clock.advance(seconds));
  return { clock, metrics, run };
}

const OPENMETRICS = "application/openmetrics-text";

async function scrape(
  registry: MetricsRegistry | readonly MetricsRegistry[],
  accept = OPENMETRICS,
): Promise<string> {
  const headers = { Accept: accept };
  const request = new Request("http://localhost/", { headers });
  return await (await metricsHandler({ registry })(request)).text();
}

/** Returns the labels and values of the exemplars of a histogram by `le`. */
function exemplarsIn(
  text: string,
  { kind = "pipeline", outcome = "success" } = {},
): Record<string, string> {
  const line = new RegExp(
    `^lukhas_orchestration_${kind}_duration_seconds_bucket{.*="${outcome}",le="(.*?)".*} \\d+ # (.*) [\\d.]+$`,
    "gm",
  );
  return Object.fromEntries(
    [...text.matchAll(line)].map(([, le, exemplar]) => [le!, exemplar!]),
  );
}

Deno.test("metricsHandler() shows the last traced observation of each bucket", async () => {
  const { metrics, run } = create();
  // The sums of these are exact.
  for (const seconds of [5 / 16, 1 / 64, 128, 21 / 64, 5, 1 / 128]) {
    run(seconds);
  }
  assertEquals(exemplarsIn(await scrape(metrics.registry)), {
    "0.01": `${exemplarOf(6)} ${1 / 128}`,
    "0.05": `${exemplarOf(2)} ${1 / 64}`,
    "0.35": `${exemplarOf(4)} ${21 / 64}`,
    "5.0": `${exemplarOf(5)} 5`,
    "+Inf": `${exemplarOf(3)} 128`,
  });
});

Deno.test("Exemplar has the outcome and span of its scope", async () => {
  const { clock, metrics } = create();
  const { pipeline, registry, stage } = metrics;
  try {
    pipeline("p", () => {
      stage("s", () => clock.advance(0.25));
      throw new Error("No");
    });
  } catch {
    // Only its exemplar matters.
  }
  const text = await scrape(registry);
  assertEquals(exemplarsIn(text), {});
  assertEquals(exemplarsIn(text, { outcome: "failure" }), {
    "0.25": `${exemplarOf(1)} 0.25`,
  });
  assertEquals(exemplarsIn(text, { kind: "stage" }), {
    "0.5": `${exemplarOf(2)} 0.25`,
  });
});

Deno.test("Exemplar has the Unix time of the observation", async () => {
  const { metrics, run } = create();
  const { now } = Date;
  try {
    Date.now = () => 1_700_000_000_000;
    run(1);
    Date.now = () => 1_700_000_000_250;
    run(0.25);
  } finally {
    Date.now = now;
  }
  const text = await scrape(metrics.registry);
  const exemplars = text.matchAll(/ # {.*} (\S+) (\S+)$/gm);
  assertEquals(Array.from(exemplars, ([, value, time]) => [value, time]), [
    ["0.25", "1700000000.25"],
    ["1", "1700000000"],
  ]);
});

Deno.test("metricsHandler() shows no exemplars in the text format", async () => {
  const traced = create();
  const untraced = create({ tracing: false });
  traced.run(0.3);
  untraced.run(0.3);
  const withoutTimes = (text: string) =>
    text.replace(/^(\S+_timestamp_seconds{.*}) .*$/gm, "$1");
  assertEquals(
    withoutTimes(await scrape(traced.metrics.registry, "text/plain")),
    withoutTimes(await scrape(untraced.metrics.registry, "text/plain")),
  );
});

Deno.test("Exemplar is not replaced by an unsampled trace", async () => {
  const tracing = countingProvider({ isSampled: (n) => n === 2 });
  const { metrics, run } = create({ tracing });
  run(5 / 16);
  assertEquals(exemplarsIn(await scrape(metrics.registry)), {});
  run(21 / 64);
  run(5 / 16);
  assertEquals(exemplarsIn(await scrape(metrics.registry)), {
    "0.35": `${exemplarOf(2)} ${21 / 64}`,
  });
});

Deno.test("Exemplar is not created for a trace that the SDK does not sample", async () => {
  using _sdk = registerSdk({ sampler: new AlwaysOffSampler() });
  const { metrics, run } = create({ tracing: "auto" });
  run(0.3);
  assertEquals(exemplarsIn(await scrape(metrics.registry)), {});
});

Deno.test("record…Metrics() uses the sampled active span for the exemplar", async () => {
  const idGenerator: IdGenerator = {
    generateTraceId: () => "0".repeat(31) + "7",
    generateSpanId: () => "0".repeat(15) + "7",
  };
  using _sdk = registerSdk({ idGenerator });
  const tracer = trace.getTracer("own");
  for (const tracing of ["auto", false] as const) {
    const { metrics } = create({ tracing });
    const record = (durationSec: number) => {
      metrics.recordPipelineMetrics({
        pipelineName: "p",
        durationSec,
        status: "success",
      });
      metrics.recordStageMetrics({
        pipelineName: "p",
        stageName: "s",
        durationSec,
        outcome: "success",
      });
    };
    tracer.startActiveSpan("own", (span) => {
      record(0.3);
      record(Infinity);
      span.end();
    });
    record(0.31);
    const text = await scrape(metrics.registry);
    const isTraced = tracing === "auto";
    assertEquals(
      exemplarsIn(text),
      isTraced
        ? { "0.35": `${exemplarOf(7)} 0.3`, "+Inf": `${exemplarOf(7)} +Inf` }
        : {},
    );
    assertEquals(
      exemplarsIn(text, { kind: "stage" }),
      isTraced
        ? { "0.5": `${exemplarOf(7)} 0.3`, "+Inf": `${exemplarOf(7)} +Inf` }
        : {},
    );
  }
});

Deno.test("Exemplar follows default labels, even with the name of an own label", async () => {
  for (const label of ["zone", "lane"]) {
    const registry = new Registry();
    registry.setDefaultLabels({ [label]: "eu" });
    const { run } = create({ registry });
    run(0.3);
    assertEquals(exemplarsIn(await scrape(registry)), {
      "0.35": `${exemplarOf(1)} 0.3`,
    });
  }
});

Deno.test("Registry.metrics() of @prometheus-io/client shows exemplars in OpenMetrics", async () => {
  const registry = new successor.Registry(
    successor.Registry.OPENMETRICS_CONTENT_TYPE,
  );
  const { run } = create({ registry });
  run(0.3);
  assertEquals(exemplarsIn(await registry.metrics()), {
    "0.35": `${exemplarOf(1)} 0.3`,
  });
});

Deno.test("reset() removes exemplars", async () => {
  const { metrics, run } = create();
  run(0.3);
  for (const family of metrics.registry.getMetricsAsArray()) {
    (family as { reset(): void }).reset();
  }
  assertEquals(exemplarsIn(await scrape(metrics.registry)), {});
});

Deno.test("metricsHandler() shows the exemplars from the instant of the scrape", async () => {
  const { clock, metrics } = create();
  const count = 200;
  const runAll = () => {
    for (let i = 0; i < count; i++) {
      metrics.pipeline(`p${i}`, () => clock.advance(1));
    }
  };
  runAll();
  const headers = { Accept: OPENMETRICS };
  const response = await metrics.metricsHandler()(
    new Request("http://localhost/", { headers }),
  );
  runAll();
  const text = await response.text();
  const ids = Array.from(
    text.matchAll(/trace_id="0*(\w+)"/g),
    ([, id]) => parseInt(id!, 16),
  );
  assertEquals(ids, Array.from({ length: count }, (_, i) => i + 1));
});

Deno.test("metricsHandler() shows the last exemplar of each bucket of merged registries", async () => {
  const one = create();
  const other = create({ tracing: countingProvider({ first: 11 }) });
  one.run(5 / 16);
  one.run(1 / 64);
  await new Promise((resolve) => setTimeout(resolve, 5));
  other.run(21 / 64);
  other.run(128);
  const expected = {
    "0.05": `${exemplarOf(2)} ${1 / 64}`,
    "0.35": `${exemplarOf(11)} ${21 / 64}`,
    "+Inf": `${exemplarOf(12)} 128`,
  };
  const registries = [one.metrics.registry, other.metrics.registry];
  assertEquals(exemplarsIn(await scrape(registries)), expected);
  assertEquals(exemplarsIn(await scrape(registries.reverse())), expected);
});

Deno.test("metricsHandler() leaves out exemplars of more than 128 characters", async () => {
  const registry = new Registry();
  const help = "Help";
  const labels = {
    fits: { a: "x".repeat(127) },
    wide: { a: "😀".repeat(127) },
    long: { a: "x".repeat(128) },
    many: { a: "x".repeat(100), b: "x".repeat(27) },
    huge: { a: "x".repeat(1e6) },
    "bad-name": { "trace-id": "1" },
  };
  for (const [name, labelSet] of Object.entries(labels)) {
    registry.registerMetric({
      name: `${name.replace("-", "_")}_total`,
      get: () =>
        Promise.resolve({
          name: `${name.replace("-", "_")}_total`,
          help,
          type: "counter",
          values: [
            {
              labels: {},
              value: 1,
              exemplar: { labelSet, value: 1, timestamp: 2 },
            },
          ],
        }),
    } as never);
  }
  registry.registerMetric({
    name: "untimed_total",
    get: () => ({
      name: "untimed_total",
      help,
      type: "counter",
      values: [{ labels: {}, value: 1, exemplar: { labelSet: {}, value: 1 } }],
    }),
  } as never);
  const text = await scrape(registry);
  const shown = [...text.matchAll(/^(\w+)_total 1 #/gm)].map(([, name]) =>
    name
  );
  assertEquals(shown, ["fits", "wide"]);
});

Deno.test("Exemplar is not created for an invalid span context", async () => {
  const valid = { traceId: "a".repeat(32), spanId: "b".repeat(16) };
  const shown: string[] = [];
  for (
    const ids of [
      valid,
      { ...valid, traceId: "0".repeat(32) },
      { ...valid, spanId: "0".repeat(16) },
      { ...valid, traceId: "" },
      { ...valid, traceId: "x\n# EOF" },
      { ...valid, spanId: "b".repeat(200) },
    ]
  ) {
    const span = {
      spanContext: () => ({ ...ids, traceFlags: 1 }),
      setAttribute() {},
      end() {},
    };
    const { metrics, run } = create({
      tracing: { getTracer: () => ({ startSpan: () => span }) },
    });
    run(0.01);
    shown.push(...Object.values(exemplarsIn(await scrape(metrics.registry))));
  }
  assertEquals(shown.length, 1);
});
