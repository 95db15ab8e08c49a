import { createHandlerFunction, type HandlerMethods } from "./http/handler.ts";
import {
  createInstance,
  type StageMetricsOptions,
} from "./instances/instance.ts";
import {
  createDefineFunction,
  type DefineMethods,
} from "./pipelines/declared_pipeline.ts";
import {
  createPipelineFunction,
  currentPipeline,
  type PipelineMethods,
  type PipelineScope,
} from "./pipelines/pipeline.ts";
import {
  createOpenFunction,
  type OpenMethods,
} from "./pipelines/pipeline_handle.ts";
import {
  createRecordMethods,
  type RecordMethods,
} from "./pipelines/recorders.ts";
import { createStageFunction, type StageMethods } from "./pipelines/stage.ts";
import {
  createStreamFunction,
  type StreamMethods,
} from "./pipelines/stage_stream.ts";
import type { MetricsRegistry } from "./registry/registry.ts";
import {
  type CurrentContext,
  currentContext,
  type InstanceSource,
} from "./scopes/context.ts";
import type { Instance } from "./scopes/scope.ts";
import { createShareFunction, type ShareMethods } from "./workers/share.ts";

/** The functions that record and serve. */
export interface Methods
  extends
    PipelineMethods,
    OpenMethods,
    DefineMethods,
    StageMethods,
    StreamMethods,
    RecordMethods,
    HandlerMethods,
    ShareMethods {}

/** An instance: all of the library's functions, on one registry and prefix. */
export interface StageMetrics extends Methods {
  /** Where the metrics are registered. */
  readonly registry: MetricsRegistry;
  /** The innermost pipeline around the code that calls this, if there is one. */
  currentPipeline(): PipelineScope | undefined;
}

/**
 * Makes an instance of its own: on another registry, under another prefix, with
 * other options.
 *
 * Instances on one registry and prefix share the metrics. Its `pipeline` always
 * records here; its `stage` goes with the pipeline around it, as every stage does.
 *
 * @param options The options.
 * @returns The instance, whose functions work destructured.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If an option has a senseless value, or does not agree with
 * the metrics that the registry has already.
 * @throws {Error} If the registry has a metric of such a name that is not this
 * library's.
 *
 * @example
 * ```ts
 * import { createStageMetrics } from "@lukhas/stage-metrics";
 * import { sampleValue } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 * import { Registry } from "prom-client";
 *
 * const { pipeline, registry } = createStageMetrics({
 *   registry: new Registry(),
 *   prefix: "billing_",
 *   lane: "canary",
 * });
 * pipeline("invoice", () => {});
 *
 * const labels = { lane: "canary", pipeline_name: "invoice", status: "success" };
 * assertEquals(await sampleValue(registry, "billing_pipeline_total", labels), 1);
 * ```
 */
export function createStageMetrics(
  options: StageMetricsOptions = {},
): StageMetrics {
  return toStageMetrics(createInstance(options));
}

/** Returns the public functions of an instance. */
export function toStageMetrics(instance: Instance): StageMetrics {
  const root: CurrentContext = {
    instance,
    pipeline: undefined,
    captured: undefined,
    isDone: false,
  };
  return {
    registry: instance.registration.registry,
    currentPipeline,
    ...createMethods({
      context() {
        const ambient = currentContext();
        return ambient?.pipeline === undefined ? root : ambient;
      },
      instance: () => instance,
      rootInstance: () => instance,
      registries: () => [instance.registration.registry],
      onInstance: (fn) => fn(instance),
      declare: (fn) => fn(instance),
    }),
  };
}

/** Makes the functions that record and serve. */
export function createMethods(source: InstanceSource): Methods {
  const stage = createStageFunction(source);
  return {
    pipeline: createPipelineFunction(source),
    openPipeline: createOpenFunction(source),
    definePipeline: createDefineFunction(source, stage),
    stage,
    stageStream: createStreamFunction(source.context),
    ...createRecordMethods(source),
    metricsHandler: createHandlerFunction(source),
    shareMetrics: createShareFunction(source),
  };
}
