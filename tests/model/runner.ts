/**
 * Runs random programs.
 *
 * @module
 */
import { EventEmitter } from "node:events";
import { nextTick } from "node:process";
import { Readable } from "node:stream";
import { setImmediate } from "node:timers";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  currentPipeline,
  definePipeline,
  openPipeline,
  pipeline,
  type PipelineHandle,
  type PipelineScope,
  recordPipelineMetrics,
  recordStageMetrics,
  stage,
  type StageMetrics,
  type StageOptions,
  type StageScope,
  stageStream,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { samplesOf } from "../support/samples.ts";
import { DECLARED, ELSEWHERE, LANES, type Samples } from "./model.ts";
import type {
  CancelledBy,
  CancelledStep,
  End,
  Hanging,
  PipelineStep,
  Program,
  StageStep,
  Step,
  StreamStep,
  Via,
  Wait,
} from "./program.ts";
import { Queue } from "./queue.ts";

/** The observations of a run of a program. */
export interface Outcome {
  readonly samples: Samples;
  /** The number of observed signals that were aborted. */
  readonly abortedSignals: number;
  /** Unexpected values and errors that code or a consumer received. */
  readonly surprises: readonly string[];
  /** The number of recorded scopes that never ran. */
  readonly records: number;
}

/** Runs a program, all of its parts at once. */
export async function runProgram(program: Program): Promise<Outcome> {
  const options = { onIssue() {}, registry: new Registry(), lane: LANES[1] };
  const other = createStageMetrics(options);
  return await captureMetrics(
    { ...options, registry: new Registry(), lane: LANES[0] },
    async (own) => {
      const machine = new Machine([own, other]);
      await machine.run(program);
      const names = /_(total|count|in_progress)$|_unfinished_seconds$/;
      const { abortedSignals, surprises, records } = machine;
      return {
        samples: [await samplesOf(own, names), await samplesOf(other, names)],
        abortedSignals,
        surprises,
        records,
      };
    },
  );
}

/** Work for later, which runs in the async context in which it was created. */
type Work = () => Promise<void>;

/** The surroundings of the code that runs. */
interface Context {
  /** The scope of the innermost pipeline. */
  readonly scope: PipelineScope | PipelineHandle | undefined;
  /** The `bind` of the innermost scope. */
  readonly bind: PipelineScope["bind"] | undefined;
  /** The context in which the innermost pipeline started. */
  readonly outer: Context | undefined;
  /** Reads the streams that are read after the code of the pipeline. */
  readonly later: Queue<Work>;
  /** Runs at the end of the part of the program. */
  readonly atEnd: Queue<Work>;
  /** Releases the stages that are open until all of that has run. */
  readonly held: Work[];
}

class Machine {
  readonly surprises: string[] = [];
  abortedSignals = 0;
  records = 0;
  readonly #instances: readonly [StageMetrics, StageMetrics];
  readonly #declared: Readonly<
    Record<"0" | "1" | "imported", ReturnType<typeof definePipeline>>
  >;
  readonly #elsewhere: PipelineHandle;
  readonly #emitter = new EventEmitter();

