import {
  createHandlerFunction,
  type MetricsHandlerOptions,
} from "./http/handler.ts";
import { createInstance } from "./instances/instance.ts";
import type { StageMetricsOptions } from "./instances/stage_metrics_options.ts";
import {
  createDefineFunction,
  type DeclaredPipeline,
  type PipelineDeclaration,
} from "./pipelines/declared_pipeline.ts";
import {
  createPipelineFunction,
  currentPipeline,
  type PipelineOptions,
  type PipelineScope,
} from "./pipelines/pipeline.ts";
import {
  createOpenFunction,
  type PipelineHandle,
} from "./pipelines/pipeline_handle.ts";
import {
  createRecorders,
  type PipelineRecord,
  type StageRecord,
} from "./pipelines/recorders.ts";
import {
  createStageFunction,
  type StageOptions,
  type StageScope,
} from "./pipelines/stage.ts";
import {
  createStreamFunction,
  type MeasuredStream,
  type StreamOptions,
  type StreamSource,
} from "./pipelines/stage_stream.ts";
import type { MetricsRegistry } from "./registry/registry.ts";
import {
  type CurrentContext,
  currentContext,
  type InstanceSource,
} from "./scopes/context.ts";
import type { ScopeWrapper } from "./scopes/overloads.ts";
import type { Instance } from "./scopes/scope.ts";
import { createShareFunction } from "./workers/share.ts";

/**
 * An instance: the functions of this module, with a registry, a prefix and options of its
 * own. They work destructured.
 */
export interface StageMetrics {
  /** The registry of the metrics. */
  readonly registry: MetricsRegistry;
  /**
   * Returns the scope of the innermost enclosing pipeline.
   *
   * @returns The scope, or `undefined` if there is no enclosing pipeline.
   */
  currentPipeline(): PipelineScope | undefined;
  /**
   * Runs an async function as a pipeline.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws The error that `fn` throws.
   */
  pipeline<T>(
    name: string,
    fn: (scope: PipelineScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a pipeline.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws The error that `fn` throws.
   */
  pipeline<T>(name: string, fn: (scope: PipelineScope) => T): T;
  /**
   * Runs an async function as a pipeline with options.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  pipeline<T>(
    name: string,
    options: PipelineOptions | undefined,
    fn: (scope: PipelineScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a pipeline with options.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  pipeline<T>(
    name: string,
    options: PipelineOptions | undefined,
    fn: (scope: PipelineScope) => T,
  ): T;
  /**
   * Returns a wrapper, which is also a method decorator.
   *
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @returns A wrapper for functions whose calls become pipelines.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  pipeline(name: string, options?: PipelineOptions): ScopeWrapper;
  /**
   * Opens a pipeline that no callback can enclose.
   *
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @returns The handle to close.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  openPipeline(name: string, options?: PipelineOptions): PipelineHandle;
  /**
   * Declares a pipeline once: its name, its options, its stages and their options.
   *
   * @typeParam N The names of the stages.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param declaration The options and the stages.
   * @returns The declared pipeline.
   * @throws {TypeError} If an option, a name or a stage has the wrong type, or if an
   * option is unknown.
   * @throws {RangeError} If a name is empty, or if `timeout` is `NaN`.
   */
  definePipeline<N extends string>(
    name: string,
    declaration: PipelineDeclaration<N>,
  ): DeclaredPipeline<N>;
  /**
   * Runs an async function as a stage.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the stage, the label `stage_name`.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws The error that `fn` throws.
   */
  stage<T>(
    name: string,
    fn: (scope: StageScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a stage.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the stage, the label `stage_name`.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws The error that `fn` throws.
   */
  stage<T>(name: string, fn: (scope: StageScope) => T): T;
  /**
   * Runs an async function as a stage with options.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage<T>(
    name: string,
    options: StageOptions | undefined,
    fn: (scope: StageScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a stage with options.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage<T>(
    name: string,
    options: StageOptions | undefined,
    fn: (scope: StageScope) => T,
  ): T;
  /**
   * Returns a wrapper, which is also a method decorator.
   *
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @returns A wrapper for functions whose calls become stages.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage(name: string, options?: StageOptions): ScopeWrapper;
  /**
   * Measures a stream as a stage: from this call until the stream ends, fails or is
   * stopped by its consumer.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, or `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked.
   */
  stageStream<S extends StreamSource>(
    name: string,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
  /**
   * Measures a stream as a stage with options.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, or `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked, or if an option
   * has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stageStream<S extends StreamSource>(
    name: string,
    options: StreamOptions | undefined,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
  /**
   * Records a run of a pipeline that was measured elsewhere.
   *
   * @param record The run.
   */
  recordPipelineMetrics(record: PipelineRecord): void;
  /**
   * Records a run of a stage that was measured elsewhere.
   *
   * @param record The run.
   * @throws {Error} If there is neither a `pipelineName` nor an enclosing pipeline, and
   * the instance is `strict`.
   */
  recordStageMetrics(record: StageRecord): void;
  /**
   * Returns a Fetch handler that serves the metrics of the registry.
   *
   * @typeParam A The types of the arguments that the server passes after the request.
   * @param options The options.
   * @returns The handler, for `Deno.serve`, `Bun.serve` or Hono.
   * @throws {TypeError} If an option has the wrong type, or is unknown.
   * @throws {RangeError} If an option is out of range.
   */
  metricsHandler<A extends unknown[]>(
    options?: MetricsHandlerOptions<A>,
  ): (request: Request, ...rest: A) => Promise<Response>;
  /**
   * Shares the metrics of this worker thread with the threads that serve metrics with
   * `metricsHandler({ workers: true })`.
   */
  shareMetrics(): void;
}

/**
 * Creates an instance with a registry, a prefix or options of its own.
 *
 * Instances with the same registry and prefix share their metrics. The instance's
 * `pipeline` always records to the instance. Its `stage`, like every stage, records where
 * the enclosing pipeline records.
 *
 * @param options The options.
 * @returns The instance.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or contradicts the metrics that are
 * already in the registry.
 * @throws {Error} If the registry has a foreign metric with the name of one of the metrics.
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
  const source = sourceOf(instance);
  const stage = createStageFunction(source);
  return {
    registry: instance.registration.registry,
    currentPipeline,
    pipeline: createPipelineFunction(source) as StageMetrics["pipeline"],
    openPipeline: createOpenFunction(source),
    definePipeline: createDefineFunction(source, stage),
    stage: stage as StageMetrics["stage"],
    stageStream: createStreamFunction(
      source.context,
    ) as StageMetrics["stageStream"],
    ...createRecorders(source),
    metricsHandler: createHandlerFunction(source),
    shareMetrics: createShareFunction(source),
  };
}

function sourceOf(instance: Instance): InstanceSource {
  const root: CurrentContext = {
    instance,
    pipeline: undefined,
    captured: undefined,
    isDone: false,
  };
  return {
    context() {
      const current = currentContext();
      return current?.pipeline === undefined ? root : current;
    },
    instance: () => instance,
    rootInstance: () => instance,
    registries: () => [instance.registration.registry],
    onInstance: (fn) => fn(instance),
    declare: (fn) => fn(instance),
  };
}
