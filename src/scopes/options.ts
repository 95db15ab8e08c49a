import type { ErrorClassifier, ResultClassifier } from "../common/outcome.ts";
import {
  checkBoolean,
  checkObject,
  checkOptionalFunction,
  typeName,
} from "../common/validate.ts";

/** The options that pipelines and stages share. */
export interface ScopeOptions {
  /**
   * The time limit, in milliseconds. When it passes, the caller gets a `DOMException`
   * named `TimeoutError`, even if the code is still running, and `timeout` is recorded.
   * With 0 or a negative value, this happens in the next turn of the event loop.
   * Synchronous code is not interrupted.
   *
   * @default {no limit}
   */
  timeout?: number | undefined;
  /**
   * A signal that cancels the scope when it aborts. The caller gets its `reason`. If it
   * is already aborted, the function is not called, and the caller gets a rejected
   * promise.
   *
   * @default {none}
   */
  signal?: AbortSignal | undefined;
  /**
   * Classifies an error of the scope, or the reason of an aborted `signal`.
   * `undefined` leaves the error to the instance's `classifyError`.
   *
   * @default {the instance's, which is the exported `classifyError`}
   */
  classifyError?: ErrorClassifier | undefined;
  /**
   * Classifies the value that the scope returned, for failures that are values, such as
   * a `Response` that is not `ok`. `undefined` leaves the value to the instance's
   * `classifyResult`.
   *
   * @default {the instance's}
   */
  classifyResult?: ResultClassifier | undefined;
}

/**
 * Checks that a scope's name is not a function, which would never be called. Names of
 * other invalid types are reported as an issue when the scope starts.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If the name is a function.
 */
export function checkScopeName(action: string, name: unknown): void {
  if (typeof name !== "function") return;
  throw new TypeError(
    `Cannot ${action}: expected a name before the function, got a function`,
  );
}

/**
 * Checks the options of a stage, if there are any. Unknown options are ignored, because
 * this runs for each scope.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If the timeout is `NaN`.
 */
export function checkScopeOptions(action: string, options: unknown): void {
  if (options === undefined) return;
  checkObject(action, options);
  const { timeout, signal, classifyError, classifyResult } =
    options as ScopeOptions;
  checkTimeout(action, timeout);
  checkSignal(action, signal);
  checkOptionalFunction(action, "classifyError", classifyError);
  checkOptionalFunction(action, "classifyResult", classifyResult);
}

/**
 * Checks the options of a pipeline like {@linkcode checkScopeOptions}. An invalid lane is
 * reported as an issue when the pipeline starts.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If the timeout is `NaN`.
 */
export function checkPipelineOptions(action: string, options: unknown): void {
  if (options === undefined) return;
  checkScopeOptions(action, options);
  const { detached } = options as { readonly detached?: unknown };
  checkBoolean(action, "detached", detached);
}

/**
 * Returns the options of a call, completed by the options of a declaration.
 *
 * @param options The options of the call, which take precedence.
 * @param declared The options of the declaration.
 */
export function mergeScopeOptions(
  options: ScopeOptions | undefined,
  declared: ScopeOptions,
): ScopeOptions {
  if (options === undefined) return declared;
  return {
    timeout: options.timeout ?? declared.timeout,
    signal: options.signal ?? declared.signal,
    classifyError: options.classifyError ?? declared.classifyError,
    classifyResult: options.classifyResult ?? declared.classifyResult,
  };
}

function checkTimeout(action: string, value: unknown): void {
  if (value === undefined) return;
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${action}: timeout must be a number of milliseconds, got ${
        typeName(value)
      }`,
    );
  }
  if (Number.isNaN(value)) {
    throw new RangeError(`Cannot ${action}: timeout must not be NaN`);
  }
}

function checkSignal(action: string, value: unknown): void {
  if (value === undefined || isSignal(value)) return;
  throw new TypeError(
    `Cannot ${action}: signal must be an AbortSignal, got ${typeName(value)}`,
  );
}

/** Returns whether a value is a signal, also of a polyfill or another realm. */
function isSignal(value: unknown): boolean {
  try {
    const { aborted, addEventListener, removeEventListener } = Object(
      value,
    ) as Partial<AbortSignal>;
    return typeof aborted === "boolean" &&
      typeof addEventListener === "function" &&
      typeof removeEventListener === "function";
  } catch {
    // A proxy of a signal throws when its properties are read.
    return false;
  }
}
