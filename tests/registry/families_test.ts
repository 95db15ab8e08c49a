import { Registry as SuccessorRegistry } from "@prometheus-io/client";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { AggregatorRegistry, Registry } from "prom-client";
import {
  createStageMetrics,
  type MetricsRegistry,
  openPipeline,
} from "../../mod.ts";
import { captureMetrics, manualClock, sampleValue } from "../../src/testing.ts";
import { samplesOf } from "../support/samples.ts";

function create(registry: MetricsRegistry = new Registry()) {
  const clock = manualClock();
  const metrics = createStageMetrics({
    registry,
    clock,
    lane: "test",
    onIssue() {},
  });
  return { clock, metrics };
}

/** Runs one pipeline that fails, with a stage that succeeds. */
function runOnce({ clock, metrics }: ReturnType<typeof create>) {
  try {
    metrics.pipeline("p", () => {
      metrics.stage("s", () => clock.advance(0.25));
      clock.advance(2);
      throw new Error("No");
    });
  } catch {
    // Only the outcome matters.
  }
}

/** The exposition after one run. */
const EXPOSITION =
  `# HELP lukhas_orchestration_pipeline_duration_seconds The total time taken to execute a pipeline.
# TYPE lukhas_orchestration_pipeline_duration_seconds histogram
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.01"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.05"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.1"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.15"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.2"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.25"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.35"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="0.5"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="1.0"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="2.5"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="5.0"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="success",le="+Inf"} 0
lukhas_orchestration_pipeline_duration_seconds_sum{lane="test",pipeline_name="p",status="success"} 0
lukhas_orchestration_pipeline_duration_seconds_count{lane="test",pipeline_name="p",status="success"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.01"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.05"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.1"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.15"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.2"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.25"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.35"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="0.5"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="1.0"} 0
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="2.5"} 1
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="5.0"} 1
lukhas_orchestration_pipeline_duration_seconds_bucket{lane="test",pipeline_name="p",status="failure",le="+Inf"} 1
lukhas_orchestration_pipeline_duration_seconds_sum{lane="test",pipeline_name="p",status="failure"} 2.25
lukhas_orchestration_pipeline_duration_seconds_count{lane="test",pipeline_name="p",status="failure"} 1
# HELP lukhas_orchestration_pipeline_total The total number of pipeline executions.
# TYPE lukhas_orchestration_pipeline_total counter
lukhas_orchestration_pipeline_total{lane="test",pipeline_name="p",status="success"} 0
lukhas_orchestration_pipeline_total{lane="test",pipeline_name="p",status="failure"} 1
lukhas_orchestration_pipeline_total{lane="test",pipeline_name="p",status="timeout"} 0
# HELP lukhas_orchestration_stage_duration_seconds The time taken to execute a single stage.
# TYPE lukhas_orchestration_stage_duration_seconds histogram
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.001"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.005"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.01"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.02"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.05"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.1"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.2"} 0
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="0.5"} 1
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="1.0"} 1
lukhas_orchestration_stage_duration_seconds_bucket{lane="test",pipeline_name="p",stage_name="s",outcome="success",le="+Inf"} 1
lukhas_orchestration_stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="s",outcome="success"} 0.25
lukhas_orchestration_stage_duration_seconds_count{lane="test",pipeline_name="p",stage_name="s",outcome="success"} 1
# HELP lukhas_orchestration_stage_total The total number of stage executions.
# TYPE lukhas_orchestration_stage_total counter
lukhas_orchestration_stage_total{lane="test",pipeline_name="p",stage_name="s",outcome="success"} 1
lukhas_orchestration_stage_total{lane="test",pipeline_name="p",stage_name="s",outcome="failure"} 0
lukhas_orchestration_stage_total{lane="test",pipeline_name="p",stage_name="s",outcome="timeout"} 0
# HELP lukhas_orchestration_pipeline_in_progress The number of pipeline executions in progress.
# TYPE lukhas_orchestration_pipeline_in_progress gauge
lukhas_orchestration_pipeline_in_progress{lane="test",pipeline_name="p"} 0
# HELP lukhas_orchestration_stage_in_progress The number of stage executions in progress.
# TYPE lukhas_orchestration_stage_in_progress gauge
lukhas_orchestration_stage_in_progress{lane="test",pipeline_name="p",stage_name="s"} 0
# HELP lukhas_orchestration_pipeline_unfinished_seconds The summed age of the pipeline executions in progress.
# TYPE lukhas_orchestration_pipeline_unfinished_seconds gauge
lukhas_orchestration_pipeline_unfinished_seconds{lane="test",pipeline_name="p"} 0
# HELP lukhas_orchestration_stage_unfinished_seconds The summed age of the stage executions in progress.
# TYPE lukhas_orchestration_stage_unfinished_seconds gauge
lukhas_orchestration_stage_unfinished_seconds{lane="test",pipeline_name="p",stage_name="s"} 0
# HELP lukhas_orchestration_pipeline_last_end_timestamp_seconds The Unix time of the last pipeline execution with this status.
# TYPE lukhas_orchestration_pipeline_last_end_timestamp_seconds gauge
lukhas_orchestration_pipeline_last_end_timestamp_seconds{lane="test",pipeline_name="p",status="failure"} <now>
# HELP lukhas_orchestration_pipeline_cancelled_total The total number of pipeline executions cancelled by their caller or consumer.
# TYPE lukhas_orchestration_pipeline_cancelled_total counter
# HELP lukhas_orchestration_stage_cancelled_total The total number of stage executions cancelled by their caller or consumer.
# TYPE lukhas_orchestration_stage_cancelled_total counter
# HELP lukhas_orchestration_instrumentation_issues_total The total number of instrumentation issues.
# TYPE lukhas_orchestration_instrumentation_issues_total counter
lukhas_orchestration_instrumentation_issues_total{issue="orphan_stage"} 0
lukhas_orchestration_instrumentation_issues_total{issue="late_stage"} 0
lukhas_orchestration_instrumentation_issues_total{issue="late_pipeline"} 0
lukhas_orchestration_instrumentation_issues_total{issue="unawaited_stage"} 0
lukhas_orchestration_instrumentation_issues_total{issue="undeclared_stage"} 0
lukhas_orchestration_instrumentation_issues_total{issue="invalid_name"} 0
lukhas_orchestration_instrumentation_issues_total{issue="invalid_value"} 0
lukhas_orchestration_instrumentation_issues_total{issue="label_overflow"} 0
lukhas_orchestration_instrumentation_issues_total{issue="registry_conflict"} 0
lukhas_orchestration_instrumentation_issues_total{issue="collector_error"} 0
lukhas_orchestration_instrumentation_issues_total{issue="hook_error"} 0
lukhas_orchestration_instrumentation_issues_total{issue="already_closed"} 0
lukhas_orchestration_instrumentation_issues_total{issue="worker_unresponsive"} 0
lukhas_orchestration_instrumentation_issues_total{issue="invalid_message"} 0
`;

