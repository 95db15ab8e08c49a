/**
 * Tests the types: by code that compiles, and by `@ts-expect-error` above code that must
 * not compile.
 *
 * @module
 */
import { Registry as SuccessorRegistry } from "@prometheus-io/client";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  definePipeline,
  metricsHandler,
  type MetricsRegistry,
  openPipeline,
  pipeline,
  type PipelineHandle,
  type PipelineOptions,
  type PipelineScope,
  recordPipelineMetrics,
  recordStageMetrics,
  stage,
  type StageMetrics,
  type StageMetricsOptions,
  type StageOptions,
  type StageScope,
  stageStream,
} from "../mod.ts";
import { captureMetrics } from "../src/testing.ts";

/** Whether two types are identical. `any` is identical only to `any`. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

function same<A, B>(_: Same<A, B>): void {}

/** A query that runs when it is awaited, as in Knex, Drizzle and Prisma. */
interface LazyQuery<T> extends PromiseLike<T> {
  where(condition: string): LazyQuery<T>;
}

/** A promise with additional methods, as in the package "openai". */
interface ApiPromise<T> extends Promise<T> {
  asResponse(): Promise<Response>;
}

interface CreateCompletion {
  (body: { stream: true }): ApiPromise<string[]>;
  (body: { stream: false }): ApiPromise<string>;
}

interface MixedOverloads {
  (id: string): LazyQuery<string>;
  (id: number): number;
}

interface PromiseOverloads {
  (id: string): Promise<string>;
  <T>(id: T[]): Promise<T>;
}

interface Debounced<R> {
  (text: string): R;
  cancel(): void;
}

declare const anything: unknown;

