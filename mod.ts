/**
 * Prometheus metrics for multi-stage pipelines, such as the steps of a request, a job or
 * an import.
 *
 * `pipeline()` stores its name and lane in the async context. Every `stage()` inside it
 * reads them, so no labels are passed around. When a pipeline or stage ends, its duration
 * and outcome are recorded. `metricsHandler()` serves the metrics.
 *
 * ## Concepts
 *
 * - **Pipeline**: a unit of work that is measured as a whole, such as `"checkout"`. Its
 *   name is the label `pipeline_name`.
 * - **Stage**: a named step of a pipeline. Stages may run one after another, in parallel or
 *   inside each other. Their name is the label `stage_name`.
 * - **Lane**: the label `lane`. It separates traffic or deployments that dashboards and
 *   alerts compare or treat differently, such as `production`, `canary` and `batch`. It is
 *   the option `lane` of the pipeline, or else the lane of the enclosing pipeline, the
 *   option of the instance, the environment variable `LUKHAS_LANE`, or `production`.
 * - **Outcome**: `success`, `failure` or `timeout`. An error is classified by
 *   `classifyError`, a result by the option `classifyResult`. The outcome is the
 *   label `outcome` of a stage and the label `status` of a pipeline.
 * - **Scope**: one run of a pipeline or stage, and the object that its function gets, with
 *   `signal` and `setOutcome`. Its option `timeout` ends it after that many milliseconds,
 *   even if the work is still running. `timeout: 0` ends it at the next turn of the event
 *   loop; without the option there is no limit.
 *
 * Take names and lanes from a fixed set: for each lane and pipeline, a stage has 17 series
 * while it succeeds, and up to 43 once every outcome has occurred.
 *
 * ## Metrics
 *
 * | Name                                              | Type      | Labels                                           |
 * | ------------------------------------------------- | --------- | ------------------------------------------------ |
 * | `lukhas_orchestration_pipeline_duration_seconds`  | histogram | `lane`, `pipeline_name`, `status`                |
 * | `lukhas_orchestration_pipeline_total`             | counter   | `lane`, `pipeline_name`, `status`                |
 * | `lukhas_orchestration_stage_duration_seconds`     | histogram | `lane`, `pipeline_name`, `stage_name`, `outcome` |
 * | `lukhas_orchestration_stage_total`                | counter   | `lane`, `pipeline_name`, `stage_name`, `outcome` |
 *
 * Further metrics show the running and the cancelled scopes, the time of the last run, and
 * the issues of the instrumentation itself. The README lists all of them.
 *
 * The default prefix `lukhas_orchestration_` comes from an existing Python fleet: services in
 * both languages share dashboards and alerts. The option `prefix` of
 * `configure` or `createStageMetrics` replaces it.
 *
 * ## Streams
 *
 * `stage()` measures a call. `stageStream` measures a stream from start to end: a
 * `ReadableStream`, an async iterable, an async generator or a `Readable` of Node.js.
 *
 * ## Supported versions
 *
 * Deno 2, Node.js 20 or later and Bun 1.4, with prom-client 14 or 15, or its successor
 * `@prometheus-io/client`.
 *
 * @example
 * ```ts
 * import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals, assertStringIncludes } from "@std/assert";
 *
 * const handler = metricsHandler({
 *   next: (request) =>
 *     pipeline("greeting", async () => {
 *       const name = await stage("read", () => request.text());
 *       return stage("write", () => new Response(`Hello, ${name}!`));
 *     }),
 * });
 * // Deno.serve(handler);
 *
 * const response = await handler(
 *   new Request("http://localhost/", { method: "POST", body: "Ada" }),
 * );
 * assertEquals(await response.text(), "Hello, Ada!");
 *
 * const metrics = await handler(new Request("http://localhost/metrics"));
 * assertStringIncludes(
 *   await metrics.text(),
 *   'lukhas_orchestration_stage_total{lane="production",pipeline_name="greeting",stage_name="read",outcome="success"} 1',
 * );
 * ```
 *
 * @module
 */
export {
  classifyError,
  type ErrorClassifier,
  type Outcome,
  type ResultClassifier,
} from "./src/common/outcome.ts";
export type { Issue, IssueReport } from "./src/common/issues.ts";
export {
  configure,
  definePipeline,
  metricsHandler,
  openPipeline,
  pipeline,
  recordPipelineMetrics,
  recordStageMetrics,
  shareMetrics,
  stage,
  stageStream,
} from "./src/functions.ts";
export type { MetricsHandlerOptions } from "./src/http/handler.ts";
export type { StageMetricsOptions } from "./src/instances/stage_metrics_options.ts";
export type {
  DeclaredPipeline,
  PipelineDeclaration,
} from "./src/pipelines/declared_pipeline.ts";
export {
  currentPipeline,
  type PipelineOptions,
  type PipelineScope,
} from "./src/pipelines/pipeline.ts";
export type {
  DisposableIfKnown,
  PipelineHandle,
} from "./src/pipelines/pipeline_handle.ts";
export type { PipelineRecord, StageRecord } from "./src/pipelines/recorders.ts";
export type {
  StageOptions,
  StageRunner,
  StageScope,
} from "./src/pipelines/stage.ts";
export type {
  MeasuredStream,
  NodeReadable,
  StreamOptions,
  StreamSource,
} from "./src/pipelines/stage_stream.ts";
export { PIPELINE_BUCKETS, STAGE_BUCKETS } from "./src/registry/buckets.ts";
export type { MetricsRegistry } from "./src/registry/registry.ts";
export type {
  MethodContext,
  ScopeWrapper,
  WrappedFunction,
} from "./src/scopes/overloads.ts";
export type { ScopeOptions } from "./src/scopes/options.ts";
export { createStageMetrics, type StageMetrics } from "./src/stage_metrics.ts";
export type { TracerProvider } from "./src/tracing/tracer.ts";
