import { isAbortReason } from "./cancel_scope.ts";
import type { Scope } from "./scope.ts";

/**
 * Calls `fn` in a scope, and settles the scope by how that ends.
 *
 * @returns What `fn` returns. For everything that has a `then`, this is a native
 * promise for its value, and the `then` is called once: a lazy query would run twice
 * otherwise.
 */
export function runScope<S extends Scope, T>(
  scope: S,
  fn: (scope: S) => T,
): T {
  // Not by `runInSpan`, whose arguments would be allocated.
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
    // A proxy of a promise has its `then`, and throws as soon as that is called.
    return subscribe(scope, Promise.reject(error)) as T;
  }
}

function subscribe(scope: Scope, promise: Promise<unknown>): Promise<unknown> {
  return scope.isEnforced
    ? raceCancellation(scope, promise)
    : settleWith(scope, promise);
}

// In functions of their own, as a closure's variables are allocated on entry, even
// where no closure is made.

/** Returns a promise that settles with the code, and settles the scope first. */
function settleWith<T>(scope: Scope, promise: Promise<T>): Promise<T> {
  // Two callbacks cost half of an async function.
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

/** Returns a promise that settles with the code, or before it by a cancellation. */
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
    // By a second `then`, so that an error's stack leads to the caller: V8 follows the
    // resolving functions of a promise, but no closure.
    settled.then(resolve, reject);
  });
  scope.markPending((error, isAborted) => {
    if (isAborted) ignoreRejection(result);
    cancel(error);
  });
  return result;
}

/**
 * Marks a rejection as handled. It follows from an abort by this library, and the code
 * that would have awaited it may have failed before.
 */
export function ignoreRejection(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

/**
 * Subscribes to a thenable at once, so that the work it starts has this context.
 *
 * @returns A native promise whose `then` does not throw.
 */
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
  if (then === Promise.prototype.then && isNativePromise(value)) {
    return value as Promise<unknown>;
  }
  return fromThenable(value, then);
}

/** Whether a promise is of no subclass. */
function isNativePromise(promise: object): boolean {
  try {
    return promise.constructor === Promise;
  } catch {
    return false;
  }
}

function fromThenable(value: object, then: CallableFunction): Promise<unknown> {
  return new Promise((resolve, reject) => {
    Reflect.apply(then, value, [resolve, reject]);
  });
}
