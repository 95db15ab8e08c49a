import type { MetricsHandlerOptions } from "./http/handler.ts";
import {
  configureDefault,
  defaultSource,
} from "./instances/default_instance.ts";
import type { StageMetricsOptions } from "./instances/instance.ts";
import type {
  DeclaredPipeline,
  PipelineDeclaration,
} from "./pipelines/declared_pipeline.ts";
import type { PipelineMethods, PipelineOptions } from "./pipelines/pipeline.ts";
import type { PipelineHandle } from "./pipelines/pipeline_handle.ts";
import type { PipelineRecord, StageRecord } from "./pipelines/recorders.ts";
import type { StageMethods } from "./pipelines/stage.ts";
import type { StreamMethods } from "./pipelines/stage_stream.ts";
import { createMethods } from "./stage_metrics.ts";

/**
 * Sets options of the default instance, the one that `pipeline`, `stage` and all other
 * imported functions use.
 *
 * Calls add up: each option has the value of the last call that sets it. An option
 * that is `undefined` stays as it was. All options together are checked by each call,
 * and a call that throws changes nothing.
 *
 * Call it first thing: the first scope, record or scrape uses the options. After that,
 * a call may change them only where it is made again from the same place, as by a hot
 * reload, and replace functions and objects by others. They count from then on.
 *
 * There is one default instance in a process, also where several copies of this module
 * or of prom-client are loaded, as by bundles. Importing the module registers nothing:
 * this function and {@linkcode definePipeline} do, and so does the first use.
 *
 * @param options The options.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or does not go with those that
 * earlier calls set.
 * @throws {Error} If the default instance is in use, and the call would change it.
 *
 * @example
 * ```ts
 * import { configure, PIPELINE_BUCKETS } from "@lukhas/stage-metrics";
 *
 * configure({
 *   lane: "canary",
 *   pipelineBuckets: [...PIPELINE_BUCKETS, 10, 30, 60, 120, 300],
 * });
 * // Elsewhere, as in the file that sets up logging:
 * configure({ onIssue: ({ message }) => console.error(message) });
 * ```
 */
export function configure(options: StageMetricsOptions): void {
  configureDefault(options);
}

const methods = createMethods(defaultSource);

/**
 * Runs a function as a pipeline: times it, records how it ended, and lets every
 * `stage` that is called inside of it know its name and lane.
 *
 * - `pipeline(name, fn)` and `pipeline(name, options, fn)` call `fn(scope)` and give
 *   what it returns: a promise for a promise, and any other value as it is;
 * - `pipeline(name)` and `pipeline(name, options)` return a wrapper: each call of
 *   `pipeline(name)(fn)` is a pipeline. It decorates methods, too.
 *
 * A pipeline inside another one takes its lane, and its limits, while that is open. In
 * the context of one that has ended, and with `detached: true`, it is a root.
 *
 * What `fn` throws is classified and rethrown. A `TypeError` is thrown if the function
 * is missing, or if an option has the wrong type.
 *
 * Its overloads are those of {@linkcode PipelineMethods}.
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
 * Opens a pipeline that no callback can enclose: it ends when its handle is closed.
 *
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param options The options.
 * @returns The handle. Disposed of unclosed, as by `using`, it records `failure`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If the timeout is `NaN`.
 *
 * @example
 * ```ts
 * import { openPipeline, stage } from "@lukhas/stage-metrics";
 *
 * using upload = openPipeline("upload", { timeout: 30_000 });
 * upload.stage("receive", () => {});
 * upload.run(() => stage("store", () => {}));
 * upload.close();
 * ```
 */
export function openPipeline(
  name: string,
  options?: PipelineOptions,
): PipelineHandle {
  return methods.openPipeline(name, options);
}

/**
 * Declares a pipeline once: its options, its stages and theirs.
 *
 * The compiler then knows the names of its stages, their series are there at 0
 * before the first run, and a plain `stage` inside of it has the declared options,
 * unless its call says otherwise. A stage that is not declared is the issue
 * `undeclared_stage`.
 *
 * @typeParam N The names of its stages.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param declaration Its options and its stages.
 * @returns The pipeline, to be run.
 * @throws {TypeError} If an option, a name or a stage has the wrong type.
 * @throws {RangeError} If a name is empty, or a timeout is `NaN`.
 *
 * @example
 * ```ts
 * import { definePipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const answering = definePipeline("answering", {
 *   timeout: 250,
 *   stages: { parse: { timeout: 50 }, search: {} },
 * });
 *
 * const found = await answering.run(async () => {
 *   const words = answering.stage("parse", () => ["life", "universe"]);
 *   return await stage("search", async () => words.length);
 * });
 * assertEquals(found, 2);
 * ```
 */
