import { assertEquals } from "@std/assert";
import { Counter, Histogram, Registry } from "prom-client";
import {
  createStageMetrics,
  PIPELINE_BUCKETS,
  STAGE_BUCKETS,
} from "../../mod.ts";
import type { Outcome } from "../../mod.ts";

const PREFIX = "lukhas_orchestration_";
const OUTCOMES: readonly Outcome[] = ["success", "failure", "timeout"];

/** The four metrics, written with prom-client. */
function createWithPromClient(registry: Registry) {
  const registers = [registry];
  const pipeline = ["lane", "pipeline_name", "status"] as const;
  const stage = ["lane", "pipeline_name", "stage_name", "outcome"] as const;
  return {
    pipelineDuration: new Histogram({
      name: `${PREFIX}pipeline_duration_seconds`,
      help: "The total time taken to execute a pipeline.",
      labelNames: pipeline,
      buckets: [...PIPELINE_BUCKETS],
      registers,
    }),
    pipelineTotal: new Counter({
      name: `${PREFIX}pipeline_total`,
      help: "The total number of pipeline executions.",
      labelNames: pipeline,
      registers,
    }),
    stageDuration: new Histogram({
      name: `${PREFIX}stage_duration_seconds`,
      help: "The time taken to execute a single stage.",
      labelNames: stage,
      buckets: [...STAGE_BUCKETS],
      registers,
    }),
    stageTotal: new Counter({
      name: `${PREFIX}stage_total`,
      help: "The total number of stage executions.",
      labelNames: stage,
      registers,
    }),
  };
}

/**
 * The samples of the four metrics, with `le` as a number. Series at 0 are left out,
 * because prom-client does not create them in advance.
 */
async function samplesOf(registry: Registry): Promise<Map<string, unknown>> {
  const samples = new Map<string, unknown>();
  const counts = new Map<string, number>();
  for (
    const { name, help, type, values } of await registry.getMetricsAsJSON()
  ) {
    if (!/(pipeline|stage)_(total|duration_seconds)$/.test(name)) continue;
    for (const value of values) {
      const { metricName = name, labels } = value as typeof value & {
        metricName?: string;
      };
      const { le, ...rest } = labels as Record<string, string | number>;
      const series = Object.entries(rest).sort().join();
      if (metricName.endsWith("_count")) counts.set(name + series, value.value);
      samples.set(
        [metricName, series, le === undefined ? "" : Number(le)].join(),
        { help, type, value: value.value, name, series },
      );
    }
  }
  for (const [key, sample] of samples) {
    const { name, series, value } = sample as Record<string, string | number>;
    const isEmpty = (counts.get(`${name}${series}`) ?? value) === 0;
    if (isEmpty) samples.delete(key);
  }
  return samples;
}

Deno.test("recordPipelineMetrics() and recordStageMetrics() record as prom-client does", async () => {
  const own = new Registry();
  const { recordPipelineMetrics, recordStageMetrics } = createStageMetrics({
    registry: own,
    lane: "test",
  });
  const reference = new Registry();
  const withPromClient = createWithPromClient(reference);

  // Bounds, and values between, below and above them.
  const durations = [...PIPELINE_BUCKETS, ...STAGE_BUCKETS].flatMap((bound) => [
    bound,
    bound * 0.999,
    bound * 1.001,
  ]).concat(0, 1e-9, 7, 86_400);
  for (const [i, durationSec] of durations.entries()) {
    for (const pipelineName of ["a", 'b",\\\n']) {
      const outcome = OUTCOMES[i % 3]!;
      const lane = ["test", "canary"][i % 2]!;
      const labels = { lane, pipeline_name: pipelineName };
      recordPipelineMetrics({
        pipelineName,
        durationSec,
        status: outcome,
        lane,
      });
      withPromClient.pipelineDuration
        .observe({ ...labels, status: outcome }, durationSec);
      withPromClient.pipelineTotal.inc({ ...labels, status: outcome });
      for (const stageName of ["s", "t"]) {
        recordStageMetrics({
          pipelineName,
          stageName,
          durationSec,
          outcome,
          lane,
        });
        const stage = { ...labels, stage_name: stageName, outcome };
        withPromClient.stageDuration.observe(stage, durationSec);
        withPromClient.stageTotal.inc(stage);
      }
    }
  }
  const samples = await samplesOf(own);
  assertEquals(samples, await samplesOf(reference));
  // 2 pipelines × 6 pairs of lane and outcome × (a counter, 12 buckets, sum and
  // count, and for each of 2 stages a counter, 10 buckets, sum and count).
  assertEquals(samples.size, 2 * 6 * (15 + 2 * 13));
});