/** Replaces the time of the last end. */
function hideTimestamp(text: string): string {
  return text.replace(/\d{10}(\.\d+)?$/m, "<now>");
}

Deno.test("metricsHandler() serves exactly the own families", async () => {
  const run = create();
  runOnce(run);
  const response = await run.metrics.metricsHandler()(
    new Request("http://localhost/"),
  );
  assertEquals(hideTimestamp(await response.text()), EXPOSITION);
});

for (
  const [client, Registry_] of [
    ["prom-client", Registry],
    ["@prometheus-io/client", SuccessorRegistry],
  ] as const
) {
  Deno.test(`register.metrics() of ${client} has exactly the own families`, async () => {
    const registry = new Registry_();
    runOnce(create(registry));
    // The client writes an empty line between two families.
    const text = (await registry.metrics()).replaceAll("\n\n", "\n");
    assertEquals(hideTimestamp(text), EXPOSITION);
  });

  Deno.test(`getMetricsAsJSON() of ${client} copies the labels of each sample`, async () => {
    const registry = new Registry_();
    runOnce(create(registry));
    const json = await registry.getMetricsAsJSON() as unknown as {
      name: string;
      type: string;
      aggregator: string;
      values: { metricName?: string; labels: object; value: number }[];
    }[];
    assertEquals(
      json.map(({ name, type, aggregator }) => [name, type, aggregator]),
      [
        ["pipeline_duration_seconds", "histogram", "sum"],
        ["pipeline_total", "counter", "sum"],
        ["stage_duration_seconds", "histogram", "sum"],
        ["stage_total", "counter", "sum"],
        ["pipeline_in_progress", "gauge", "sum"],
        ["stage_in_progress", "gauge", "sum"],
        ["pipeline_unfinished_seconds", "gauge", "sum"],
        ["stage_unfinished_seconds", "gauge", "sum"],
        ["pipeline_last_end_timestamp_seconds", "gauge", "max"],
        ["pipeline_cancelled_total", "counter", "sum"],
        ["stage_cancelled_total", "counter", "sum"],
        ["instrumentation_issues_total", "counter", "sum"],
      ].map(([name, ...rest]) => [`lukhas_orchestration_${name}`, ...rest]),
    );
    assertEquals(json[0]!.values.at(-5), {
      metricName: "lukhas_orchestration_pipeline_duration_seconds_bucket",
      labels: {
        lane: "test",
        pipeline_name: "p",
        status: "failure",
        le: "2.5",
      },
      value: 1,
    });
    const labels = json.flatMap(({ values }) => values.map((v) => v.labels));
    assertEquals(new Set(labels).size, labels.length);
  });

  Deno.test(`setDefaultLabels() of ${client} applies to own metrics`, async () => {
    const registry = new Registry_();
    registry.setDefaultLabels({ host: 'a"b', lane: "not mine" });
    const { metrics } = create(registry);
    metrics.pipeline("p", () => {});
    const expected =
      'pipeline_total{lane="test",pipeline_name="p",status="success",host="a\\"b"} 1';
    const response = await metrics.metricsHandler()(
      new Request("http://localhost/"),
    );
    const json = await registry.getMetricsAsJSON();
    assert((await response.text()).includes(expected));
    assert((await registry.metrics()).includes(expected));
    assertEquals(json[1]!.values[0]!.labels as object, {
      lane: "test",
      pipeline_name: "p",
      status: "success",
      host: 'a"b',
    });
  });

  Deno.test(`OpenMetrics registry of ${client} has the own families after clear()`, async () => {
    const registry = new Registry_(
      "application/openmetrics-text; version=1.0.0; charset=utf-8" as never,
    );
    const { metrics } = create(registry);
    metrics.pipeline("p", () => {});
    for (const _ of [1, 2]) {
      const text = await registry.metrics();
      assert(text.includes("# TYPE lukhas_orchestration_pipeline counter\n"));
      assert(text.includes(
        'lukhas_orchestration_pipeline_total{lane="test",pipeline_name="p",status="success"} 1\n',
      ));
    }
    assertEquals(Object.keys(await samplesOf(metrics)).length, 1);

    registry.clear();
    metrics.pipeline("p", () => {});
    const name = "lukhas_orchestration_pipeline_total";
    assert(registry.getSingleMetric(name) !== undefined);
    assert((await registry.metrics()).includes(
      'lukhas_orchestration_pipeline_total{lane="test",pipeline_name="p",status="success"} 2\n',
    ));
  });

  Deno.test(`resetMetrics() of ${client} resets counts, not scopes in progress`, async () => {
    const registry = new Registry_();
    const { clock, metrics } = create(registry);
    metrics.stage("orphan", () => {});
    metrics.pipeline("p", () => clock.advance(1));
    const signal = AbortSignal.abort();
    await metrics.pipeline("p", { signal }, () => Promise.resolve())
      .catch(() => {});
    const { promise, resolve } = Promise.withResolvers<void>();
    const running = metrics.pipeline("p", () => promise);
    clock.advance(2);

    registry.resetMetrics();
    const labels = 'lane="test",pipeline_name="p"';
    assertEquals(await samplesOf(metrics, /./), {
      [`pipeline_in_progress{${labels}}`]: 1,
      [`pipeline_unfinished_seconds{${labels}}`]: 2,
    });
    resolve();
    await running;
    assertEquals(await samplesOf(metrics, /_total$|_sum$|_in_progress$/), {
      [`pipeline_total{${labels},status="success"}`]: 1,
      [`pipeline_duration_seconds_sum{${labels},status="success"}`]: 2,
    });
  });
}

