/**
 * Runs programs, with all that makes a thread of code hard to follow.
 *
 * @module
 */
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
  type StageMethods,
  type StageMetrics,
  type StageOptions,
  type StageScope,
  stageStream,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { samplesOf } from "../samples.ts";
import type {
  End,
  EndedStep,
  Hanging,
  PipelineStep,
  Program,
  StageStep,
  Step,
  StreamStep,
  Wait,
} from "./language.ts";
import { DECLARED, ELSEWHERE, LANES, type Samples } from "./model.ts";
import { Registry } from "prom-client";
import { EventEmitter } from "node:events";
import { nextTick } from "node:process";
import { setImmediate } from "node:timers";

/** What has been recorded, and what the callers got that they should not have. */
export interface Outcome {
  readonly samples: Samples;
  readonly surprises: readonly string[];
  /** How many scopes were recorded that never ran. */
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
      return {
        samples: [await samplesOf(own, names), await samplesOf(other, names)],
        surprises: machine.surprises,
        records: machine.records,
      };
    },
  );
}

/** What the code that runs now has at hand. */
interface Context {
  /** The `stage` of the pipeline's scope, where there is one. */
  readonly stage: StageMethods["stage"] | undefined;
  /** Reads the streams that are read when the code around has ended. */
  readonly later: (() => Promise<void>)[];
  /** Is fulfilled when all has ended. */
  readonly end: Promise<void>;
}

class Machine {
  readonly surprises: string[] = [];
  records = 0;
  readonly #instances: readonly [StageMetrics, StageMetrics];
  readonly #declared: Readonly<
    Record<"0" | "1" | "imported", ReturnType<typeof definePipeline>>
  >;
  readonly #elsewhere: PipelineHandle;
  readonly #emitter = new EventEmitter();
  /** What nobody waits for. */
  readonly #pending: Promise<unknown>[] = [];

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
    await Promise.all(
      program.map((steps) => this.#runAlone(steps, { stage: undefined })),
    );
    // What is pending may leave more behind.
    for (let each; (each = this.#pending.shift()) !== undefined;) {
      await each.catch(() => {});
    }
    this.#elsewhere.close();
  }

  /** Runs steps that nothing outside waits for, nor catches what they throw. */
  async #runAlone(
    steps: readonly Step[],
    { stage }: Pick<Context, "stage">,
  ): Promise<void> {
    let endAll!: () => void;
    const end = new Promise<void>((resolve) => endAll = resolve);
    const context: Context = { stage, later: [], end };
    await this.#run(steps, context).catch(() => {});
    await readAll(context.later);
    endAll();
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
      case "ended":
        return await this.#runEnded(step, context);
      case "branches": {
        const settled = await Promise.allSettled(
          step.branches.map((each) => this.#run(each, context)),
        );
        const failed = settled.find(({ status }) => status === "rejected");
        if (failed !== undefined) {
          throw (failed as PromiseRejectedResult).reason;
        }
        return;
      }
      case "side by side": {
        const stages = step.stages.map(({ name, wait: how, fails }) =>
          stage(name, async () => {
            await wait(how);
            if (fails) throw new Error("Fails");
          })
        );
        for (const each of stages) this.#leave(each);
        await COMBINATORS[step.combinator](stages).catch(() => {});
        return;
      }
      case "record": {
        const { of, name, outcome, lane } = step;
        const durationSec = 0.1;
        this.records++;
        if (of === "pipeline") {
          const pipelineName = name;
          const status = outcome;
          recordPipelineMetrics({ pipelineName, durationSec, status, lane });
        } else {
          recordStageMetrics({ stageName: name, durationSec, outcome, lane });
        }
        return;
      }
      case "listener": {
        const run = step.how === "scope" ? context.stage ?? stage : stage;
        this.#emitter.once("event", () => run(step.name, () => {}));
        this.#elsewhere.run(() => this.#emitter.emit("event"));
        return;
      }
      case "detached":
        this.#leave(context.end.then(() => this.#runAlone(step.body, context)));
        return;
    }
  }

