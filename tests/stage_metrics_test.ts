import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { Counter, Registry } from "prom-client";
import {
  createStageMetrics,
  type MetricsRegistry,
  pipeline,
  PIPELINE_BUCKETS,
  recordStageMetrics,
  stage,
  STAGE_BUCKETS,
  type StageMetricsOptions,
} from "../mod.ts";
import { captureMetrics, manualClock, sampleValue } from "../src/testing.ts";
import { runFixture } from "./support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "./support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

function create(options: StageMetricsOptions = {}) {
  return createStageMetrics({
    ...OPTIONS,
    registry: new Registry(),
    ...options,
  });
}

Deno.test("configure() sets up the default instance before its first scope", async () => {
  assertEquals(
    await runFixture("default_instance", []),
    `registered by declaring: false
registered by configuring: true
work: worked
registered by a scope: true
lukhas_orchestration_pipeline_total{lane="second",pipeline_name="p",status="success"} 2
Error: Cannot configure the default instance: it is already in use, call configure() before the first scope, record or scrape
`,
  );
});

/** Replaces the place in a warning by the name of the fixture. */
function withoutPlace(printed: string): string {
  return printed.replace(/, at \S+[\\/](\w+)[.][jt]s:\d+:\d+;/g, ", at $1;");
}

Deno.test("default instance works unregistered with an issue when a name is taken", async () => {
  assertEquals(
    withoutPlace(await runFixture("taken_name", [])),
    `stage-metrics: Error: Cannot register "lukhas_orchestration_stage_total": the registry already has another metric of that name (registry_conflict, at taken_name; later occurrences are only counted)
work: 1
work: 2
lukhas_orchestration_instrumentation_issues_total{issue="registry_conflict"} 1
lukhas_orchestration_stage_total 7

true
`,
  );
});

Deno.test("default instance shares metrics with other buckets, with an issue", async () => {
  assertEquals(
    withoutPlace(await runFixture("other_buckets", [])).replace(
      /have the pipelineBuckets.*\(/,
      "…(",
    ),
    `stage-metrics: Cannot share the metrics "lukhas_orchestration_*" of the registry: they …(registry_conflict, at other_buckets; later occurrences are only counted)
work: 1
1
`,
  );
});

Deno.test("createStageMetrics() returns functions that work destructured", async () => {
  const metrics = create({ prefix: "billing_" });
  const { pipeline, stage, registry } = metrics;
  assertEquals(pipeline("p", () => stage("s", () => 1)), 1);
  const labels = { lane: "test", pipeline_name: "p", status: "success" };
  assertEquals(
    await sampleValue(registry, "billing_pipeline_total", labels),
    1,
  );
});

Deno.test("createStageMetrics() records its pipelines, and stages where they belong", async () => {
  const one = create({ lane: "one" });
  const two = create({ lane: "two" });
  one.pipeline("outer", () => {
    stage("plain", () => {});
    two.stage("of two", () => {});
    two.pipeline("inner", () => {
      stage("plain", () => {});
      one.stage("of one", () => {});
    });
    pipeline("plain", () => {});
  });
  two.stage("orphan", ({ lane, pipelineName }) => {
    assertEquals([lane, pipelineName], ["two", "unknown"]);
  });
  assertEquals(await samplesOf(one), {
    [pipelineTotal("outer", "success", "one")]: 1,
    [pipelineTotal("plain", "success", "one")]: 1,
    [stageTotal("outer", "plain", "success", "one")]: 1,
    [stageTotal("outer", "of two", "success", "one")]: 1,
  });
  assertEquals(await samplesOf(two), {
    [pipelineTotal("inner", "success", "one")]: 1,
    [stageTotal("inner", "plain", "success", "one")]: 1,
    [stageTotal("inner", "of one", "success", "one")]: 1,
    [stageTotal("unknown", "orphan", "success", "two")]: 1,
    [issuesTotal("orphan_stage")]: 1,
  });
});

Deno.test("stage() of an instance runs its code in the context of the instance", async () => {
  const two = create({ lane: "two" });
  const plain = (name: string) => {
    pipeline(name, ({ lane }) => assertEquals(lane, "two"));
    stage(`${name} stage`, ({ lane }) => assertEquals(lane, "two"));
    recordStageMetrics({
      stageName: `${name} record`,
      durationSec: 1,
      outcome: "success",
    });
  };
  two.stage("sync", () => plain("a"));
  await two.stage("async", async () => {
    await Promise.resolve();
    plain("b");
  });
  await two.stage("bound", async ({ bind }) => {
    const callBack = bind(() => plain("c"));
    await Promise.resolve();
    callBack();
    callBack();
  });
  const source = async function* () {
    plain("d");
    yield 1;
    await Promise.resolve();
    plain("e");
  };
  for await (const _ of two.stageStream("stream", source()));
  for await (const _ of two.stageStream("opened", () => source()));
  const total = (name: string) => pipelineTotal(name, "success", "two");
  const orphanTotal = (name: string) =>
    stageTotal("unknown", name, "success", "two");
  const samples = await samplesOf(two, /^(?!.*issues).*_total$/);
  const counts = { a: 1, b: 1, c: 2, d: 2, e: 2 };
  assertEquals(samples, {
    ...Object.fromEntries(
      Object.entries(counts).flatMap(([name, count]) => [
        [total(name), count],
        [orphanTotal(`${name} stage`), count],
        [orphanTotal(`${name} record`), count],
      ]),
    ),
    ...Object.fromEntries(
      ["sync", "async", "bound", "stream", "opened"].map((name) => [
        orphanTotal(name),
        1,
      ]),
    ),
  });
});

Deno.test("pipeline() in the context of an ended stage uses the default instance", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const two = create({ lane: "two" });
    const later = two.stage(
      "s",
      ({ bind }) => bind(() => pipeline("p", () => {})),
    );
    two.stage("s", () => pipeline("during", () => {}));
    later();
    // Inside captureMetrics(), the default instance is the captured one.
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
    });
    const { [pipelineTotal("during", "success", "two")]: runs } =
      await samplesOf(two);
    assertEquals(runs, 1);
  });
});

