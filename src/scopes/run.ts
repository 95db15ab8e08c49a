import { isAbortReason } from "./cancel_scope.ts";
import type { Scope } from "./scope.ts";

/**
 * Calls `fn` in a scope, and settles the scope when `fn` ends.
 *
 * @returns The value of `fn`, or a native promise if it is a thenable. The `then` of the
 * thenable is called only once, because each call would run a lazy query.
 */
export function runScope<S extends Scope, T>(
  scope: S,
  fn: (scope: S) => T,
): T {
  // Not `scope.runInSpan()`, whose rest arguments would be allocated.
  return scope.span === undefined
    ? runCode(scope, fn)
    : scope.span.runInSpan(runCode<S, T>, scope, fn);
}

function runCode<S extends Scope, T>(scope: S, fn: (scope: S) => T): T {
  const cancellation = scope.start();
  if (cancellation !== undefined) {
    scope.markCodeEnded();
    const { error } = cancellation;
    const result = Promise.reject(error);
    if (isAbortReason(error)) ignoreRejection(result);
    return result as T;
  }
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
  try {
    return subscribe(scope, promise) as T;
  } catch (error) {
    // A proxy of a promise has a `then` that throws when it is called.
    return subscribe(scope, Promise.reject(error)) as T;
  }
}

function subscribe(scope: Scope, promise: Promise<unknown>): Promise<unknown> {
  return scope.isEnforced
    ? raceCancellation(scope, promise)
    : settleWith(scope, promise);
}

// Separate functions: the variables of closures are allocated when a function is
// entered, even if no closure is created.

/** Returns a promise that settles like the code, and settles the scope first. */
function settleWith<T>(scope: Scope, promise: Promise<T>): Promise<T> {
  // Two callbacks cost half as much as an async function.
  const result = promise.then((value) => {
    scope.succeed(value);
    return value;
  }, (error) => {
    const isFromAbort = scope.mayBeFromAbort(error);
    scope.fail(error);
    if (isFromAbort) ignoreRejection(result);
    throw error;
  });
  scope.markPending();
  return result;
}

/** Returns a promise that settles like the code, or rejects on a cancellation. */
function raceCancellation<T>(scope: Scope, promise: Promise<T>): Promise<T> {
  const settled = promise.then((value) => {
    scope.succeed(value);
    return value;
  }, (error) => {
    const isFromAbort = scope.mayBeFromAbort(error);
    scope.fail(error);
    if (isFromAbort) ignoreRejection(result);
    throw error;
  });
  let cancel: (error: unknown) => void;
  const result = new Promise<T>((resolve, reject) => {
    cancel = reject;
    // A second `then` keeps the caller in an error's stack: V8 follows the resolving
    // functions of a promise, but not closures.
    settled.then(resolve, reject);
  });
  scope.markPending((error, isAborted) => {
    if (isAborted) ignoreRejection(result);
    cancel(error);
  });
  return result;
}

/**
 * Marks the rejection of a promise as handled. After an abort by this library, the code
 * that would have awaited the promise may have failed already.
 */
export function ignoreRejection(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

/**
 * Subscribes to a thenable immediately, so that the work it starts has this context.
 *
 * @returns A native promise, or `undefined` if the value is not a thenable.
 */
function toPromise(value: unknown): Promise<unknown> | undefined {
  if (typeof value !== "object" && typeof value !== "function") return;
  if (value === null) return;
  let then: unknown;
  try {
    then = (value as { then?: unknown }).then;
  } catch {
    // A value whose `then` cannot be read is not a thenable.
    return;
  }
  if (typeof then !== "function") return;
  // Not `Object.getPrototypeOf()`, which costs as much as the rest of a scope.
  if (then === Promise.prototype.then && isNativePromise(value)) {
    return value as Promise<unknown>;
  }
  return fromThenable(value, then);
}

/** Returns whether a promise is not an instance of a subclass. */
function isNativePromise(promise: object): boolean {
  try {
    return promise.constructor === Promise;
  } catch {
    return false;
  }
}

/** Returns a native promise for the value of a thenable. */
function fromThenable(value: object, then: CallableFunction): Promise<unknown> {
  return new Promise((resolve, reject) => {
    Reflect.apply(then, value, [resolve, reject]);
  });
}