export function definePipeline<N extends string>(
  name: string,
  declaration: PipelineDeclaration<N>,
): DeclaredPipeline<N> {
  return methods.definePipeline(name, declaration);
}

/**
 * Runs a function as a stage of the pipeline around it: times it, and records how
 * it ended. Stages may run in parallel, and within each other.
 *
 * - `stage(name, fn)` and `stage(name, options, fn)` call `fn(scope)` and give what
 *   it returns: a promise for a promise, and any other value as it is;
 * - `stage(name)` and `stage(name, options)` return a wrapper: each call of
 *   `stage(name)(fn)` is a stage. It decorates methods, too.
 *
 * What `fn` throws is classified and rethrown. A `TypeError` is thrown if the function
 * is missing, or if an option has the wrong type.
 *
 * Its overloads are those of {@linkcode StageMethods}.
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
 * Measures a stream as a stage of the pipeline around it: from this call until it
 * ends, fails, or its consumer stops. The pipeline stays open as long.
 *
 * - `stageStream(name, source)` and `stageStream(name, options, source)` return a
 *   stream of the same kind for a `ReadableStream`, an async iterable, an async
 *   generator or a `Readable` of Node's, and `null` for `null`;
 * - the source may be a function that gets the stage's scope, with its `signal` and
 *   `setOutcome`, and returns the stream.
 *
 * The source's own code runs inside the pipeline, whoever consumes it. A consumer that
 * stops early is a success that counts as cancelled.
 *
 * Its overloads are those of {@linkcode StreamMethods}.
 *
 * @example
 * ```ts
 * import { pipeline, stageStream } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * async function* tokens() {
 *   yield "Hello, ";
 *   yield "Ada!";
 * }
 *
 * const answer = pipeline("chat", () =>
 *   stageStream("generate", { firstChunk: "first_token" }, tokens()));
 * assertEquals(await Array.fromAsync(answer), ["Hello, ", "Ada!"]);
 * ```
 */
export const stageStream: StreamMethods["stageStream"] = methods.stageStream;

/**
 * Records a run of a pipeline that was measured elsewhere.
 *
 * Its lane defaults to that of the pipeline around it. A negative duration or
 * `NaN` is recorded as 0; `Infinity` counts, and adds nothing to the sum.
 *
 * @param record What was measured.
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
export function recordPipelineMetrics(record: PipelineRecord): void {
  methods.recordPipelineMetrics(record);
}

/**
 * Records a run of a stage that was measured elsewhere.
 *
 * Its pipeline and lane default to those of the pipeline around it. A negative
 * duration or `NaN` is recorded as 0; `Infinity` counts, and adds nothing to the
 * sum.
 *
 * @param record What was measured.
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
export function recordStageMetrics(record: StageRecord): void {
  methods.recordStageMetrics(record);
}

/**
 * Makes a Fetch handler that serves metrics, for `Deno.serve`, `Bun.serve` or
 * Hono.
 *
 * It answers `GET` and `HEAD`, in OpenMetrics 1.0 to clients that prefer it and
 * else in the text format 0.0.4, compressed if the client accepts gzip. A metric
 * that cannot be collected is left out, and counted as `collector_error`.
 *
 * @typeParam A What the server passes on after the request.
 * @param options The options.
 * @returns The handler.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If an option has a senseless value.
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
export function metricsHandler<A extends unknown[]>(
  options?: MetricsHandlerOptions<A>,
): (request: Request, ...rest: A) => Promise<Response> {
  return methods.metricsHandler(options);
}

/**
 * Lets a worker thread that serves no metrics itself be counted by those that do,
 * with `metricsHandler({ workers: true })`.
 *
 * It is not needed where the thread has such a handler of its own.
 *
 * @example
 * ```ts
 * import { pipeline, shareMetrics } from "@lukhas/stage-metrics";
 *
 * // What the module of a worker exports, or does at once.
 * export function startWorker() {
 *   shareMetrics();
 *   addEventListener("message", () => pipeline("job", () => {}));
 * }
 * ```
 */
export function shareMetrics(): void {
  methods.shareMetrics();
}