Deno.test("recordStageMetrics() records to the enclosing pipeline unless it names one", async () => {
  const one = create();
  const two = create();
  const record = {
    stageName: "s",
    durationSec: 1,
    outcome: "success",
  } as const;
  one.pipeline("p", () => {
    two.recordStageMetrics(record);
    two.recordStageMetrics({ ...record, pipelineName: "q" });
  });
  assertEquals(await samplesOf(one), {
    [pipelineTotal("p", "success")]: 1,
    [stageTotal("p", "s", "success")]: 1,
  });
  assertEquals(await samplesOf(two), { [stageTotal("q", "s", "success")]: 1 });
});

Deno.test("createStageMetrics() twice with a registry and prefix shares the metrics", async () => {
  const registry = new Registry();
  const buckets = [...PIPELINE_BUCKETS, 10];
  const one = create({ registry, pipelineBuckets: buckets });
  const two = create({ registry, lane: "two" });
  create({ registry, pipelineBuckets: buckets, stageBuckets: STAGE_BUCKETS });
  one.pipeline("p", () => {});
  two.pipeline("p", () => {});
  assertEquals(await samplesOf(one), {
    [pipelineTotal("p", "success")]: 1,
    [pipelineTotal("p", "success", "two")]: 1,
  });
});

Deno.test("createStageMetrics() throws if the registry has other buckets or a clock", () => {
  const registry = new Registry();
  const clock = manualClock();
  create({ registry, clock });
  create({ registry, clock });
  assertThrows(
    () => create({ registry, stageBuckets: [...STAGE_BUCKETS, 5] }),
    RangeError,
    'Cannot share the metrics "lukhas_orchestration_*" of the registry: they have the stageBuckets 0.001, 0.005',
  );
  assertThrows(
    () => create({ registry, clock: manualClock() }),
    RangeError,
    "they use another clock",
  );
});

Deno.test("createStageMetrics() throws if a name is taken, and registers nothing", () => {
  const registry = new Registry();
  const taken = new Counter({
    name: "lukhas_orchestration_stage_in_progress",
    help: "Written by hand",
    registers: [registry],
  });
  assertThrows(
    () => create({ registry }),
    Error,
    'Cannot register "lukhas_orchestration_stage_in_progress"',
  );
  assertEquals(registry.getMetricsAsArray() as unknown[], [taken]);

  registry.clear();
  create({ registry }).pipeline("p", () => {});
});

