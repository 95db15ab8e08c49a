import { assertEquals, assertThrows } from "@std/assert";
import { Registry } from "prom-client";
import { createStageMetrics, type StageMetricsOptions } from "../../mod.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

function create(cardinalityLimit?: number, options?: StageMetricsOptions) {
  return createStageMetrics({
    registry: new Registry(),
    lane: "test",
    cardinalityLimit,
    onIssue() {},
    ...options,
  });
}

/** The series that replace all series above the limit. */
const OVERFLOW = {
  pipeline: pipelineTotal("overflow", "success", "overflow"),
  stage: stageTotal("overflow", "overflow", "success", "overflow"),
};

Deno.test("cardinalityLimit replaces new label sets by one overflow, keeps existing ones", async () => {
  const metrics = create(3);
  const { pipeline, stage } = metrics;
  const run = (name: string, ...stages: string[]) =>
    pipeline(name, () => {
      for (const each of stages) stage(each, () => {});
    });
  run("p", "s");
  run("q", "new", "newer");
  run("new", "s", "new");
  run("p", "s", "new");
  run("newer");
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 2,
    [stageTotal("p", "s", "success")]: 2,
    [pipelineTotal("q", "success")]: 1,
    [OVERFLOW.pipeline]: 2,
    [OVERFLOW.stage]: 5,
    [issuesTotal("label_overflow")]: 7,
  });
});

Deno.test("cardinalityLimit applies to new lanes of existing pipelines", async () => {
  const metrics = create(2);
  const { pipeline, stage } = metrics;
  for (const lane of ["test", "b", "c"]) {
    pipeline("p", { lane }, () => stage("s", () => {}));
  }
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 1,
    [stageTotal("p", "s", "success")]: 1,
    [OVERFLOW.pipeline]: 2,
    [OVERFLOW.stage]: 2,
    [issuesTotal("label_overflow")]: 4,
  });
});

Deno.test("cardinalityLimit applies to recorders and orphan stages", async () => {
  const metrics = create(1);
  metrics.pipeline("p", () => {});
  metrics.recordPipelineMetrics({
    pipelineName: "new",
    durationSec: 1,
    status: "timeout",
  });
  metrics.recordStageMetrics({
    pipelineName: "p",
    stageName: "new",
    durationSec: 1,
    outcome: "failure",
  });
  metrics.stage("orphan", () => {});
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 1,
    [pipelineTotal("overflow", "timeout", "overflow")]: 1,
    [stageTotal("overflow", "overflow", "failure", "overflow")]: 1,
    [OVERFLOW.stage]: 1,
    [issuesTotal("orphan_stage")]: 1,
    [issuesTotal("label_overflow")]: 3,
  });
});

Deno.test("pipeline() and stage() keep their names and lane if counted as overflow", async () => {
  const metrics = create(1);
  const { pipeline, stage, currentPipeline } = metrics;
  pipeline("p", () => {});
  pipeline("new", { lane: "other" }, (scope) => {
    assertEquals([scope.name, scope.lane], ["new", "other"]);
    assertEquals(currentPipeline()?.name, "new");
    stage("s", ({ name, pipelineName, lane }) => {
      assertEquals([name, pipelineName, lane], ["s", "new", "other"]);
    });
  });
  const running = async () => {
    await stage("slow", () => samplesOf(metrics, /in_progress$/))
      .then((samples) =>
        assertEquals(samples, {
          'pipeline_in_progress{lane="overflow",pipeline_name="overflow"}': 1,
          'stage_in_progress{lane="overflow",pipeline_name="overflow",stage_name="overflow"}':
            1,
        })
      );
  };
  await pipeline("newer", running);
  assertEquals(await samplesOf(metrics, /in_progress$/), {});
});

Deno.test("label_overflow names the pipeline or stage, and the remedy", () => {
  const messages: string[] = [];
  const { pipeline, stage } = create(1, {
    onIssue: ({ message }) => messages.push(message),
  });
  pipeline("p", () => stage("s", () => {}));
  pipeline("new", () => {});
  const advice =
    `was recorded as "overflow" because there are more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`;
  assertEquals(messages, [
    `Stage "s" of pipeline "p" ${advice}`,
    `Pipeline "new" ${advice}`,
  ]);
});

Deno.test("definePipeline() creates its label sets regardless of the cardinalityLimit", async () => {
  const metrics = create(1);
  metrics.pipeline("p", () => {});
  const declared = metrics.definePipeline("declared", { stages: { s: {} } });
  declared.run(() => {
    declared.stage("s", () => {});
    metrics.stage("undeclared", () => {});
  });
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 1,
    [pipelineTotal("declared", "success")]: 1,
    [stageTotal("declared", "s", "success")]: 1,
    [OVERFLOW.stage]: 1,
    [issuesTotal("undeclared_stage")]: 1,
    [issuesTotal("label_overflow")]: 1,
  });
});

Deno.test("cardinalityLimit is 2000 by default, and can be Infinity", async () => {
  for (
    const [limit, overflows] of [[undefined, 1], [2001, 0], [
      Infinity,
      0,
    ]] as const
  ) {
    const metrics = create(limit);
    for (let i = 0; i < 2001; i++) metrics.pipeline(`p${i}`, () => {});
    const { [issuesTotal("label_overflow")]: count = 0 } = await samplesOf(
      metrics,
    );
    assertEquals(count, overflows);
  }
});

Deno.test("createStageMetrics() throws if the registry has another cardinalityLimit", () => {
  const registry = new Registry();
  create(5, { registry });
  create(5, { registry });
  create(undefined, { registry });
  assertThrows(
    () => create(6, { registry }),
    RangeError,
    `Cannot share the metrics "lukhas_orchestration_*" of the registry: they have the cardinalityLimit 5, not 6`,
  );
});

Deno.test("createStageMetrics() throws if the cardinalityLimit is out of range", () => {
  for (const limit of [0, -1, 1.5, NaN, -Infinity]) {
    assertThrows(
      () => create(limit),
      RangeError,
      `Cannot create stage metrics: cardinalityLimit must be an integer of at least 1, or Infinity, got ${limit}`,
    );
  }
  assertThrows(
    () => create("5" as unknown as number),
    TypeError,
    "Cannot create stage metrics: cardinalityLimit must be a number of label sets, got string",
  );
});

Deno.test("cardinalityLimit bounds the memory of a million names, and counts them all", async () => {
  const printed = await runFixture("million_names", ["--v8-flags=--expose-gc"]);
  const { megabytes, ...counts } = JSON.parse(printed);
  assertEquals(counts, {
    pipelines: 701_000,
    stages: 1_050_000,
    // All except the first 2000.
    overflows: 1_749_000,
    bytesPerName: 0,
  });
  // A thousand of the names are slices of strings of a megabyte each.
  assertEquals(megabytes < 100, true, printed);
});
