/**
 * Replaces `@std/assert` where JSR cannot be reached: only the functions that the tests
 * use, and only the behaviour that both have.
 *
 * @module
 */
import { deepStrictEqual, fail, ok, strictEqual } from "node:assert/strict";

// No `undefined` is passed on as a message, as Node 26 rejects it.

export function assert(expr: unknown, msg?: string): asserts expr {
  if (msg === undefined) ok(expr);
  else ok(expr, msg);
}

export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (msg === undefined) deepStrictEqual(actual, expected);
  else deepStrictEqual(actual, expected, msg);
}

export function assertStrictEquals<T>(
  actual: unknown,
  expected: T,
  msg?: string,
): asserts actual is T {
  if (msg === undefined) strictEqual(actual, expected);
  else strictEqual(actual, expected, msg);
}

export function assertMatch(
  actual: string,
  expected: RegExp,
  msg?: string,
): void {
  ok(expected.test(actual), msg ?? `"${actual}" does not match ${expected}`);
}

export function assertStringIncludes(
  actual: string,
  expected: string,
  msg?: string,
): void {
  ok(actual.includes(expected), msg ?? `"${actual}" lacks "${expected}"`);
}

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = new (...args: any[]) => E;

export function assertIsError<E extends Error = Error>(
  error: unknown,
  // deno-lint-ignore no-explicit-any
  errorClass: ErrorClass<E> = Error as any,
  msgIncludes = "",
): asserts error is E {
  ok(error instanceof errorClass, `${error} is not a ${errorClass.name}`);
  assertStringIncludes(error.message, msgIncludes);
}

export function assertThrows<E extends Error = Error>(
  fn: () => unknown,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): E {
  try {
    fn();
  } catch (error) {
    assertIsError(error, errorClass, msgIncludes);
    return error;
  }
  fail("Nothing was thrown");
}

export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
  msgIncludes?: string,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    assertIsError(error, errorClass, msgIncludes);
    return error;
  }
  fail("Nothing was rejected");
}
