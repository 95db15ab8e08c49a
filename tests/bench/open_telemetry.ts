/**
 * Records the same metrics with OpenTelemetry's SDK.
 *
 * @module
 */
import { MeterProvider, MetricReader } from "@opentelemetry/sdk-metrics";
import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../../mod.ts";
import type { ByHand } from "./pipelines.ts";
import { outcomeOf } from "./prom_client.ts";

/** A reader, without which the SDK keeps no metrics. */
class Reader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }

  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

/** Makes the helpers. */
export function byOpenTelemetry(): ByHand {
  const provider = new MeterProvider({ readers: [new Reader()] });
  const meter = provider.getMeter("bench");

  function metricsOf(kind: string, buckets: number[]) {
    return {
      seconds: meter.createHistogram(`${kind}_duration_seconds`, {
        advice: { explicitBucketBoundaries: buckets },
      }),
      total: meter.createCounter(`${kind}_total`),
      inProgress: meter.createUpDownCounter(`${kind}_in_progress`),
    };
  }

  const pipelines = metricsOf("pipeline", [...PIPELINE_BUCKETS]);
  const stages = metricsOf("stage", [...STAGE_BUCKETS]);

  return {
    async pipeline(name, fn) {
      const labels = { lane: "production", pipeline_name: name };
      let status = "success";
      pipelines.inProgress.add(1, labels);
      const start = performance.now();
      try {
        return await fn();
      } catch (error) {
        status = outcomeOf(error);
        throw error;
      } finally {
        const seconds = (performance.now() - start) / 1000;
        pipelines.seconds.record(seconds, { ...labels, status });
        pipelines.total.add(1, { ...labels, status });
        pipelines.inProgress.add(-1, labels);
      }
    },
    async stage(pipelineName, name, fn) {
      const labels = {
        lane: "production",
        pipeline_name: pipelineName,
        stage_name: name,
      };
      let outcome = "success";
      stages.inProgress.add(1, labels);
      const start = performance.now();
      try {
        return await fn();
      } catch (error) {
        outcome = outcomeOf(error);
        throw error;
      } finally {
        const seconds = (performance.now() - start) / 1000;
        stages.seconds.record(seconds, { ...labels, outcome });
        stages.total.add(1, { ...labels, outcome });
        stages.inProgress.add(-1, labels);
      }
    },
  };
}
