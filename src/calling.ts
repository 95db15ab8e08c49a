import {
  checkFunction,
  checkObject,
  checkOptionalFunction,
  checkSignal,
  checkTimeout,
} from "./options.ts";
import type { ScopeOptions } from "./scope.ts";

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
  const what = `run a ${kind}`;
  return function scope(name: string, options?: unknown, fn?: unknown) {
    if (typeof options === "function") {
      return start(name, undefined, options as (scope: S) => unknown);
    }
    checkScopeOptions(what, options);
    if (typeof fn === "function") {
      return start(name, options as O, fn as (scope: S) => unknown);
    }
    if (arguments.length > 2) checkFunction(what, fn);
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
    checkFunction(`wrap with ${kind}()`, fn);
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

/**
 * Checks the options of a scope.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If one has the wrong type.
 * @throws {RangeError} If the timeout is `NaN`.
 */
export function checkScopeOptions(what: string, options: unknown): void {
  if (options === undefined) return;
  checkObject(what, options);
  const { timeout, signal, classifyError, classifyResult } =
    options as ScopeOptions;
  checkTimeout(what, timeout);
  checkSignal(what, signal);
  checkOptionalFunction(what, "classifyError", classifyError);
  checkOptionalFunction(what, "classifyResult", classifyResult);
}
