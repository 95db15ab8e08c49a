import {
  createHandlerFunction,
  type MetricsHandlerOptions,
} from "./http/handler.ts";
import {
  configureDefault,
  defaultSource,
} from "./instances/default_instance.ts";
import type { StageMetricsOptions } from "./instances/stage_metrics_options.ts";
import {
  createDefineFunction,
  type DeclaredPipeline,
  type PipelineDeclaration,
} from "./pipelines/declared_pipeline.ts";
import {
  createPipelineFunction,
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
import type { ScopeWrapper } from "./scopes/overloads.ts";
import { createShareFunction } from "./workers/share.ts";

// The functions of the default instance. Each exported function passes its call on to one
// of them, and declares the types.
const runPipeline = createPipelineFunction(defaultSource);
const runStage = createStageFunction(defaultSource);
const measureStream = createStreamFunction(defaultSource.context);
const openHandle = createOpenFunction(defaultSource);
const declarePipeline = createDefineFunction(defaultSource, runStage);
const recorders = createRecorders(defaultSource);
const createHandler = createHandlerFunction(defaultSource);
const share = createShareFunction(defaultSource);

/**
 * Sets options of the default instance, which `pipeline`, `stage` and all other imported
 * functions use.
 *
 * Call it at the start of the program. The first scope, record or scrape uses the
 * options. A later call throws, unless it repeats a call from the same place in the code,
 * as a hot reload does, or replaces only functions and objects.
 *
 * Calls add up: each option has the value of the last call that sets it, and `undefined`
 * leaves an option as it is. A call that throws changes nothing.
 *
 * A process has one default instance, even if it loads several copies of this module or
 * of prom-client, as bundles do. Importing the module registers no metrics. `configure`,
 * {@linkcode definePipeline} and the first use register them.
 *
 * @param options The options.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or contradicts options of earlier
 * calls.
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
 * // Elsewhere, such as in the file that sets up logging:
 * configure({ onIssue: ({ message }) => console.error(message) });
 * ```
 */
export function configure(options: StageMetricsOptions): void {
  configureDefault(options);
}

/**
 * Runs an async function as a pipeline: measures its duration, records its outcome, and
 * passes its name and lane to every `stage` inside it.
 *
 * A pipeline inside an open pipeline takes its lane, and is subject to its timeout and
 * `signal`. After the enclosing pipeline has ended, or with `detached: true`, it is a
 * root.
 *
 * @typeParam T The type of the resolved value.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param fn The function to run.
 * @returns A native promise for the value of `fn`.
 * @throws The error that `fn` throws. It is recorded as `failure` or `timeout`, as
 * {@linkcode classifyError} decides.
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
 */
export function pipeline<T>(
  name: string,
  fn: (scope: PipelineScope) => PromiseLike<T>,
): Promise<T>;
/**
 * Runs a function as a pipeline. A sync function stays sync.
 *
 * @typeParam T The type of the returned value.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param fn The function to run.
 * @returns The value of `fn`.
 * @throws The error that `fn` throws.
 *
 * @example
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const sum = pipeline("sum", ({ lane }) => {
 *   assertEquals(lane, "production");
 *   return 1 + 2;
 * });
 * assertEquals(sum, 3);
 * ```
 */
export function pipeline<T>(
  name: string,
  fn: (scope: PipelineScope) => T,
): T;
/**
 * Runs an async function as a pipeline with options, such as a timeout or a lane.
 *
 * @typeParam T The type of the resolved value.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param options The options.
 * @param fn The function to run.
 * @returns A native promise for the value of `fn`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
 *
 * @example
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import { assertRejects } from "@std/assert";
 *
 * const forever = new Promise<never>(() => {});
 * await assertRejects(
 *   () => pipeline("search", { timeout: 10, lane: "canary" }, () => forever),
 *   DOMException,
 *   "timed out after 10 ms",
 * );
 * ```
 */
export function pipeline<T>(
  name: string,
  options: PipelineOptions | undefined,
  fn: (scope: PipelineScope) => PromiseLike<T>,
): Promise<T>;
/**
 * Runs a function as a pipeline with options. A sync function stays sync.
 *
 * @typeParam T The type of the returned value.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param options The options.
 * @param fn The function to run.
 * @returns The value of `fn`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
 */
export function pipeline<T>(
  name: string,
  options: PipelineOptions | undefined,
  fn: (scope: PipelineScope) => T,
): T;
/**
 * Returns a wrapper: each call of a wrapped function is a pipeline. The wrapper is also a
 * method decorator.
 *
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param options The options.
 * @returns The wrapper.
 * @throws {TypeError} If an option has the wrong type, or if the function or the options
 * are an explicit `undefined`.
 * @throws {RangeError} If `timeout` is `NaN`.
 *
 * @example
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const double = pipeline("double", { lane: "batch" })((n: number) => 2 * n);
 * assertEquals(double(21), 42);
 * ```
 */
export function pipeline(
  name: string,
  options?: PipelineOptions,
): ScopeWrapper;
export function pipeline(
  name: string,
  options?: unknown,
  fn?: unknown,
): unknown {
  return runPipeline(name, options, fn, arguments.length);
}

/**
 * Opens a pipeline that no callback can enclose. It ends when its handle is closed.
 *
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param options The options.
 * @returns The handle. If it is disposed of before it is closed, as by `using`, the
 * pipeline records `failure`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
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
  return openHandle(name, options);
}

/**
 * Declares a pipeline once: its name, its options, its stages and their options.
 *
 * The compiler then knows the names of the stages. Their series exist from the start, at
 * 0, before the first run. A plain `stage` inside the pipeline has the declared options,
 * unless its call overrides them. An undeclared stage is the issue `undeclared_stage`.
 *
 * @typeParam N The names of the stages.
 * @param name The name of the pipeline, the label `pipeline_name`.
 * @param declaration The options and the stages.
 * @returns The declared pipeline.
 * @throws {TypeError} If an option, a name or a stage has the wrong type, or if an option
 * is unknown.
 * @throws {RangeError} If a name is empty, or if `timeout` is `NaN`.
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
  return declarePipeline(name, declaration);
}

/**
 * Runs an async function as a stage of the enclosing pipeline: measures its duration and
 * records its outcome. Stages may run in parallel and inside each other.
 *
 * Without an enclosing pipeline, the stage runs and is recorded with
 * `pipeline_name="unknown"`, and counts as the issue `orphan_stage`.
 *
 * @typeParam T The type of the resolved value.
 * @param name The name of the stage, the label `stage_name`.
 * @param fn The function to run.
 * @returns A native promise for the value of `fn`.
 * @throws The error that `fn` throws. It is recorded as `failure` or `timeout`, as
 * {@linkcode classifyError} decides.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const answer = await pipeline("question_answering", async () => {
 *   const [facts, sources] = await Promise.all([
 *     stage("facts", async () => ["42"]),
 *     stage("sources", async () => ["The Guide"]),
 *   ]);
 *   return stage("compose", () => `${facts} (${sources})`);
 * });
 * assertEquals(answer, "42 (The Guide)");
 * ```
 */
export function stage<T>(
  name: string,
  fn: (scope: StageScope) => PromiseLike<T>,
): Promise<T>;
/**
 * Runs a function as a stage of the enclosing pipeline. A sync function stays sync.
 *
 * @typeParam T The type of the returned value.
 * @param name The name of the stage, the label `stage_name`.
 * @param fn The function to run.
 * @returns The value of `fn`.
 * @throws The error that `fn` throws.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const words = pipeline("count", () => stage("split", () => "a b".split(" ")));
 * assertEquals(words, ["a", "b"]);
 * ```
 */
export function stage<T>(name: string, fn: (scope: StageScope) => T): T;
/**
 * Runs an async function as a stage of the enclosing pipeline, with options.
 *
 * @typeParam T The type of the resolved value.
 * @param name The name of the stage, the label `stage_name`.
 * @param options The options.
 * @param fn The function to run.
 * @returns A native promise for the value of `fn`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const classifyResult = (response: Response) =>
 *   response.ok ? undefined : "failure" as const;
 * const { status } = await pipeline("lookup", () =>
 *   stage("fetch", { timeout: 250, classifyResult }, async ({ signal }) => {
 *     signal.throwIfAborted();
 *     return new Response(null, { status: 404 });
 *   }));
 * assertEquals(status, 404);
 * ```
 */
export function stage<T>(
  name: string,
  options: StageOptions | undefined,
  fn: (scope: StageScope) => PromiseLike<T>,
): Promise<T>;
/**
 * Runs a function as a stage of the enclosing pipeline, with options. A sync function
 * stays sync.
 *
 * @typeParam T The type of the returned value.
 * @param name The name of the stage, the label `stage_name`.
 * @param options The options.
 * @param fn The function to run.
 * @returns The value of `fn`.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
 */
export function stage<T>(
  name: string,
  options: StageOptions | undefined,
  fn: (scope: StageScope) => T,
): T;
/**
 * Returns a wrapper: each call of a wrapped function is a stage. The wrapper is also a
 * method decorator.
 *
 * @param name The name of the stage, the label `stage_name`.
 * @param options The options.
 * @returns The wrapper.
 * @throws {TypeError} If an option has the wrong type, or if the function or the options
 * are an explicit `undefined`.
 * @throws {RangeError} If `timeout` is `NaN`.
 *
 * @example A wrapped function
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const fetchPrice = stage("price")(async (item: string) => item.length);
 * const prices = await pipeline("checkout", () =>
 *   Promise.all(["tea", "milk"].map(fetchPrice)));
 * assertEquals(prices, [3, 4]);
 * ```
 *
 * @example A decorated method
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * class Shop {
 *   @pipeline("checkout")
 *   async checkout(items: string[]): Promise<number> {
 *     return await this.price(items);
 *   }
 *
 *   @stage("price")
 *   async price(items: string[]): Promise<number> {
 *     return items.length;
 *   }
 * }
 * assertEquals(await new Shop().checkout(["tea"]), 1);
 * ```
 */
export function stage(name: string, options?: StageOptions): ScopeWrapper;
export function stage(
  name: string,
  options?: unknown,
  fn?: unknown,
): unknown {
  return runStage(name, options, fn, arguments.length);
}

/**
 * Measures a stream as a stage of the enclosing pipeline. The stage starts with this call
 * and ends when the stream ends, fails or is stopped by its consumer. The pipeline stays
 * open until then.
 *
 * A stream is a `ReadableStream`, an async iterable, an async generator or a `Readable`
 * of Node.js. The result is of the same kind, and passes each chunk on without buffering.
 * `null` stays `null`, so `response.body` can be passed directly.
 *
 * The source's own code runs in the context of the pipeline. If the consumer stops early,
 * the stage is a success that also counts as cancelled.
 *
 * @typeParam S The type of the stream.
 * @param name The name of the stage, the label `stage_name`.
 * @param source The stream, or a function that returns it. The function gets the scope of
 * the stage, with its `signal` and `setOutcome`.
 * @returns A stream of the same kind, or `null` for `null`.
 * @throws {TypeError} If the source is not a stream, or is locked.
 *
 * @example A Web stream
 * ```ts
 * import { pipeline, stageStream } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const response = pipeline("page", () => {
 *   const { body } = new Response("Hello, Ada!");
 *   return new Response(stageStream("body", body));
 * });
 * assertEquals(await response.text(), "Hello, Ada!");
 * ```
 *
 * @example A Node.js stream
 * ```ts
 * import { pipeline, stageStream } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 * import { Readable } from "node:stream";
 *
 * const lines = pipeline("import", () =>
 *   stageStream("read", Readable.from(["a", "b"])));
 * assertEquals(await lines.toArray(), ["a", "b"]);
 * ```
 *
 * @example A function that returns the stream
 * ```ts
 * import { pipeline, stageStream } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const answer = pipeline("chat", () =>
 *   stageStream("generate", async function* ({ signal, setOutcome }) {
 *     yield signal.aborted ? "Stopped" : "Hello";
 *     setOutcome("failure");
 *   }));
 * assertEquals(await Array.fromAsync(answer), ["Hello"]);
 * ```
 */
export function stageStream<S extends StreamSource>(
  name: string,
  source: S | ((scope: StageScope) => S),
): MeasuredStream<S>;
/**
 * Measures a stream as a stage of the enclosing pipeline, with options.
 *
 * @typeParam S The type of the stream.
 * @param name The name of the stage, the label `stage_name`.
 * @param options The options.
 * @param source The stream, or a function that returns it.
 * @returns A stream of the same kind, or `null` for `null`.
 * @throws {TypeError} If the source is not a stream, or is locked, or if an option has
 * the wrong type.
 * @throws {RangeError} If `timeout` is `NaN`.
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
 * // Also records the time to the first token, as a stage of its own.
 * const answer = pipeline("chat", () =>
 *   stageStream("generate", { firstChunk: "first_token" }, tokens()));
 * assertEquals(await Array.fromAsync(answer), ["Hello, ", "Ada!"]);
 * ```
 */
export function stageStream<S extends StreamSource>(
  name: string,
  options: StreamOptions | undefined,
  source: S | ((scope: StageScope) => S),
): MeasuredStream<S>;
export function stageStream(
  name: string,
  ...rest: [source: unknown] | [options: unknown, source: unknown]
): unknown {
  return measureStream(name, ...rest);
}

/**
 * Records a run of a pipeline that was measured elsewhere.
 *
 * A negative duration and `NaN` are recorded as 0. `Infinity` is counted, but adds nothing
 * to the histogram's sum. An invalid record is the issue `invalid_value`; this function
 * does not throw.
 *
 * @param record The run.
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
  recorders.recordPipelineMetrics(record);
}

/**
 * Records a run of a stage that was measured elsewhere.
 *
 * The pipeline name and the lane default to the enclosing pipeline. A negative duration and
 * `NaN` are recorded as 0. `Infinity` is counted, but adds nothing to the histogram's
 * sum. An invalid record is the issue `invalid_value`.
 *
 * @param record The run.
 * @throws {Error} If there is neither a `pipelineName` nor an enclosing pipeline, and the
 * instance is `strict`.
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
  recorders.recordStageMetrics(record);
}

/**
 * Returns a Fetch handler that serves metrics, for `Deno.serve`, `Bun.serve` and Hono. For
 * `node:http`, Express and Fastify, use `nodeMetricsHandler` of
 * `@lukhas/stage-metrics/node`.
 *
 * It handles `GET` and `HEAD`. The format is OpenMetrics 1.0 for clients that prefer it,
 * and else the Prometheus text format 0.0.4. The response is compressed if the client
 * accepts gzip.
 *
 * A scrape waits for the collectors of foreign metrics for at most half of the scrape
 * timeout that Prometheus sends, in seconds, in the request header
 * `X-Prometheus-Scrape-Timeout-Seconds`. Without that header it waits for at most 5
 * seconds, and never for more than a minute. A metric whose collector takes longer or
 * fails is left out and counted as the issue `collector_error`. A slow collector is not
 * called again before its call has finished. The library's own metrics never wait for a
 * collector.
 *
 * A query such as `?name[]=http_requests_total&name[]=jobs` restricts the response to the
 * metrics of these names. The name of a sample, such as of a bucket, selects the whole
 * metric. The OpenMetrics name of a counter selects the metric whose name ends in `_total`.
 * Without `workers`, the collectors of other foreign metrics are not called, so a metric
 * that is set by the collector of another metric keeps its last value, unless it is one of
 * prom-client's default metrics.
 *
 * @typeParam A The types of the arguments that the server passes after the request.
 * @param options The options.
 * @returns The handler.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range.
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
  return createHandler(options);
}

/**
 * Shares the metrics of this worker thread with the threads that serve metrics with
 * `metricsHandler({ workers: true })`.
 *
 * Not needed in a thread that has such a handler itself.
 *
 * @example
 * ```ts
 * import { pipeline, shareMetrics } from "@lukhas/stage-metrics";
 *
 * // The module of a worker exports this function, or runs its body.
 * export function startWorker() {
 *   shareMetrics();
 *   addEventListener("message", () => pipeline("job", () => {}));
 * }
 * ```
 */
export function shareMetrics(): void {
  share();
}
