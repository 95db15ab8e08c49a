/**
 * Records the same metrics with prom-client or its successor, by hand: a helper for
 * pipelines, and one for stages.
 *
 * @module
 */
import type * as Client from "prom-client";
import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../../mod.ts";
import type { ByHand } from "./pipelines.ts";

/** The part of both clients that is used here. */
export type PromClient = Pick<
  typeof Client,
  "Counter" | "Gauge" | "Histogram" | "Registry"
>;

/** The helpers and their registry. */
export interface ByPromClient extends ByHand {
  readonly registry: Client.Registry;
  /** Records a stage that was measured elsewhere, in seconds. */
  recordStage(pipelineName: string, name: string, seconds: number): void;
  /** Starts the counters of all outcomes of a stage at 0. */
  startCounters(pipelineName: string, name: string): void;
}

/** Creates the helpers. */
export function byHand(
  { Counter, Gauge, Histogram, Registry }: PromClient,
): ByPromClient {
  const registry = new Registry();
  const registers = [registry];

  function metricsOf(kind: string, labels: string[], buckets: number[]) {
    return {
      seconds: new Histogram({
        name: `lukhas_orchestration_${kind}_duration_seconds`,
        help: "How long it took.",
        labelNames: labels,
        buckets,
        registers,
      }),
      total: new Counter({
        name: `lukhas_orchestration_${kind}_total`,
        help: "How many there were.",
        labelNames: labels,
        registers,
      }),
      inProgress: new Gauge({
        name: `lukhas_orchestration_${kind}_in_progress`,
        help: "How many there are.",
        labelNames: labels.slice(0, -1),
        registers,
      }),
    };
  }

  const pipelines = metricsOf(
    "pipeline",
    ["lane", "pipeline_name", "status"],
    [...PIPELINE_BUCKETS],
  );
  const stages = metricsOf(
    "stage",
    ["lane", "pipeline_name", "stage_name", "outcome"],
    [...STAGE_BUCKETS],
  );

  return {
    registry,
    async pipeline(name, fn) {
      const labels = { lane: "production", pipeline_name: name };
      let status = "success";
      pipelines.inProgress.inc(labels);
      const start = performance.now();
      try {
        return await fn();
      } catch (error) {
        status = outcomeOf(error);
        throw error;
      } finally {
        const seconds = (performance.now() - start) / 1000;
        pipelines.seconds.observe({ ...labels, status }, seconds);
        pipelines.total.inc({ ...labels, status });
        pipelines.inProgress.dec(labels);
      }
    },
    async stage(pipelineName, name, fn) {
      const labels = {
        lane: "production",
        pipeline_name: pipelineName,
        stage_name: name,
      };
      let outcome = "success";
      stages.inProgress.inc(labels);
      const start = performance.now();
      try {
        return await fn();
      } catch (error) {
        outcome = outcomeOf(error);
        throw error;
      } finally {
        const seconds = (performance.now() - start) / 1000;
        stages.seconds.observe({ ...labels, outcome }, seconds);
        stages.total.inc({ ...labels, outcome });
        stages.inProgress.dec(labels);
      }
    },
    recordStage(pipelineName, name, seconds) {
      const labels = {
        lane: "production",
        pipeline_name: pipelineName,
        stage_name: name,
      };
      stages.seconds.observe({ ...labels, outcome: "success" }, seconds);
      stages.total.inc({ ...labels, outcome: "success" });
      stages.inProgress.set(labels, 0);
    },
    startCounters(pipelineName, name) {
      for (const outcome of OUTCOMES) {
        stages.total.inc({
          lane: "production",
          pipeline_name: pipelineName,
          stage_name: name,
          outcome,
        }, 0);
      }
    },
  };
}

const OUTCOMES = ["success", "failure", "timeout"];

/** Returns the outcome of an error, as users classify it. */
export function outcomeOf(error: unknown): string {
  return error instanceof Error && error.name === "TimeoutError"
    ? "timeout"
    : "failure";
}