Deno.test("pipeline_total and stage_total are 0 for all outcomes when a scope starts", async () => {
  const { metrics } = create();
  await metrics.pipeline("p", async () => {
    await metrics.stage("s", async () => {
      const text = await metrics.metricsHandler()(
        new Request("http://localhost/"),
      ).then((response) => response.text());
      const lines = text.split("\n").filter((line) =>
        /^lukhas_orchestration_(pipeline|stage)_(total|duration_seconds_count)/
          .test(line)
      );
      const pipeline = 'lane="test",pipeline_name="p"';
      assertEquals(
        lines,
        [
          `pipeline_duration_seconds_count{${pipeline},status="success"} 0`,
          `pipeline_total{${pipeline},status="success"} 0`,
          `pipeline_total{${pipeline},status="failure"} 0`,
          `pipeline_total{${pipeline},status="timeout"} 0`,
          `stage_duration_seconds_count{${pipeline},stage_name="s",outcome="success"} 0`,
          `stage_total{${pipeline},stage_name="s",outcome="success"} 0`,
          `stage_total{${pipeline},stage_name="s",outcome="failure"} 0`,
          `stage_total{${pipeline},stage_name="s",outcome="timeout"} 0`,
        ].map((line) => `lukhas_orchestration_${line}`),
      );
    });
  });
});