/** Compiled, but never called. */
function _types(): void {
  const lazy = anything as LazyQuery<string[]>;

  // A sync function stays sync, an async function returns a native promise.
  const sync = stage("s", () => 1);
  same<typeof sync, number>(true);
  const async = stage("s", () => Promise.resolve(1));
  same<typeof async, Promise<number>>(true);
  const thenable = pipeline("p", () => lazy.where("x"));
  same<typeof thenable, Promise<string[]>>(true);
  const either = stage("s", () => anything as number | Promise<number>);
  same<typeof either, number | Promise<number>>(true);
  const nothing = pipeline("p", { lane: "batch" }, () => {});
  same<typeof nothing, void>(true);
  const untyped = pipeline("p", {}, async () => await anything as string);
  same<typeof untyped, Promise<string>>(true);

  // `any` stays `any`.
  // deno-lint-ignore no-explicit-any
  const any = stage("s", () => anything as any);
  // deno-lint-ignore no-explicit-any
  same<typeof any, any>(true);

  // Inside generic functions the type is that of the callback.
  function generic<T>(fn: () => T): T {
    return stage("s", fn);
  }
  function genericAsync<T>(fn: () => Promise<T>): Promise<T> {
    return pipeline("p", undefined, fn);
  }
  same<ReturnType<typeof generic<string>>, string>(true);
  same<ReturnType<typeof genericAsync<string>>, Promise<string>>(true);

  // A wrapper keeps the type of the function: generics, overloads, `this` and `any`.
  const identity = stage("s")(<T>(value: T, times?: number) =>
    [value, times] as const
  );
  same<
    typeof identity,
    <T>(value: T, times?: number) => readonly [T, number | undefined]
  >(true);
  function overloaded(value: string): string;
  function overloaded(value: number): number;
  function overloaded(value: string | number): string | number {
    return value;
  }
  const wrapped = pipeline("p", { lane: "batch" })(overloaded);
  same<typeof wrapped, typeof overloaded>(true);
  const withThis = stage("s")(function (this: Date, by: number) {
    return this.getTime() + by;
  });
  same<typeof withThis, (this: Date, by: number) => number>(true);
  // deno-lint-ignore no-explicit-any
  const anyWrapped = stage("s")(anything as (...args: any[]) => any);
  // deno-lint-ignore no-explicit-any
  same<typeof anyWrapped, (...args: any[]) => any>(true);
  // @ts-expect-error: a number is not a function
  stage("s")(1);
  // @ts-expect-error: a class cannot be called
  stage("s")(class {});

  // A thenable becomes a native promise, without the methods of the thenable.
  const lazyString = anything as LazyQuery<string>;
  const query = stage("s")((_id: string, _limit?: number) => lazy);
  same<Parameters<typeof query>, [_id: string, _limit?: number | undefined]>(
    true,
  );
  same<ReturnType<typeof query>, Promise<string[]>>(true);
  // @ts-expect-error: a promise has no such method
  query("1").where("x");
  const request = pipeline("p")(anything as CreateCompletion);
  same<ReturnType<typeof request>, Promise<string>>(true);
  request({ stream: true }) satisfies Promise<string[]>;
  request({ stream: false }) satisfies Promise<string>;
  // @ts-expect-error: a promise has no such method
  request({ stream: true }).asResponse();
  const genericQuery = stage("s")(<T>(_value: T) => anything as LazyQuery<T>);
  genericQuery(1) satisfies Promise<number>;
  // @ts-expect-error: the type of the value stays
  genericQuery(1) satisfies Promise<string>;
  const optional = stage("s")(() => anything as LazyQuery<string> | undefined);
  same<ReturnType<typeof optional>, Promise<string> | undefined>(true);
  const promiseLike = stage("s")(() => anything as PromiseLike<string>);
  same<ReturnType<typeof promiseLike>, Promise<string>>(true);
  const bound = stage("s")(function (this: Date) {
    return this && lazyString;
  });
  same<ThisParameterType<typeof bound>, Date>(true);
  same<ReturnType<typeof bound>, Promise<string>>(true);
  const mixed = stage("s")(anything as MixedOverloads);
  mixed("x") satisfies Promise<string>;
  mixed(1) satisfies number;
  // @ts-expect-error: a promise has no such method
  mixed("x").where("x");

  // Properties stay, even if the type of the value changes.
  const debounced = stage("s")(anything as Debounced<Promise<string>>);
  same<typeof debounced, Debounced<Promise<string>>>(true);
  const debouncedQuery = stage("s")(anything as Debounced<LazyQuery<string>>);
  same<ReturnType<typeof debouncedQuery>, Promise<string>>(true);
  debouncedQuery.cancel() satisfies void;

  // Generic and overloaded functions that return promises keep their types.
  const load = stage("s")(<T>(value: T): Promise<T> => Promise.resolve(value));
  same<typeof load, <T>(value: T) => Promise<T>>(true);
  const overloads = stage("s")(anything as PromiseOverloads);
  same<typeof overloads, PromiseOverloads>(true);
  const parse = stage("s")(Number);
  same<typeof parse, NumberConstructor>(true);

  // Generic helpers of users can wrap their arguments.
  function measured<A extends unknown[], R>(fn: (...args: A) => R) {
    return stage("s")(fn);
  }
  same<ReturnType<typeof measured<[string], number>>, (a: string) => number>(
    true,
  );
  function measuredSame<F extends (...args: never[]) => unknown>(fn: F): F {
    return stage("s")(fn);
  }
  same<ReturnType<typeof measuredSame<typeof overloaded>>, typeof overloaded>(
    true,
  );

  // The form of `experimentalDecorators`, which the npm tests compile.
  const descriptor = anything as TypedPropertyDescriptor<(n: number) => string>;
  const changed = stage("s")({}, "method", descriptor);
  same<typeof changed, typeof descriptor>(true);
  stage("s")({}, Symbol("method"), descriptor);
  // @ts-expect-error: a field has no descriptor
  stage("s")({}, "field");
  const accessor = anything as TypedPropertyDescriptor<number>;
  // @ts-expect-error: an accessor is not a method
  stage("s")({}, "accessor", accessor);
  const lazyMethod = anything as TypedPropertyDescriptor<
    () => LazyQuery<string>
  >;
  // @ts-expect-error: the method would return a promise
  stage("s")({}, "find", lazyMethod);

  // A decorator keeps the type of the method, including generics and `this`.
  class Service {
    @pipeline("p")
    async run<T>(this: Service, value: T): Promise<T> {
      return await Promise.resolve(value);
    }

    @stage("s", {
      classifyResult: (n: number) => n > 0 ? "success" : "failure",
    })
    static count(): number {
      return 1;
    }

    // @ts-expect-error: a field is not a method
    @stage("s")
    field = 1;

    // @ts-expect-error: a getter is not a method
    @stage("s")
    get getter(): number {
      return 1;
    }

    // @ts-expect-error: the method would return a promise
    @stage("s")
    find(): LazyQuery<string> {
      return lazyString;
    }
  }
  same<ReturnType<typeof Service.count>, number>(true);
  same<
    typeof Service.prototype.run,
    <T>(this: Service, value: T) => Promise<T>
  >(
    true,
  );

  // With `exactOptionalPropertyTypes`, callers may pass values that may be undefined.
  const maybe = anything as string | undefined;
  const maybeNumber = anything as number | undefined;
  const undefineds: StageOptions = {
    timeout: undefined,
    signal: undefined,
    classifyError: undefined,
    classifyResult: undefined,
  };
  const options: PipelineOptions = { lane: maybe, ...undefineds };
  const instanceOptions: StageMetricsOptions = {
    registry: undefined,
    prefix: undefined,
    lane: maybe,
    pipelineBuckets: undefined,
    stageBuckets: undefined,
    onIssue: undefined,
    clock: undefined,
    ...undefineds,
  };
  pipeline("p", options, () => stage("s", undefineds, () => {}));
  createStageMetrics(instanceOptions);
  metricsHandler({
    registry: undefined,
    path: maybe,
    next: undefined,
    token: maybe,
  });
  recordPipelineMetrics({
    pipelineName: "p",
    durationSec: 1,
    status: "success",
    lane: maybe,
  });
  recordStageMetrics({
    stageName: "s",
    durationSec: 1,
    outcome: "error",
    lane: maybe,
    pipelineName: maybe,
  });
  // @ts-expect-error: a status is one of four
  recordPipelineMetrics({ pipelineName: "p", durationSec: 1, status: "ok" });
  // @ts-expect-error: a stage has no lane of its own
  stage("s", { lane: "batch" }, () => {});

  // Classifiers may narrow the type of their value.
  stage("s", {
    classifyError: (error) => error === "late" ? "timeout" : undefined,
    classifyResult: (response: Response) => response.ok ? undefined : "failure",
  }, () => fetch("http://localhost/"));
  // @ts-expect-error: an outcome is one of three
  stage("s", { classifyResult: () => "unknown" }, () => {});

  // The functions, instances and scopes declare the same overloads.
  same<StageMetrics["pipeline"], typeof pipeline>(true);
  same<StageMetrics["stage"], typeof stage>(true);
  same<StageMetrics["stageStream"], typeof stageStream>(true);
  same<PipelineScope["stage"], typeof stage>(true);
  same<PipelineScope["stageStream"], typeof stageStream>(true);
  same<PipelineHandle["stageStream"], typeof stageStream>(true);
  same<StageMetrics["metricsHandler"], typeof metricsHandler>(true);
  same<StageMetrics["definePipeline"], typeof definePipeline>(true);
  same<StageMetrics["openPipeline"], typeof openPipeline>(true);

  // The types of scopes and of their stages.
  pipeline("p", (scope) => {
    same<typeof scope, PipelineScope>(true);
    const nested = scope.stage("s", (scope) => {
      same<typeof scope, StageScope>(true);
      return scope.lane;
    });
    same<typeof nested, string>(true);
    // @ts-expect-error: an outcome is one of three
    scope.setOutcome("error");
    // @ts-expect-error: a scope's labels are fixed
    scope.lane = "batch";
  });

  // A declared pipeline restricts the names of its stages.
  const declared = definePipeline("p", {
    timeout: 250,
    stages: { intent: { timeout: 50 }, decision: {} },
  });
  const ran = declared.run(async (scope) => {
    same<typeof scope, PipelineScope<"intent" | "decision">>(true);
    needsScope(scope);
    // @ts-expect-error: misspelt
    scope.stage("intnet", () => {});
    return await declared.stage("decision", () => Promise.resolve(1));
  });
  same<typeof ran, Promise<number>>(true);
  const ranSync = declared.run(({ stage }) => stage("intent", () => "x"));
  same<typeof ranSync, string>(true);
  // @ts-expect-error: misspelt
  declared.stage("descision", () => {});
  const handle = declared.open();
  // @ts-expect-error: misspelt
  handle.stage("descision", () => {});
  // @ts-expect-error: misspelt
  handle.stageStream("descision", null);
  needsHandle(handle);
  needsHandle(openPipeline("p", { timeout: undefined }));
  openPipeline("p") satisfies Disposable;
  function needsScope(_: PipelineScope): void {}
  function needsHandle(_: PipelineHandle): void {}
  // @ts-expect-error: the options of a stage
  definePipeline("p", { stages: { intent: { timeout: "50" } } });

  // A stream keeps its kind, and null stays null.
  async function* generate() {
    yield await Promise.resolve(1);
  }
  const iterable = stageStream("s", generate());
  same<typeof iterable, AsyncGenerator<number, void, unknown>>(true);
  const readable = stageStream("s", anything as ReadableStream<string>);
  same<typeof readable, ReadableStream<string>>(true);
  const empty = stageStream("s", { firstChunk: "first" }, null);
  same<typeof empty, null>(true);
  new Response(stageStream("s", new Response("text").body));
  const body = stageStream("s", { timeout: maybeNumber }, new Response().body);
  same<typeof body, Response["body"]>(true);
  // @ts-expect-error: not a stream
  stageStream("s", [1]);

  // Registries of both clients, and arguments that the server passes to `next`.
  const registries: MetricsRegistry[] = [
    new Registry(),
    new SuccessorRegistry(),
  ];
  const handler = metricsHandler({
    registry: registries,
    next: (_request, info: Deno.ServeHandlerInfo) =>
      new Response(info.remoteAddr.transport),
  });
  same<
    typeof handler,
    (request: Request, info: Deno.ServeHandlerInfo) => Promise<Response>
  >(true);
  Deno.serve(handler);
  Deno.serve(metricsHandler());
  Deno.serve(pipeline("p")((_request: Request) => new Response()));

  const captured = captureMetrics({ lane: "test" }, ({ registry }) => registry);
  same<typeof captured, MetricsRegistry>(true);
}
