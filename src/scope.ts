import type { ErrorClassifier, Instance, ResultClassifier } from "./context.ts";
import { toDuration, toOutcome } from "./labels.ts";
import { classifyError, type Outcome, type OutcomeLabel } from "./outcome.ts";
import { checkFunctions, checkOptionsObject } from "./options.ts";
import type { Series } from "./series.ts";

/** What the options of pipelines and stages share. */
export interface ScopeOptions {
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
export class Scope {
  readonly instance: Instance;
  readonly series: Series;
  /** Whether it has returned or thrown. */
  settled = false;
  readonly #options: ScopeOptions | undefined;
  readonly #start: number;
  #outcome: OutcomeLabel | undefined;

  constructor(
    instance: Instance,
    series: Series,
    options: ScopeOptions | undefined,
  ) {
    this.instance = instance;
    this.series = series;
    this.#options = options;
    this.#start = instance.now();
    series.start(this.#start);
  }

  /** A getter, so that it works destructured and costs nothing unless used. */
  get setOutcome(): (outcome: Outcome) => void {
    return (outcome) => {
      if (this.settled) return;
      this.#outcome = toOutcome(outcome, this.instance.issues);
    };
  }

  succeed(value: unknown): void {
    this.#settle(this.#outcome ?? this.#readResult(value) ?? "success");
  }

  fail(error: unknown): void {
    this.#settle(this.#readError(error) ?? classifyError(error));
  }

  protected record(outcome: OutcomeLabel, seconds: number): void {
    this.series.record(outcome, seconds);
  }

  #settle(outcome: OutcomeLabel): void {
    this.settled = true;
    const { instance } = this;
    this.series.stop(this.#start);
    const seconds = instance.now() - this.#start;
    this.record(outcome, toDuration(seconds, instance.issues));
  }

  #readResult(value: unknown): OutcomeLabel | undefined {
    const { classifyResult } = this.instance;
    return this.#read("classifyResult", this.#options?.classifyResult, value) ??
      this.#read("classifyResult", classifyResult, value);
  }

  #readError(error: unknown): OutcomeLabel | undefined {
    const { classifyError } = this.instance;
    return this.#read("classifyError", this.#options?.classifyError, error) ??
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
  // Two callbacks cost half of what an async function around `fn` would.
  return promise.then((value) => {
    scope.succeed(value);
    return value;
  }, (error) => {
    scope.fail(error);
    throw error;
  }) as T;
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
  if (
    then === Promise.prototype.then &&
    Object.getPrototypeOf(value) === Promise.prototype
  ) {
    return value as Promise<unknown>;
  }
  return new Promise((resolve, reject) => {
    Reflect.apply(then, value, [resolve, reject]);
  });
}

/**
 * Makes a wrapper of a function out of a way to call one in a scope; also the
 * standard decorator of a method.
 */
export interface ScopeWrapper {
  /**
   * Wraps a function, each call of which is then a scope.
   *
   * @param fn The function; what comes out has its type, name and length.
   * @param context What a decorator is given as its second argument.
   * @returns A function that calls `fn` with the same `this` and arguments.
   * @throws {TypeError} If `fn` is no function, if what is decorated is no method,
   * or if it is called the way legacy decorators (`experimentalDecorators`) are.
   */
  <F extends (...args: never[]) => unknown>(
    fn: F,
    context?: { readonly kind: string },
  ): F;
}

/** Runs `fn` in a new scope of that name. */
export type Start<S, O> = <T>(
  name: string,
  options: O | undefined,
  fn: (scope: S) => T,
) => T;

/**
 * Makes the function that users call out of one that starts a scope:
 * `(name, fn)`, `(name, options, fn)`, or `(name, options?)` for a wrapper.
 */
export function scopeFunction<S, O extends ScopeOptions>(
  kind: "pipeline" | "stage",
  start: Start<S, O>,
): (name: string, options?: unknown, fn?: unknown) => unknown {
  return function scope(name: string, options?: unknown, fn?: unknown) {
    if (typeof options === "function") {
      return start(name, undefined, options as (scope: S) => unknown);
    }
    checkOptions(kind, options);
    if (typeof fn === "function") {
      return start(name, options as O, fn as (scope: S) => unknown);
    }
    if (arguments.length > 2) {
      throw new TypeError(
        `Cannot run a ${kind}: expected a function, got ${typeof fn}`,
      );
    }
    return wrapper(kind, start, name, options as O);
  };
}

function wrapper<S, O>(
  kind: "pipeline" | "stage",
  start: Start<S, O>,
  name: string,
  options: O | undefined,
): ScopeWrapper {
  return (fn, context) => {
    if (typeof context === "string" || typeof context === "symbol") {
      throw new TypeError(
        `Cannot decorate ${
          String(context)
        } with ${kind}(): it was called as a legacy decorator, turn off "experimentalDecorators"`,
      );
    }
    if (typeof context?.kind === "string" && context.kind !== "method") {
      throw new TypeError(
        `Cannot decorate a ${context.kind} with ${kind}(): only methods`,
      );
    }
    if (typeof fn !== "function") {
      throw new TypeError(
        `Cannot wrap with ${kind}(): expected a function, got ${typeof fn}`,
      );
    }
    function wrapped(this: unknown, ...args: never[]): unknown {
      return start(name, options, () => Reflect.apply(fn, this, args));
    }
    // Frameworks go by these: Express takes four parameters for an error handler.
    return Object.defineProperties(wrapped as typeof fn, {
      name: { value: fn.name, configurable: true },
      length: { value: fn.length, configurable: true },
    });
  };
}

function checkOptions(kind: string, options: unknown): void {
  if (options === undefined) return;
  const what = `run a ${kind}`;
  checkOptionsObject(what, options);
  checkFunctions(what, options, ["classifyError", "classifyResult"]);
}
