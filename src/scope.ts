import type { IssueReporter } from "./issues.ts";
import { toDuration, toOutcome } from "./labels.ts";
import {
  type Cancellation,
  isLimiting,
  type LimitedScope,
  Limits,
} from "./limits.ts";
import {
  classifyError,
  type ErrorClassifier,
  type Outcome,
  type OutcomeLabel,
  type ResultClassifier,
} from "./outcome.ts";
import type { Registration } from "./registry.ts";
import type { Series, SeriesTree } from "./series.ts";
import type { ScopeSpan } from "./span.ts";
import type { SpanDescription, Tracing } from "./tracing.ts";

/** What scopes and recorders need of the instance that they record to. */
export interface Instance {
  readonly registration: Registration;
  readonly tree: SeriesTree;
  readonly issues: IssueReporter;
  /** The lane where nothing else says one. */
  readonly lane: string;
  /** Seconds; monotonic; never throws. */
  readonly now: () => number;
  readonly classifyError: ErrorClassifier | undefined;
  readonly classifyResult: ResultClassifier | undefined;
  readonly tracing: Tracing;
}

/** What the options of pipelines and stages share. */
export interface ScopeOptions {
  /**
   * How long the scope may take, in milliseconds. When that has passed, the caller
   * gets a `DOMException` named `TimeoutError`, whatever the code does, and
   * `timeout` is recorded. It cannot interrupt synchronous code.
   *
   * @default {no limit}
   */
  timeout?: number | undefined;
  /**
   * Ends the scope when it aborts: the caller gets its `reason`. If it is aborted
   * beforehand, the function is not called, and the caller gets a rejected promise.
   *
   * @default {none}
   */
  signal?: AbortSignal | undefined;
  /**
   * Reads what the scope threw as an outcome. What it leaves open by `undefined`
   * is read by the instance's.
   *
   * @default {the instance's, which is the exported `classifyError`}
   */
  classifyError?: ErrorClassifier | undefined;
  /**
   * Reads what the scope returned as an outcome: of use where a failure is a
   * value, as a `Response` that is not `ok`. `undefined` means `success`.
   *
   * @default {the instance's}
   */
  classifyResult?: ResultClassifier | undefined;
}

/** One run of a pipeline or a stage: timed, and recorded once, when it settles. */
export abstract class Scope implements LimitedScope {
  readonly instance: Instance;
  readonly series: Series;
  /** The pipeline around it, if there is one. */
  readonly parent: Scope | undefined;
  /** How it was recorded, once it has ended. */
  settledAs: OutcomeLabel | undefined;
  /** What it is in a trace, where somebody traces. */
  span: ScopeSpan | undefined;
  protected readonly options: ScopeOptions | undefined;
  readonly #start: number;
  #limits: Limits | undefined;
  #outcome: OutcomeLabel | undefined;

  constructor(
    instance: Instance,
    series: Series,
    options: ScopeOptions | undefined,
    parent: Scope | undefined,
  ) {
    this.instance = instance;
    this.series = series;
    this.options = options;
    this.parent = parent;
    if (isLimiting(parent) || options !== undefined && this.hasOwnLimits) {
      this.#limits = new Limits(this, true);
    }
    const now = instance.now();
    this.#start = now;
    series.start(now);
  }

  /** Whether it has ended, and was recorded. */
  get settled(): boolean {
    return this.settledAs !== undefined;
  }

  /** Most scopes never need them. */
  get limits(): Limits {
    return this.#limits ??= new Limits(this, false);
  }

  /** Whether anything else than its code can end it. */
  get isLimited(): boolean {
    return this.#limits !== undefined && this.#limits.canEnd;
  }

  /** Whether it was ended while its code goes on. */
  get abandoned(): boolean {
    return this.#limits !== undefined && this.#limits.hasEnded;
  }

  get hasOwnLimits(): boolean {
    return this.timeout !== undefined || this.callerSignal !== undefined;
  }

  get timeout(): number | undefined {
    return this.options?.timeout;
  }

  get callerSignal(): AbortSignal | undefined {
    return this.options?.signal;
  }

  get signal(): AbortSignal {
    return this.limits.signal;
  }

  /** A getter, so that it works destructured and costs nothing unless used. */
  get setOutcome(): (outcome: Outcome) => void {
    return (outcome) => {
      if (this.settled) return;
      this.#outcome = toOutcome(outcome, this.instance.issues);
    };
  }

  abstract describe(): string;

  /** What a trace is to tell of it. */
  protected abstract describeSpan(): SpanDescription;

  /** Starts its span. */
  trace(): void {
    const { tracing } = this.instance;
    this.span = tracing.start(this.describeSpan(), this.parent?.span);
  }