Deno.test("unfinished_seconds grows by one second per second and per scope in progress", async () => {
  const { clock, metrics } = create();
  const name = "lukhas_orchestration_pipeline_unfinished_seconds";
  const unfinished = () =>
    sampleValue(metrics.registry, name, { lane: "test", pipeline_name: "p" });
  const first = Promise.withResolvers<void>();
  const second = Promise.withResolvers<void>();
  const runs = [metrics.pipeline("p", () => first.promise)];
  clock.advance(0.5);
  runs.push(metrics.pipeline("p", () => second.promise));
  assertEquals(await unfinished(), 0.5);
  clock.advance(2);
  assertEquals(await unfinished(), 4.5);
  first.resolve();
  await runs[0];
  assertEquals(await unfinished(), 2);
  second.resolve();
  await runs[1];
  assertEquals(await unfinished(), 0);
});

Deno.test("unfinished_seconds is exact with a clock of Unix seconds", async () => {
  const clock = manualClock();
  clock.advance(1_789_012_345.678);
  await captureMetrics({ lane: "test", clock }, async (metrics) => {
    const open = new Map<{ close(): void }, number>();
    // Most of them end while others start, as in a server.
    for (let i = 0; i < 200_000; i++) {
      clock.advance(0.001);
      open.set(openPipeline("p"), clock());
      const [oldest] = open.keys();
      if (open.size <= 100_000) continue;
      oldest!.close();
      open.delete(oldest!);
    }
    let expected = 0;
    for (const start of open.values()) expected += clock() - start;
    const name = 'pipeline_unfinished_seconds{lane="test",pipeline_name="p"}';
    const { [name]: seconds = NaN } = await samplesOf(metrics, /_unfinished/);
    const error = Math.abs(seconds - expected);
    assert(error < 0.001, `${error} seconds off`);
    for (const each of open.keys()) each.close();
    assertEquals(await samplesOf(metrics, /_unfinished/), {});
  });
});