  constructor(instances: readonly [StageMetrics, StageMetrics]) {
    this.#instances = instances;
    this.#elsewhere = openPipeline(ELSEWHERE);
    const { name, ...declaration } = DECLARED;
    this.#declared = {
      0: instances[0].definePipeline<string>(name, declaration),
      1: instances[1].definePipeline<string>(name, declaration),
      imported: definePipeline<string>(name, declaration),
    };
  }

  async run(program: Program): Promise<void> {
    await Promise.all(program.map(async (steps) => {
      const context: Context = {
        scope: undefined,
        bind: undefined,
        outer: undefined,
        later: new Queue(),
        atEnd: new Queue(),
        held: [],
      };
      await this.#runAlone(steps, context);
      await runAll(context.atEnd);
      for (const release of context.held) await release();
    }));
    this.#elsewhere.close();
  }

  /** Runs steps without catching their error, and reads their streams. */
  async #runAlone(steps: readonly Step[], context: Context): Promise<void> {
    await this.#run(steps, context).catch(() => {});
    await runAll(context.later);
  }

  async #run(steps: readonly Step[], context: Context): Promise<void> {
    for (const step of steps) await this.#runStep(step, context);
  }

  async #runStep(step: Step, context: Context): Promise<void> {
    switch (step.kind) {
      case "wait":
        return await wait(step.wait);
      case "stage":
        return await this.#runStage(step, context);
      case "pipeline":
        return await this.#runPipeline(step, context);
      case "stream":
        return await this.#startStream(step, context);
      case "cancelled":
        return await this.#runCancelled(step, context);
      case "branches": {
        const branches = step.branches.map((each) =>
          this.#run(each, fork(context))
        );
        await Promise.allSettled(branches);
        await Promise.all(branches);
        return;
      }
      case "side by side":
        return await this.#runSideBySide(step, context);
      case "record":
        return this.#record(step);
      case "listener":
        return this.#listen(step, context);
      case "shared":
        return await this.#share(step);
      case "detached":
        context.atEnd.push(
          work(() => this.#runAlone(step.body, alone(context))),
        );
        return;
    }
  }

  async #runStage(step: StageStep, context: Context): Promise<void> {
    const { name, how, returns, end, via, isCaught } = step;
    const ending = endingOf(end);
    const options: StageOptions = classifiersOf(step);
    const around = how === "outer scope" ? context.outer ?? context : context;
    const isOfScope = how === "scope" || how === "outer scope";
    const run = isOfScope && around.scope !== undefined
      ? around.scope.stage
      : this.#functions(via).stage;
    const code = (scope?: StageScope) => {
      if (step.outcome !== undefined) scope?.setOutcome(step.outcome);
      switch (returns) {
        case "value":
          return ending();
        case "lazy thenable":
          return this.#lazily(ending);
        case "promise": {
          const inside = { ...around, bind: scope?.bind ?? around.bind };
          return this.#run(step.body, inside).then(ending);
        }
      }
    };
    await this.#check(
      end,
      isCaught,
      () =>
        how === "wrapper"
          ? run(name, options)(() => code())()
          : run(name, options, code),
    );
  }

  async #runPipeline(step: PipelineStep, context: Context): Promise<void> {
    const { name, how, end, via, isCaught, outcome, lateOutcome } = step;
    const { lane, detached } = step;
    const ending = endingOf(end);
    const { pipeline: run, openPipeline: open } = this.#functions(via);
    const declared = this.#declared[via];
    const options = { lane, detached, ...classifiersOf(step) };
    const later: Context["later"] = new Queue();
    let own = undefined as PipelineScope | undefined;
    const code = async (scope: PipelineScope, handle?: PipelineHandle) => {
      own = scope;
      if (step.readsSignal && scope.signal.aborted) this.abortedSignals++;
      const inside: Context = {
        scope: handle ?? scope,
        bind: (handle ?? scope).bind,
        outer: context.scope && context,
        later,
        atEnd: context.atEnd,
        held: context.held,
      };
      await this.#run(step.body, inside);
      return ending();
    };
    const setOutcome = (scope: PipelineScope) => {
      if (outcome !== undefined) scope.setOutcome(outcome);
      return code(scope);
    };
    const runHandle = async (handle: PipelineHandle) => {
      try {
        const value = await handle.run((scope) => code(scope, handle));
        handle.close(outcome);
        return value;
      } catch (error) {
        handle.fail(error);
        throw error;
      }
    };
    const start = {
      "call": () => run(name, options, setOutcome),
      "wrapper": () =>
        run(name, options)(() => setOutcome(currentPipeline()!))(),
      "handle": () => runHandle(open(name, options)),
      "declared": () => declared.run(setOutcome),
      "declared handle": () => runHandle(declared.open()),
    }[how];
    try {
      await this.#check(end, isCaught, start);
    } finally {
      if (lateOutcome !== undefined) own?.setOutcome(lateOutcome);
      await runAll(later);
    }
  }

  /** Runs a scope, and checks the value or error that its caller gets. */
  async #check(
    end: End,
    isCaught: boolean,
    run: () => unknown,
  ): Promise<void> {
    try {
      const value = await run();
      if (value !== VALUE || end !== "return") {
        this.surprises.push(`returned ${String(value)} instead of "${end}"`);
      }
    } catch (error) {
      this.#checkError(error);
      if (!isCaught) throw error;
    }
  }

  #checkError(error: unknown): void {
    if (!ERRORS.has(error)) this.surprises.push(`threw ${String(error)}`);
  }

  /** Checks that the promise of a scope settles as its code does. */
  async #checkPromise(
    promise: Promise<unknown>,
    expected: unknown,
  ): Promise<void> {
    const settled = await promise.catch((error) => error);
    if (settled !== expected) {
      this.surprises.push(`got ${String(settled)} instead of ${expected}`);
    }
  }

  /** Checks the error that the caller of a cancelled scope gets. */
  async #checkCancelled(
    promise: Promise<unknown>,
    by: CancelledBy,
  ): Promise<void> {
    const error = await promise.then(() => "nothing", (error) => error);
    const isExpected = by === "deadline"
      ? error instanceof DOMException && error.name === "TimeoutError"
      : error === REASONS[by];
    if (!isExpected) this.surprises.push(`cancelled by ${String(error)}`);
  }

  /** Returns a thenable that starts its work when it is subscribed to, each time. */
  #lazily(ending: () => unknown): PromiseLike<unknown> {
    let times = 0;
    const { surprises } = this;
    return {
      then(onFulfilled, onRejected) {
        if (++times > 1) surprises.push("subscribed to a thenable twice");
        return Promise.resolve().then(ending).then(onFulfilled, onRejected);
      },
    };
  }

  async #startStream(step: StreamStep, context: Context): Promise<void> {
    const { name, via, how, isOpened, outcome, isSetLate, reads } = step;
    const run = () => this.#run(step.body, context);
    async function* generate(scope?: StageScope) {
      await run();
      for (let i = 0; i < step.chunks; i++) yield i;
      if (outcome !== undefined && isSetLate) scope?.setOutcome(outcome);
      if (step.fails) throw FAILURE;
    }
    const make = SOURCES[step.source];
    // Bun runs the source of a ReadableStream in the context that it was made in, so
    // without a pipeline it is made inside its stage.
    const isMadeInside = step.source === "readable" && !context.scope;
    const source = isOpened || isMadeInside
      ? (scope: StageScope) => {
        if (!isOpened) return make(generate());
        if (outcome !== undefined && !isSetLate) scope.setOutcome(outcome);
        return make(generate(scope));
      }
      : make(generate());
    const caller = new AbortController();
    const options = {
      firstChunk: step.firstChunk,
      signal: reads.startsWith("aborted") ? caller.signal : undefined,
    };
    const measure = how === "scope" && context.scope !== undefined
      ? context.scope.stageStream
      : this.#functions(via).stageStream;
    const stream: Source = measure(name, options, source);
    const read = async () => {
      await this.#read(stream, step, caller);
      // Lets the source clean up, too.
      await wait("immediate");
    };
    if (step.isRead === "at once") await read();
    else context.later.push(read);
  }

  async #read(
    stream: Source,
    { reads, chunks, fails }: StreamStep,
    caller: AbortController,
  ): Promise<void> {
    if (reads.startsWith("aborted")) {
      caller.abort(reads === "aborted" ? FAILURE : TIMEOUT);
    }
    const consumer = consume(stream);
    try {
      switch (reads) {
        case "to the end":
        case "aborted":
        case "aborted by a timeout": {
          let count = 0;
          for await (const _ of stream) count++;
          const isWhole = reads === "to the end" && count === chunks && !fails;
          if (!isWhole) this.surprises.push(`read the end after ${count}`);
          return;
        }
        case "one chunk":
          for await (const _ of stream) break;
          return;
        case "throws after a chunk":
          if (await consumer.read()) await consumer.throw(FAILURE);
          return;
        case "stops unread":
          return await consumer.stop();
        case "throws unread":
          return await consumer.throw(FAILURE);
        case "stops while reading":
          await Promise.all([consumer.read(), consumer.stop()]);
          return;
        case "throws while reading":
          await Promise.all([consumer.read(), consumer.throw(FAILURE)]);
          return;
      }
    } catch (error) {
      this.#checkError(error);
    }
  }

  async #runCancelled(step: CancelledStep, context: Context): Promise<void> {
    const { scope, name, by, before, inside, isLeft, afterwards } = step;
    const { options, cancel } = canceller(by);
    const hanging = new Hangup();
    const started = Promise.withResolvers<void>();
    const later: Context["later"] = new Queue();
    let code: Promise<void> | undefined;
    // A stage is cancelled by itself, a pipeline with everything in it.
    const hangingCancelledBy = scope === "pipeline" ? by : undefined;
    const hang = (own: Context) => {
      code = this.#run(before, own).catch(() => {}).then(async () => {
        for (const each of inside) {
          this.#hang(each, hanging, hangingCancelledBy);
        }
        started.resolve();
        await hanging.released;
        await hanging.ended();
        await this.#run(afterwards, isLeft ? left(own) : own);
      });
      return code;
    };
    // Nothing else reads the streams of code that continues at the end.
    const left = (own: Context): Context => ({ ...alone(own), later });
    const run = scope === "pipeline"
      ? pipeline(name, options, (own) =>
        hang({
          scope: own,
          bind: own.bind,
          outer: context.scope && context,
          later,
          atEnd: context.atEnd,
          held: context.held,
        }))
      : stage(name, options, ({ bind }) => hang({ ...context, bind }));
    run.catch(() => {});
    await started.promise;
    await wait("microtask");
    cancel();
    await this.#checkCancelled(run, by);
    const finish = async () => {
      hanging.release();
      await code?.catch(() => {});
      // Lets the sources of its streams clean up, too.
      await wait("immediate");
      await runAll(later);
    };
    if (isLeft) context.atEnd.push(finish);
    else await finish();
  }

  /** Starts a scope that does not end before it is released. */
  #hang(
    { kind, name, inside }: Hanging,
    hanging: Hangup,
    cancelledBy: CancelledBy | undefined,
  ): void {
    const hang = ({ signal }: PipelineScope | StageScope) => {
      for (const each of inside) this.#hang(each, hanging, cancelledBy);
      return hanging.released.then(() => {
        if (signal.aborted) this.abortedSignals++;
        return VALUE;
      });
    };
    switch (kind) {
      case "stage":
        hanging.add(this.#checkPromise(stage(name, hang), VALUE));
        break;
      case "pipeline":
        hanging.add(this.#checkPromise(pipeline(name, hang), VALUE));
        break;
      case "stream": {
        const reading = readToEnd(
          stageStream(name, endWith(hanging.released)),
        );
        hanging.add(
          cancelledBy === undefined
            ? this.#checkPromise(reading, undefined)
            : this.#checkCancelled(reading, cancelledBy),
        );
      }
    }
  }

  async #runSideBySide(
    { combinator, stages }: Step & { kind: "side by side" },
    context: Context,
  ): Promise<void> {
    const isHeld = combinator !== "all" &&
      !(combinator === "any" && stages[0]!.fails);
    const end = Promise.withResolvers<void>();
    const checks: Promise<void>[] = [];
    const promises = stages.map(({ name, wait: how, fails }, index) => {
      const promise = stage(name, async (scope) => {
        if (isHeld && index > 0) {
          await end.promise;
          // The signal is created only now.
          if (scope.signal.aborted) this.abortedSignals++;
        } else {
          await wait(how);
        }
        if (fails) throw FAILURE;
        return VALUE;
      });
      checks.push(this.#checkPromise(promise, fails ? FAILURE : VALUE));
      return promise;
    });
    await COMBINATORS[combinator](promises).catch(() => {});
    if (!isHeld) {
      await Promise.all(checks);
      return;
    }
    context.held.push(async () => {
      end.resolve();
      await Promise.all(checks);
    });
  }

  #record(step: Step & { kind: "record" }): void {
    const { of, name, pipelineName, via, outcome, lane } = step;
    const durationSec = 0.1;
    const record = this.#functions(via);
    this.records++;
    if (of === "pipeline") {
      const status = outcome;
      record.recordPipelineMetrics({
        pipelineName: name,
        durationSec,
        status,
        lane,
      });
    } else {
      record.recordStageMetrics({
        pipelineName,
        stageName: name,
        durationSec,
        outcome,
        lane,
      });
    }
  }

  #listen(
    { name, how, nested }: Step & { kind: "listener" },
    { scope, bind }: Context,
  ): void {
    const run = how === "scope" ? scope?.stage ?? stage : stage;
    const listener = () =>
      run(name, () => {
        if (nested !== undefined) stage(nested, () => {});
      });
    this.#emitter.once(
      "event",
      how === "bind" && bind !== undefined ? bind(listener) : listener,
    );
    this.#elsewhere.run(() => this.#emitter.emit("event"));
  }

  async #share(
    { names, stage: name, by }: Step & { kind: "shared" },
  ): Promise<void> {
    const { options, cancel } = canceller(by);
    const loading = Promise.withResolvers<unknown>();
    let loaded: Promise<unknown> | undefined;
    const load = () => loaded ??= stage(name, () => loading.promise);
    const first = pipeline(names[0], options, load);
    const second = pipeline(names[1], load);
    cancel();
    await this.#checkCancelled(first, by);
    loading.resolve(VALUE);
    await this.#checkPromise(second, VALUE);
  }

  #functions(via: Via): Functions {
    return via === "imported" ? IMPORTED : this.#instances[via];
  }
}