  /** Calls a function inside of its span, if there is one. */
  enter<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    const { span } = this;
    return span === undefined ? fn(...args) : span.enter(fn, ...args);
  }

  /** Its code returned. */
  succeed(value: unknown): void {
    this.end(this.#outcome ?? this.#readResult(value) ?? "success");
  }

  /** What it was for is done, and has no value. */
  complete(): void {
    this.end(this.#outcome ?? "success");
  }

  /** Its code threw. */
  fail(error: unknown): void {
    this.span?.fail(error);
    this.settle(this.#readError(error) ?? classifyError(error));
  }

  /** It is ended while its code goes on. */
  cancel({ error, outcome, isCancelled }: Cancellation): void {
    if (outcome !== "success") this.span?.fail(error);
    this.settle(outcome, isCancelled);
  }

  /** Its code ended, and well. */
  protected end(outcome: OutcomeLabel): void {
    this.settle(outcome);
  }

  /** Records it, the first time that it is called. */
  protected settle(outcome: OutcomeLabel, isCancelled = false): void {
    if (this.settledAs !== undefined) return;
    this.settledAs = outcome;
    const { instance, series, span } = this;
    const now = instance.now();
    const seconds = now - this.#start;
    series.stop(this.#start);
    const ending = series.record(
      outcome,
      seconds >= 0 ? seconds : toDuration(seconds, instance.issues),
      now,
      span?.labels,
    );
    if (isCancelled) ending.cancelled++;
    this.#limits?.stop();
    span?.end(outcome);
  }

  #readResult(value: unknown): OutcomeLabel | undefined {
    const { classifyResult } = this.instance;
    const own = this.options?.classifyResult;
    if (own === undefined && classifyResult === undefined) return undefined;
    return this.#read("classifyResult", own, value) ??
      this.#read("classifyResult", classifyResult, value);
  }

  #readError(error: unknown): OutcomeLabel | undefined {
    const { classifyError } = this.instance;
    return this.#read("classifyError", this.options?.classifyError, error) ??
      this.#read("classifyError", classifyError, error);
  }

  #read(
    name: string,
    classify: ((value: unknown) => Outcome | undefined) | undefined,
    value: unknown,
  ): OutcomeLabel | undefined {
    if (classify === undefined) return undefined;
    const { issues } = this.instance;
    const outcome = issues.guard(name, () => classify(value));
    return outcome === undefined ? undefined : toOutcome(outcome, issues);
  }
}

/**
 * Calls `fn` inside a scope and settles the scope by how that ends.
 *
 * @returns What `fn` returns. Of whatever has a `then` it is a native promise for
 * its value, subscribed to once: a lazy query would run twice otherwise, and a
 * promise observed and handed on would hide its unhandled rejection.
 */
export function runScope<S extends Scope, T>(
  scope: S,
  fn: (scope: S) => T,
): T {
  // Not by `enter`, whose arguments would be allocated.
  return scope.span === undefined
    ? runCode(scope, fn)
    : scope.span.enter(runCode<S, T>, scope, fn);
}

function runCode<S extends Scope, T>(scope: S, fn: (scope: S) => T): T {
  const ended = scope.isLimited ? scope.limits.start() : undefined;
  if (ended !== undefined) return Promise.reject(ended.error) as T;
  let value: T;
  try {
    value = fn(scope);
  } catch (error) {
    scope.fail(error);
    throw error;
  }
  const promise = toPromise(value);
  if (promise === undefined) {
    scope.succeed(value);
    return value;
  }
  if (scope.isLimited) return raceLimits(scope, promise) as T;
  // Two callbacks cost half of what an async function around `fn` would.
  return promise.then((value) => {
    scope.succeed(value);
    return value;
  }, (error) => {
    scope.fail(error);
    throw error;
  }) as T;
}

/** The first to settle wins: the code, or what limits it. */
function raceLimits<T>(scope: Scope, promise: Promise<T>): Promise<T> {
  let abandon: (error: unknown) => void;
  const result = new Promise<T>((resolve, reject) => {
    abandon = reject;
    promise.then((value) => {
      if (scope.settled) return;
      scope.succeed(value);
      resolve(value);
    }, (error) => {
      if (scope.settled) return;
      scope.fail(error);
      reject(error);
    });
  });
  scope.limits.race(abandon!, result);
  return result;
}

/** Subscribes to a thenable at once, so that what it starts has this context. */
function toPromise(value: unknown): Promise<unknown> | undefined {
  if (typeof value !== "object" && typeof value !== "function") return;
  if (value === null) return;
  let then: unknown;
  try {
    then = (value as { then?: unknown }).then;
  } catch {
    // A property that cannot be read makes no promise: the caller gets the value.
    return;
  }
  if (typeof then !== "function") return;
  // Not `Object.getPrototypeOf`, which costs as much as all the rest of a scope.
  if (then === Promise.prototype.then && value.constructor === Promise) {
    return value as Promise<unknown>;
  }
  return adopt(value, then);
}

// On its own, as what a closure captures is allocated even where none is made.
function adopt(value: object, then: CallableFunction): Promise<unknown> {
  return new Promise((resolve, reject) => {
    Reflect.apply(then, value, [resolve, reject]);
  });
}
