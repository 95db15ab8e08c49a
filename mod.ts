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
export type { BindMethods } from "./src/bind.ts";
export { PIPELINE_BUCKETS, STAGE_BUCKETS } from "./src/buckets.ts";
export type {
  MethodContext,
  ScopeWrapper,
  WrappedFunction,
} from "./src/calling.ts";
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
} from "./src/default.ts";
export type {
  DeclaredPipeline,
  DefineMethods,
  PipelineDeclaration,
} from "./src/define.ts";
export type { HandlerMethods, MetricsHandlerOptions } from "./src/handler.ts";
export type { StageMetricsOptions } from "./src/instance.ts";
export type { Issue, IssueReport } from "./src/issues.ts";
export {
  createStageMetrics,
  type Methods,
  type StageMetrics,
} from "./src/metrics.ts";
export type {
  DisposableIfKnown,
  OpenMethods,
  PipelineHandle,
} from "./src/open.ts";
export {
  classifyError,
  type ErrorClassifier,
  type Outcome,
  type ResultClassifier,
} from "./src/outcome.ts";
export {
  currentPipeline,
  type PipelineMethods,
  type PipelineOptions,
  type PipelineScope,
} from "./src/pipeline.ts";
export type {
  PipelineRecord,
  RecordMethods,
  StageRecord,
} from "./src/record.ts";
export type { MetricsRegistry } from "./src/registry.ts";
export type { ScopeOptions } from "./src/scope.ts";
export type { ShareMethods } from "./src/share.ts";
export type { StageMethods, StageOptions, StageScope } from "./src/stage.ts";
export type {
  MeasuredStream,
  NodeReadable,
  StreamMethods,
  StreamOptions,
  StreamSource,
} from "./src/stream.ts";
export type { TracerProvider } from "./src/tracing.ts";