type Functions = Pick<
  StageMetrics,
  | "pipeline"
  | "openPipeline"
  | "stage"
  | "stageStream"
  | "recordPipelineMetrics"
  | "recordStageMetrics"
>;

const IMPORTED: Functions = {
  pipeline,
  openPipeline,
  stage,
  stageStream,
  recordPipelineMetrics,
  recordStageMetrics,
};

/** Promises that hang until they are released. */
class Hangup {
  readonly released: Promise<void>;
  readonly release: () => void;
  readonly #promises: Promise<void>[] = [];

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.released = promise;
    this.release = resolve;
  }

  add(promise: Promise<void>): void {
    this.#promises.push(promise);
  }

  async ended(): Promise<void> {
    await Promise.all(this.#promises);
  }
}

const COMBINATORS = {
  all: (promises: Promise<unknown>[]) => Promise.all(promises),
  race: (promises: Promise<unknown>[]) => Promise.race(promises),
  any: (promises: Promise<unknown>[]) => Promise.any(promises),
} as const;

const VALUE = { toString: () => "the value" };
const FAILURE = new Error("Failure");
const TIMEOUT = new DOMException("Timeout", "TimeoutError");
const ERRORS = new Set<unknown>([FAILURE, TIMEOUT, undefined]);

const REASONS = { "signal": FAILURE, "signal of a timeout": TIMEOUT } as const;