Deno.test("unfinished_seconds has no rounding errors when nothing is running", async () => {
  const clock = manualClock();
  await captureMetrics({ lane: "test", clock }, async (metrics) => {
    const open = Array.from({ length: 10 }, () => {
      clock.advance(1 / 3);
      return openPipeline("p");
    });
    for (const each of open) each.close();
    assertEquals(await samplesOf(metrics, /_unfinished/), {});
  });
});

Deno.test("last_end_timestamp_seconds is the Unix time of the last end per status", async () => {
  const { clock, metrics } = create();
  const name = "lukhas_orchestration_pipeline_last_end_timestamp_seconds";
  const lastEnd = (status: string) =>
    sampleValue(metrics.registry, name, {
      lane: "test",
      pipeline_name: "p",
      status,
    });
  const { now } = Date;
  try {
    Date.now = () => 1_700_000_000_000;
    metrics.pipeline("p", () => {});
  } finally {
    Date.now = now;
  }
  assertEquals(await lastEnd("success"), 1_700_000_000);
  assertEquals(await lastEnd("failure"), undefined);
  metrics.pipeline("p", () => clock.advance(0.5));
  assertEquals(await lastEnd("success"), 1_700_000_000.5);
});

Deno.test("AggregatorRegistry of prom-client sums counts, and takes the latest end", async () => {
  const views = await Promise.all([100, 200].map(async (end) => {
    const { metrics } = create();
    metrics.recordPipelineMetrics({
      pipelineName: "p",
      durationSec: 0.3,
      status: "success",
    });
    const registry = metrics.registry as Registry;
    const json = await registry.getMetricsAsJSON();
    json.find(({ name }) => name.includes("last_end"))!.values[0]!.value = end;
    return json;
  }));
  const sum = AggregatorRegistry.aggregate(views);
  const value = (name: string, labels: Record<string, string> = {}) =>
    sampleValue(sum, `lukhas_orchestration_${name}`, {
      lane: "test",
      pipeline_name: "p",
      status: "success",
      ...labels,
    });
  assertEquals(await value("pipeline_total"), 2);
  assertEquals(await value("pipeline_duration_seconds_sum"), 0.6);
  const bucket = "pipeline_duration_seconds_bucket";
  assertEquals(await value(bucket, { le: "0.25" }), 0);
  assertEquals(await value(bucket, { le: "1.0" }), 2);
  assertEquals(await value("pipeline_last_end_timestamp_seconds"), 200);
});

Deno.test("createStageMetrics() shows 17 to 43 series a stage, 20 to 52 a pipeline", async () => {
  const { metrics } = create();
  const { metricsHandler, pipeline, stage, stageStream } = metrics;

  async function countSeries(): Promise<{ stage: number; pipeline: number }> {
    const request = new Request("http://localhost/metrics");
    const text = await (await metricsHandler()(request)).text();
    const lines = text.split("\n").filter((line) => line.includes('{lane="'));
    const stages = lines.filter((line) => line.includes("stage_name="));
    return { stage: stages.length, pipeline: lines.length - stages.length };
  }

  pipeline("p", () => stage("s", () => {}));
  assertEquals(await countSeries(), { stage: 17, pipeline: 20 });

  for (const outcome of ["failure", "timeout"] as const) {
    pipeline("p", ({ setOutcome }) => {
      setOutcome(outcome);
      stage("s", ({ setOutcome }) => setOutcome(outcome));
    });
  }
  // Cancelled by its caller, as a failure; then by its consumer, as a success.
  const controller = new AbortController();
  const cancelled = pipeline(
    "p",
    { signal: controller.signal },
    () => stage("s", () => new Promise<never>(() => {})),
  );
  controller.abort();
  await assertRejects(() => cancelled, DOMException);
  await pipeline("p", () => stageStream("s", new ReadableStream())).cancel();
  // A caller's timeout is not a cancellation.
  const signal = AbortSignal.abort(new DOMException("Late", "TimeoutError"));
  await assertRejects(
    () => pipeline("p", { signal }, () => Promise.resolve()),
    DOMException,
  );
  assertEquals(await countSeries(), { stage: 43, pipeline: 52 });
});