  async #runStage(step: StageStep, context: Context): Promise<void> {
    const { name, how, gives, end, via, isCaught } = step;
    const ending = endingOf(end);
    const options: StageOptions = classifiersOf(step);
    const own = via === "imported" ? stage : this.#instances[via].stage;
    const run = how === "scope" ? context.stage ?? own : own;
    const code = (scope?: StageScope) => {
      if (step.outcome !== undefined) scope?.setOutcome(step.outcome);
      switch (gives) {
        case "value":
          return ending();
        case "lazy thenable":
          return this.#lazily(ending);
        case "promise":
          return this.#run(step.body, context).then(ending);
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
    const { name, how, end, via, lane, isCaught, outcome } = step;
    const ending = endingOf(end);
    const { pipeline: run, openPipeline: open } = via === "imported"
      ? { pipeline, openPipeline }
      : this.#instances[via];
    const declared = this.#declared[via];
    const options = { lane, ...classifiersOf(step) };
    const later: Context["later"] = [];
    const code = async (scope: PipelineScope | PipelineHandle) => {
      const own = { ...context, later, stage: scope.stage };
      await this.#run(step.body, own);
      return ending();
    };
    const setOutcome = (scope: PipelineScope) => {
      if (outcome !== undefined) scope.setOutcome(outcome);
      return code(scope);
    };
    const runHandle = async (handle: PipelineHandle) => {
      try {
        const value = await handle.run(() => code(handle));
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
      await readAll(later);
    }
  }

  /** Runs a scope, and looks at what its caller gets. */
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
      if (!ERRORS.has(error)) {
        this.surprises.push(`threw ${String(error)}`);
      }
      if (!isCaught) throw error;
    }
  }

  /** What runs when it is subscribed to, and as often. */
  #lazily(ending: () => unknown): PromiseLike<unknown> {
    let times = 0;
    const { surprises } = this;
    return {
      then(onFulfilled, onRejected) {
        if (++times > 1) surprises.push("A thenable was subscribed to twice");
        return Promise.resolve().then(ending).then(onFulfilled, onRejected);
      },
    };
  }

  async #startStream(step: StreamStep, context: Context): Promise<void> {
    const { name, firstChunk, source, chunks, fails, reads, isRead } = step;
    const run = (body: readonly Step[]) => this.#run(body, context);
    async function* generate() {
      await run(step.body);
      for (let i = 0; i < chunks; i++) yield i;
      if (fails) throw FAILURE;
    }
    const options = { firstChunk };
    const stream: AsyncIterable<number> = source === "iterable"
      ? stageStream(name, options, generate())
      : stageStream(name, options, toReadable(generate()));
    const read = async () => {
      try {
        for await (const _ of stream) {
          if (reads === "one chunk") break;
        }
      } catch (error) {
        if (!ERRORS.has(error)) this.surprises.push(`read ${String(error)}`);
      }
    };
    if (isRead === "at once") await read();
    else context.later.push(read);
  }

  async #runEnded(step: EndedStep, context: Context): Promise<void> {
    const { scope, name, by, inside } = step;
    const caller = new AbortController();
    const reason = by === "signal" ? FAILURE : TIMEOUT;
    const options = by === "deadline"
      ? { timeout: 1 }
      : { signal: caller.signal };
    let release!: () => void;
    const released = new Promise<void>((resolve) => release = resolve);
    const hanging: Promise<unknown>[] = [];
    const later: Context["later"] = [];
    let code: Promise<void> | undefined;
    const hang = (own: Context) => {
      for (const each of inside) this.#hang(each, released, hanging);
      return code = released.then(() => this.#run(step.afterwards, own));
    };
    const run = scope === "pipeline"
      ? pipeline(
        name,
        options,
        ({ stage }) => hang({ ...context, later, stage }),
      )
      : stage(name, options, () => hang(context));
    if (by !== "deadline") {
      await wait("microtask");
      caller.abort(reason);
    }
    const error = await run.then(() => "nothing", (error) => error);
    const isExpected = by === "deadline"
      ? error instanceof DOMException && error.name === "TimeoutError"
      : error === reason;
    if (!isExpected) this.surprises.push(`ended by ${String(error)}`);
    release();
    await Promise.allSettled([code, ...hanging]);
    await readAll(later);
  }

  /** Starts what does not end before it is released. */
  #hang(
    { kind, name, inside }: Hanging,
    released: Promise<void>,
    hanging: Promise<unknown>[],
  ): void {
    const hang = () => {
      for (const each of inside) this.#hang(each, released, hanging);
      return released;
    };
    switch (kind) {
      case "stage":
        hanging.push(stage(name, hang));
        break;
      case "pipeline":
        hanging.push(pipeline(name, hang));
        break;
      case "stream":
        hanging.push(readToEnd(stageStream(name, endWith(released))));
        break;
    }
    hanging.at(-1)!.catch(() => {});
  }

  /** Leaves work to itself, until the program has ended. */
  #leave(work: Promise<unknown>): void {
    work.catch(() => {});
    this.#pending.push(work);
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

function endWith(promise: Promise<void>): AsyncIterable<never> {
  const next = async () => {
    await promise;
    return { done: true, value: undefined } as const;
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

async function readToEnd(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream) { /* There is nothing in it. */ }
}

/** Unlike that of `ReadableStream.from`, it does nothing before it is read. */
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

/** Reads streams one after the other; reading one may begin another. */
async function readAll(later: (() => Promise<void>)[]): Promise<void> {
  for (let read; (read = later.shift()) !== undefined;) await read();
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
