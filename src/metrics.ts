import { type Ambient, getAmbient, type Instance } from "./context.ts";
import { createHandlerFunction, type HandlerMethods } from "./handler.ts";
import {
  checkStageMetricsOptions,
  createInstance,
  createTolerantInstance,
  type StageMetricsOptions,
} from "./instance.ts";
import {
  createPipelineFunction,
  currentPipeline,
  type PipelineMethods,
  type PipelineScope,
} from "./pipeline.ts";
import { createRecordMethods, type RecordMethods } from "./record.ts";
import type { MetricsRegistry } from "./registry.ts";
import { createStageFunction, type StageMethods } from "./stage.ts";

/** An instance: all of the library's functions, on one registry and prefix. */
export interface StageMetrics
  extends PipelineMethods, StageMethods, RecordMethods, HandlerMethods {
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
  return metricsOf(createInstance(options));
}

/** The public face of an instance. */
export function metricsOf(instance: Instance): StageMetrics {
  const root: Ambient = { instance, pipeline: undefined };
  return {
    registry: instance.registration.registry,
    currentPipeline,
    ...createMethods(
      () => instance,
      () => {
        const ambient = getAmbient();
        return ambient?.pipeline === undefined ? root : ambient;
      },
    ),
  };
}

let configuredOptions: StageMetricsOptions = {};
let defaultRoot: Ambient | undefined;

/**
 * Sets the options of the default instance, the one of `pipeline`, `stage` and
 * all other functions that are imported.
 *
 * Call it first thing: the default instance comes into being with the first
 * scope, record or scrape. Until then, neither registry nor environment is touched.
 *
 * @param options The options.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If an option has a senseless value.
 * @throws {Error} If the default instance is in use already.
 *
 * @example
 * ```ts
 * import { configure, PIPELINE_BUCKETS } from "@lukhas/stage-metrics";
 *
 * configure({
 *   lane: "canary",
 *   pipelineBuckets: [...PIPELINE_BUCKETS, 10, 30, 60, 120, 300],
 * });
 * ```
 */
export function configure(options: StageMetricsOptions): void {
  checkStageMetricsOptions(options);
  if (defaultRoot !== undefined) {
    throw new Error(
      "Cannot configure the default instance: it is in use already, call configure() before the first scope, record or scrape",
    );
  }
  configuredOptions = { ...options };
}

function locate(): Ambient {
  return getAmbient() ?? (defaultRoot ??= {
    instance: createTolerantInstance(configuredOptions),
    pipeline: undefined,
  });
}

type Methods = PipelineMethods & StageMethods & RecordMethods & HandlerMethods;

function createMethods(
  locateInstance: () => Instance,
  locate: () => Ambient,
): Methods {
  return {
    pipeline: createPipelineFunction(locateInstance),
    stage: createStageFunction(locate),
    ...createRecordMethods(locate, locateInstance),
    metricsHandler: createHandlerFunction(locateInstance),
  };
}

const methods = createMethods(() => locate().instance, locate);

/**
 * Runs a function as a pipeline: times it, records how it ended, and lets every
 * `stage` that is called inside of it know its name and lane.
 *
 * Called without a function, it makes a wrapper, which is also the standard
 * decorator of a method.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const answer = await pipeline("question_answering", async () => {
 *   const words = stage("parse", () => "life, the universe".split(", "));
 *   return await stage("search", async () => words.length);
 * });
 * assertEquals(answer, 2);
 * ```
 *
 * @example As a wrapper
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const double = pipeline("double", { lane: "batch" })((n: number) => 2 * n);
 * assertEquals(double(21), 42);
 * ```
 */
export const pipeline: PipelineMethods["pipeline"] = methods.pipeline;

/**
 * Runs a function as a stage of the pipeline around it: times it, and records how
 * it ended.
 *
 * Called without a function, it makes a wrapper, which is also the standard
 * decorator of a method.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const fetchPrice = stage("price")(async (item: string) => item.length);
 * const total = await pipeline("checkout", async () => {
 *   const prices = await Promise.all(["tea", "milk"].map(fetchPrice));
 *   return stage("sum", () => prices.reduce((sum, price) => sum + price));
 * });
 * assertEquals(total, 7);
 * ```
 *
 * @example As a decorator
 * ```ts
 * import { stage } from "@lukhas/stage-metrics";
 *
 * class Shop {
 *   @stage("checkout")
 *   async checkout(items: string[]): Promise<number> {
 *     return items.length;
 *   }
 * }
 * ```
 */
export const stage: StageMethods["stage"] = methods.stage;

/**
 * Records a run of a pipeline that was measured elsewhere.
 *
 * Its lane defaults to that of the pipeline around it. A negative duration or
 * `NaN` is recorded as 0; `Infinity` counts, and adds nothing to the sum.
 *
 * @example
 * ```ts
 * import { recordPipelineMetrics } from "@lukhas/stage-metrics";
 *
 * recordPipelineMetrics({
 *   pipelineName: "nightly_import",
 *   durationSec: 12.5,
 *   status: "success",
 *   lane: "batch",
 * });
 * ```
 */
export const recordPipelineMetrics: RecordMethods["recordPipelineMetrics"] =
  methods.recordPipelineMetrics;

/**
 * Records a run of a stage that was measured elsewhere.
 *
 * Its pipeline and lane default to those of the pipeline around it. A negative
 * duration or `NaN` is recorded as 0; `Infinity` counts, and adds nothing to the
 * sum.
 *
 * @example
 * ```ts
 * import { recordStageMetrics } from "@lukhas/stage-metrics";
 *
 * recordStageMetrics({
 *   pipelineName: "nightly_import",
 *   stageName: "download",
 *   durationSec: 0.25,
 *   outcome: "timeout",
 * });
 * ```
 */
export const recordStageMetrics: RecordMethods["recordStageMetrics"] =
  methods.recordStageMetrics;

/**
 * Makes a Fetch handler that serves metrics, for `Deno.serve`, `Bun.serve` or
 * Hono.
 *
 * It answers `GET` and `HEAD`, in OpenMetrics 1.0 to clients that prefer it and
 * else in the text format 0.0.4, compressed if the client accepts gzip. A metric
 * that cannot be collected is left out, and counted as `collector_error`.
 *
 * @example
 * ```ts
 * import { metricsHandler, pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals, assertStringIncludes } from "@std/assert";
 *
 * const handler = metricsHandler({
 *   next: (request) => pipeline("greeting", () => new Response(request.url)),
 * });
 * // Deno.serve(handler);
 *
 * const greeting = await handler(new Request("http://localhost/hello"));
 * assertEquals(await greeting.text(), "http://localhost/hello");
 * const metrics = await handler(new Request("http://localhost/metrics"));
 * assertStringIncludes(await metrics.text(), 'pipeline_name="greeting"');
 * ```
 */
export const metricsHandler: HandlerMethods["metricsHandler"] =
  methods.metricsHandler;