function endingOf(end: End): () => unknown {
  return () => {
    switch (end) {
      case "return":
        return VALUE;
      case "throw":
        throw FAILURE;
      case "throw nothing":
        throw undefined;
      case "throw a timeout":
        throw TIMEOUT;
    }
  };
}

function classifiersOf({ classified }: StageStep | PipelineStep) {
  if (classified === undefined) return {};
  const classify = () => classified;
  return { classifyError: classify, classifyResult: classify };
}

/** Returns the options of a scope, and a function that cancels it. */
function canceller(by: CancelledBy) {
  if (by === "deadline") return { options: { timeout: 1 }, cancel() {} };
  const caller = new AbortController();
  return {
    options: { signal: caller.signal },
    cancel: () => caller.abort(REASONS[by]),
  };
}

/** Returns the context of code that outlives the code around it. */
function alone(context: Context): Context {
  return { ...context, outer: undefined, later: new Queue() };
}

/** Returns the context of one of several branches. */
function fork(context: Context): Context {
  return {
    ...context,
    outer: context.outer && fork(context.outer),
    later: context.later.fork(),
    atEnd: context.atEnd.fork(),
  };
}

/** Returns work for later that runs a function in the current async context. */
function work(fn: () => Promise<void>): Work {
  const start = Promise.withResolvers<void>();
  const done = start.promise.then(fn);
  return () => {
    start.resolve();
    return done;
  };
}

