/** Returns whether a received value has the expected shape. */
export type Check = (value: unknown) => boolean;

/** Returns a check for a whole number from 0 up to, but not including, a limit. */
export function whole(limit: number = Infinity): Check {
  return (value) =>
    Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) < limit;
}

/** Returns a check for a string of at most `maxLength` UTF-16 code units. */
export function text(maxLength: number): Check {
  return (value) => typeof value === "string" && value.length <= maxLength;
}

/** Returns a check for a string that matches a pattern. */
export function matching(pattern: RegExp): Check {
  return (value) => typeof value === "string" && pattern.test(value);
}

/** Returns a check for one of a few values. */
export function oneOf(...values: readonly unknown[]): Check {
  return (value) => values.includes(value);
}

/** Returns a check that passes if one of several checks passes. */
export function either(...checks: readonly Check[]): Check {
  return (value) => checks.some((check) => check(value));
}

/** Returns a check for a value that may be missing. */
export function optional(check: Check): Check {
  return (value) => value === undefined || check(value);
}

/** Returns a check for an array whose items all pass. */
export function arrayOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

/** Returns a check for an array with one check per item, and `rest` for further items. */
export function tuple(checks: readonly Check[], rest: Check = never): Check {
  return (value) =>
    Array.isArray(value) &&
    checks.every((check, index) => check(value[index])) &&
    value.slice(checks.length).every(rest);
}

/** Returns a check for an object with one check per field. */
export function fields(checks: Readonly<Record<string, Check>>): Check {
  const entries = Object.entries(checks);
  return (value) =>
    isRecord(value) && entries.every(([name, check]) => check(value[name]));
}

/** Returns a check for an object whose keys and values all pass. */
export function recordOf(key: Check, item: Check): Check {
  return (value) =>
    isRecord(value) &&
    Object.entries(value).every(([name, each]) => key(name) && item(each));
}

/** Returns whether a value is a finite number. */
export function isFiniteNumber(value: unknown): value is number {
  return Number.isFinite(value);
}

/** Returns whether a value is a boolean. */
export function isBoolean(value: unknown): value is boolean {
  return typeof value === "boolean";
}

function never(): boolean {
  return false;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
