/** Uses all exports of the package. */
import {
  classifyError,
  configure,
  createStageMetrics,
  currentPipeline,
  definePipeline,
  type Issue,
  type IssueReport,
  metricsHandler,
  type MetricsRegistry,
  openPipeline,
  type Outcome,
  pipeline,
  PIPELINE_BUCKETS,
  type PipelineHandle,
  type PipelineOptions,
  type PipelineScope,
  recordPipelineMetrics,
  recordStageMetrics,
  shareMetrics,
  stage,
  STAGE_BUCKETS,
  type StageMetrics,
  type StageMetricsOptions,
  type StageOptions,
  type StageScope,
  stageStream,
  type TracerProvider,
} from "@lukhas/stage-metrics";
import {
  nodeMetricsHandler,
  type NodeRequest,
  type NodeResponse,
} from "@lukhas/stage-metrics/node";
import {
  captureMetrics,
  manualClock,
  sampleValue,
} from "@lukhas/stage-metrics/testing";
import { Counter, Registry } from "prom-client";

// The annotations check the inferred types. A lost type would be `any`.
const sync: number = pipeline("p", (scope: PipelineScope) => scope.lane.length);
const async: Promise<number> = stage("s", () => Promise.resolve(sync));
// @ts-expect-error: a promise is not a number
const lost: number = stage("s", () => Promise.resolve(sync));

const pipelineOptions: PipelineOptions = { lane: "batch", timeout: 250 };
const stageOptions: StageOptions = {
  classifyError: (error: unknown): Outcome => classifyError(error),
};
const wrapped = pipeline("p", pipelineOptions)((a: string, b = 1) => a + b);
const answer: string = wrapped("a", 2);
// @ts-expect-error: not a string
wrapped(1);

const declared = definePipeline("p", { stages: { intent: {}, decide: {} } });
const ran: Promise<string> = declared.run(async (scope) => {
  // @ts-expect-error: misspelt
  scope.stage("intnet", () => {});
  return await scope.stage("intent", () => Promise.resolve(answer));
});
// @ts-expect-error: misspelt
declared.stage("decied", () => {});

// Decorators, the standard ones and, in some setups, `experimentalDecorators`.
const symbol = Symbol("method");

class Service {
  @stage("s", stageOptions)
  find<T>(value: T): Promise<T> {
    return Promise.resolve(value);
  }

  @stage("s")
  static count(this: typeof Service, by: number): number {
    return by;
  }

  @pipeline("p")
  [symbol](): void {}

  // @ts-expect-error: the method would return a promise
  @stage("s")
  query(): LazyQuery {
    return lazyQuery;
  }

  // @ts-expect-error: a field is not a method
  @stage("s")
  field = () => 1;

  // @ts-expect-error: an accessor is not a method
  @stage("s")
  get accessor(): number {
    return 1;
  }
}
const found: Promise<string> = new Service().find(answer);
Service.count(1) satisfies number;
new Service()[symbol]() satisfies void;

// @ts-expect-error: a class is not a method
@stage("s")
class Decorated {}

// A wrapped thenable loses its own methods.
interface LazyQuery extends PromiseLike<string> {
  where(condition: string): LazyQuery;
}
declare const lazyQuery: LazyQuery;
const query = stage("s")((_id: string) => lazyQuery);
const rows: Promise<string> = query("1");
// @ts-expect-error: a promise has no such method
query("1").where("x");
const lazyLoad = stage("s")(<T>(_value: T): PromiseLike<T> => never);
const loaded: Promise<number> = lazyLoad(1);
declare const never: never;
declare const debounce: { (text: string): LazyQuery; cancel(): void };
stage("s")(debounce).cancel();

const handle: PipelineHandle = openPipeline("p");
handle.run(() => stage("s", ({ signal }: StageScope) => signal.aborted));
handle.fail(new Error("No"));
handle.close("success");

async function* generate() {
  yield await ran;
}
const iterable: AsyncIterable<string> = stageStream("s", generate());
const response = new Response(stageStream("s", new Response("x").body));
// @ts-expect-error: not a stream
stageStream("s", [1]);

recordPipelineMetrics({ pipelineName: "p", durationSec: 1, status: "error" });
recordStageMetrics({ stageName: "s", durationSec: 1, outcome: "timeout" });
const lane: string | undefined = currentPipeline()?.lane;

const registry = new Registry();
new Counter({ name: "c", help: "Help", registers: [registry] }).inc();
const options: StageMetricsOptions = {
  registry,
  prefix: "billing_",
  pipelineBuckets: [...PIPELINE_BUCKETS],
  stageBuckets: [...STAGE_BUCKETS],
  onIssue: (report: IssueReport) => console.log(report.issue satisfies Issue),
  clock: manualClock(),
  tracing: false,
};
const provider: TracerProvider = { getTracer: (name: string) => ({ name }) };
createStageMetrics({ registry: new Registry(), tracing: provider });
// @ts-expect-error: not a provider
configure({ tracing: true });
configure({ lane: "batch" });
const metrics: StageMetrics = createStageMetrics(options);
const given: MetricsRegistry = metrics.registry;

const handler: (request: Request) => Promise<Response> = metricsHandler({
  registry: [registry, given],
});

const ofAll: (request: Request) => Promise<Response> = metricsHandler({
  workers: { timeout: 100 },
});
const listener: (request: NodeRequest, response: NodeResponse) => void =
  nodeMetricsHandler({ workers: true });
shareMetrics();

const value: Promise<number | undefined> = captureMetrics(
  ({ registry }) => sampleValue(registry, "c", { lane: "batch" }),
);

export {
  async,
  Decorated,
  found,
  handler,
  iterable,
  lane,
  listener,
  loaded,
  lost,
  ofAll,
  response,
  rows,
  value,
};