/** Runs the work of a queue in order. Work may add more work. */
async function runAll(queue: Queue<Work>): Promise<void> {
  for (let each; (each = queue.shift()) !== undefined;) await each();
}

type Source = ReadableStream<number> | AsyncGenerator<number> | Readable;

const SOURCES: Readonly<
  Record<
    StreamStep["source"],
    (generator: AsyncGenerator<number>) => Source
  >
> = {
  iterable: (generator) => generator,
  readable: toReadable,
  node: toNodeReadable,
};

/** Creates a stream that, unlike `ReadableStream.from()`, does nothing until it is read. */
function toReadable<T>(source: AsyncGenerator<T>): ReadableStream<T> {
  return new ReadableStream<T>({
    async pull(controller) {
      const { done, value } = await source.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    async cancel() {
      await source.return(undefined);
    },
  }, { highWaterMark: 0 });
}

/** Creates a stream that, unlike `Readable.from()`, does not read ahead. */
function toNodeReadable(source: AsyncGenerator<number>): Readable {
  return new Readable({
    objectMode: true,
    highWaterMark: 0,
    read() {
      source.next().then(
        ({ done, value }) => this.push(done ? null : value),
        // Without an error, the stream would only be closed.
        (error) => this.destroy(error ?? FAILURE),
      );
    },
    destroy(error, callback) {
      source.return(undefined).then(() => callback(error));
    },
  });
}

/** A consumer that reads a stream by hand, and stops it. */
interface Consumer {
  /** Returns whether there was a chunk. */
  read(): Promise<boolean>;
  stop(): Promise<void>;
  throw(error: Error): Promise<void>;
}

function consume(stream: Source): Consumer {
  if (stream instanceof ReadableStream) {
    let reader: ReadableStreamDefaultReader<number> | undefined;
    const lock = () => reader ??= stream.getReader();
    return {
      read: async () => !(await lock().read()).done,
      stop: () => lock().cancel(),
      throw: (error) => lock().cancel(error),
    };
  }
  if (stream instanceof Readable) {
    stream.on("error", () => {});
    return {
      read: () =>
        new Promise((resolve) => {
          if (stream.destroyed) return resolve(false);
          stream.once("readable", () => resolve(stream.read() !== null));
          stream.once("close", () => resolve(false));
        }),
      stop: () => Promise.resolve(void stream.destroy()),
      throw: (error) => Promise.resolve(void stream.destroy(error)),
    };
  }
  return {
    read: async () => !(await stream.next()).done,
    stop: async () => void await stream.return(undefined),
    throw: async (error) => {
      await stream.throw(error);
      throw new Error("The error was not rethrown");
    },
  };
}

function endWith(promise: Promise<void>): AsyncIterable<never> {
  const next = async () => {
    await promise;
    return { done: true, value: undefined } as const;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

async function readToEnd(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream) { /* Only its end is of interest. */ }
}

function wait(how: Wait): Promise<void> {
  return new Promise((resolve) => {
    switch (how) {
      case "none":
        return resolve();
      case "microtask":
        return queueMicrotask(resolve);
      case "tick":
        return nextTick(resolve);
      case "immediate":
        return setImmediate(resolve);
      case "timer":
        return setTimeout(resolve, 0);
      case "event": {
        const target = new EventTarget();
        target.addEventListener("event", () => resolve(), { once: true });
        target.dispatchEvent(new Event("event"));
        return;
      }
      case "thenable": {
        const foreign = { then: (onFulfilled: () => void) => onFulfilled() };
        return resolve(foreign as unknown as Promise<void>);
      }
    }
  });
}
