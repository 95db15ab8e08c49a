/**
 * Prometheus metrics for multi-stage pipelines.
 *
 * `pipeline()` keeps its name and lane in the async context, every `stage()` inside
 * of it picks them up, and the end of each records how it ended and how long it
 * took. `metricsHandler()` serves it all.
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
export type { StageMetricsOptions } from "./src/instances/instance.ts";
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