Deno.test("createStageMetrics() unregisters its metrics if the registry rejects some", () => {
  const registry = new Registry();
  const registerMetric = registry.registerMetric.bind(registry);
  let left = 3;
  registry.registerMetric = (metric) => {
    if (left-- === 0) throw new Error("Full");
    registerMetric(metric);
  };
  assertThrows(() => create({ registry }), Error, "Full");
  assertEquals(registry.getMetricsAsArray(), []);
});

Deno.test("createStageMetrics() throws for invalid options, and registers nothing", () => {
  const registry = new Registry();
  const invalid: [object | null, typeof TypeError, string][] = [
    [null, TypeError, "options must be an object, got null"],
    [{ registry: {} }, TypeError, "got one without registerMetric()"],
    [{ registry: null }, TypeError, "got one without registerMetric()"],
    [{ prefix: 1 }, TypeError, "prefix must be a string, got number"],
    [{ prefix: "my-" }, RangeError, "a metric name must match ^[a-zA-Z_:]"],
    [{ prefix: "1_" }, RangeError, 'got the prefix "1_"'],
    [{ lane: 1 }, TypeError, "lane must be a string, got number"],
    [{ onIssue: "log" }, TypeError, "onIssue must be a function, got string"],
    [{ clock: 0 }, TypeError, "clock must be a function, got number"],
    [{ classifyError: {} }, TypeError, "classifyError must be a function"],
    [{ classifyResult: {} }, TypeError, "classifyResult must be a function"],
    [{ stageBuckets: [2, 1] }, RangeError, "must increase, got 1 after 2"],
    [{ pipelineBuckets: [1, 2] }, RangeError, "begin with the standard 0.01"],
    [
      { prefix: "lukhas_orchestration_", stageBuckets: [1] },
      RangeError,
      "add only larger ones, or set another prefix",
    ],
  ];
  for (const [options, errorClass, message] of invalid) {
    assertThrows(
      () =>
        createStageMetrics(
          (options && { registry, ...options }) as StageMetricsOptions,
        ),
      errorClass,
      message,
    );
  }
  assertEquals(registry.getMetricsAsArray(), []);
});

Deno.test("createStageMetrics() accepts any buckets with another prefix", async () => {
  const { pipeline, registry } = create({
    prefix: "my_",
    pipelineBuckets: [60, 3600],
  });
  pipeline("p", () => {});
  assertEquals(
    await sampleValue(registry, "my_pipeline_duration_seconds_bucket", {
      lane: "test",
      pipeline_name: "p",
      status: "success",
      le: "3600.0",
    }),
    1,
  );
});

Deno.test("clear() lets metrics register again with the next scope or scrape", async () => {
  const registry = new Registry();
  const metrics = create({ registry });
  const total = "lukhas_orchestration_pipeline_total";
  metrics.pipeline("p", () => {});

  registry.clear();
  metrics.pipeline("p", () => {});
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 2,
  });

  registry.clear();
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 2,
  });
  assertStrictEquals(registry.getSingleMetric(total) === undefined, false);

  registry.clear();
  metrics.stage("orphan", () => {});
  assertStrictEquals(registry.getSingleMetric(total) === undefined, false);
});

Deno.test("pipeline() reports a registry that fails later, and is not affected", async () => {
  const registry = new Registry();
  const issues: string[] = [];
  const metrics = create({
    registry,
    onIssue: ({ issue, message }) => issues.push(`${issue}: ${message}`),
  });
  const find = registry.getSingleMetric;
  registry.getSingleMetric = () => {
    throw new Error("Broken registry");
  };
  assertEquals(metrics.pipeline("p", () => 1), 1);
  registry.getSingleMetric = find;
  assertEquals(issues, ["registry_conflict: Error: Broken registry"]);
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 1,
    [issuesTotal("registry_conflict")]: 1,
  });
});

Deno.test("createStageMetrics() accepts any object with the methods of a registry", async () => {
  const metrics = new Map<string, { name: string }>();
  const registry: MetricsRegistry = {
    registerMetric(metric) {
      const named = metric as { name: string };
      metrics.set(named.name, named);
    },
    removeSingleMetric: (name) => metrics.delete(name),
    getSingleMetric: (name) => metrics.get(name),
    getMetricsAsArray: () => [...metrics.values()],
  };
  const mine = create({ registry });
  mine.pipeline("p", () => {});
  assertEquals(metrics.size, 12);
  assertEquals(await samplesOf(mine), { [pipelineTotal("p", "success")]: 1 });
});
