/**
 * Measures the memory of metrics.
 *
 * @module
 */
import process from "node:process";
import * as promClient from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { collectGarbage } from "./measure.ts";
import { byHand } from "./prom_client.ts";

const LABEL_SETS = 10_000;

const MILLION = 1_000_000;

const STAGES = 5;

/** The figures of memory. */
export interface MemoryFigures {
  /** Bytes for each label set of a stage: a histogram, three counters, a gauge. */
  readonly own: number;
  readonly promClient: number;
  readonly ownOverPromClient: number;
  /** The heap after ten million stages, over that after one million. */
  readonly growth: number;
}

/** Measures memory. */
export async function measureMemory(): Promise<MemoryFigures> {
  const growth = await measureGrowth();
  const own = await bytesPerLabelSet(() => {
    const registry = new promClient.Registry();
    const { recordStageMetrics } = createStageMetrics({
      registry,
      cardinalityLimit: Infinity,
    });
    return {
      kept: registry,
      record(pipelineName, stageName) {
        const durationSec = 0.1;
        const outcome = "success";
        recordStageMetrics({ pipelineName, stageName, durationSec, outcome });
      },
    };
  });
  const promClientBytes = await bytesPerLabelSet(() => {
    const { registry, startCounters, recordStage } = byHand(promClient);
    return {
      kept: registry,
      record(pipelineName, stageName) {
        startCounters(pipelineName, stageName);
        recordStage(pipelineName, stageName, 0.1);
      },
    };
  });
  return {
    own,
    promClient: promClientBytes,
    ownOverPromClient: own / promClientBytes,
    growth,
  };
}

async function bytesPerLabelSet(
  make: () => {
    readonly kept: object;
    record(pipelineName: string, stageName: string): void;
  },
): Promise<number> {
  const { kept, record } = make();
  const recordAll = (prefix: string, count: number) => {
    for (let i = 0; i < count; i++) {
      record(`${prefix}${Math.floor(i / 10)}`, `stage_${i % 10}`);
    }
  };
  // Create everything that is created only once.
  recordAll("first_", 100);
  const before = await bytesInUse();
  recordAll("pipeline_", LABEL_SETS);
  const after = await bytesInUse();
  // Keeps the metrics reachable until here.
  keep(kept, record);
  return (after - before) / LABEL_SETS;
}

async function measureGrowth(): Promise<number> {
  const registry = new promClient.Registry();
  const { pipeline, stage } = createStageMetrics({ registry });
  const run = async (stages: number) => {
    for (let i = 0; i < stages / STAGES; i++) {
      await pipeline("answer", async () => {
        await stage("read", nothing);
        await stage("parse", nothing);
        await stage("search", nothing);
        await stage("rank", nothing);
        await stage("write", nothing);
      });
    }
  };
  await run(MILLION);
  const first = await bytesInUse();
  await run(9 * MILLION);
  const growth = await bytesInUse() / first;
  keep(registry);
  return growth;
}

function nothing(): Promise<void> {
  return Promise.resolve();
}

let kept: unknown[] = [];

function keep(...values: unknown[]): void {
  kept = values;
}

async function bytesInUse(): Promise<number> {
  // Release the metrics of the previous measurement.
  kept.length = 0;
  for (let i = 0; i < 3; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
