import { quote } from "./quote.ts";

/**
 * Checks the value of one option.
 *
 * @param action The action that fails if the value is invalid, for the message.
 * @param name The name of the option, for the message.
 */
type OptionCheck = (
  action: string,
  name: string,
  value: unknown,
) => void;

/**
 * The checks of an options object, by option name. Every option must have one.
 *
 * @typeParam O The type of the options.
 */
export type OptionChecks<O> = {
  readonly [K in keyof Required<O>]: OptionCheck;
};

/**
 * Checks an options object: its type, the names of its options and their values.
 *
 * @param action The action that fails otherwise, for the message.
 * @param checks The check of each known option.
 * @param parent The name of the option that holds these options, for the message.
 * @throws {TypeError} If `options` is not an object, or if an option is unknown.
 * @throws The error of the first check that fails.
 */
export function checkOptions<O extends object>(
  action: string,
  options: O,
  checks: OptionChecks<O>,
  parent?: string,
): void {
  checkObject(action, options, parent);
  checkOptionNames(action, options, checks, parent);
  const values = options as Readonly<Record<string, unknown>>;
  for (const [name, check] of Object.entries<OptionCheck>(checks)) {
    check(action, optionPath(name, parent), values[name]);
  }
}

/**
 * Checks that every option has a known name, even if its value is `undefined`.
 *
 * @param action The action that fails otherwise, for the message.
 * @param known An object whose keys are the known names.
 * @param parent The name of the option that holds these options, for the message.
 * @throws {TypeError} If an option is unknown.
 */
export function checkOptionNames(
  action: string,
  options: object,
  known: object,
  parent?: string,
): void {
  // Own keys only: an instance of a class may also have methods.
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    const similar = findSimilar(name, Object.keys(known));
    const hint = similar === undefined
      ? ""
      : `, did you mean ${quote(optionPath(similar, parent))}?`;
    throw new TypeError(
      `Cannot ${action}: unknown option ${
        quote(optionPath(name, parent))
      }${hint}`,
    );
  }
}

/**
 * Copies options into a plain object. Unlike the spread syntax, this includes getters of
 * a class, and leaves out options that are `undefined`.
 *
 * @param known An object whose keys are the names of the options to copy.
 */
export function copyOptions<O extends object>(
  options: O,
  known: object,
): Partial<O> {
  const copy: Partial<O> = {};
  for (const name of Object.keys(known) as (keyof O)[]) {
    if (options[name] !== undefined) copy[name] = options[name];
  }
  return copy;
}

/**
 * Checks that a value is an object.
 *
 * @param action The action that fails otherwise, for the message.
 * @param name The name of the value, for the message.
 * @throws {TypeError} If the value is not an object.
 */
export function checkObject(
  action: string,
  value: unknown,
  name = "options",
): asserts value is object {
  if (typeof value === "object" && value !== null) return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be an object, got ${typeName(value)}`,
  );
}

/**
 * Checks that an option is a function or `undefined`.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If the value is neither.
 */
export function checkOptionalFunction(
  action: string,
  name: string,
  value: unknown,
): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a function, got ${typeName(value)}`,
  );
}

/**
 * Checks that an option is a string or `undefined`.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If the value is neither.
 */
export function checkString(
  action: string,
  name: string,
  value: unknown,
): void {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a string, got ${typeName(value)}`,
  );
}

/**
 * Checks that an option is a boolean or `undefined`.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If the value is neither.
 */
export function checkBoolean(
  action: string,
  name: string,
  value: unknown,
): void {
  if (value === undefined || typeof value === "boolean") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be a boolean, got ${typeName(value)}`,
  );
}

/**
 * Checks that a required name is a non-empty string.
 *
 * @param action The action that fails otherwise, for the message.
 * @throws {TypeError} If the value is not a string.
 * @throws {RangeError} If the value is empty.
 */
export function checkName(action: string, name: string, value: unknown): void {
  if (typeof value !== "string") {
    throw new TypeError(
      `Cannot ${action}: ${name} must be a string, got ${typeName(value)}`,
    );
  }
  if (value === "") {
    throw new RangeError(`Cannot ${action}: ${name} must not be empty`);
  }
}

/**
 * Checks that a required argument is a function.
 *
 * @param action The action that fails otherwise, for the message.
 * @param place The place where the function is expected, for the message.
 * @throws {TypeError} If the value is not a function.
 */
export function checkFunction(action: string, fn: unknown, place = ""): void {
  if (typeof fn === "function") return;
  throw new TypeError(
    `Cannot ${action}: expected a function${place}, got ${typeName(fn)}`,
  );
}

/** Returns the name of a value's type, for a message. */
export function typeName(value: unknown): string {
  return value === null ? "null" : typeof value;
}

function optionPath(name: string, parent: string | undefined): string {
  return parent === undefined ? name : `${parent}.${name}`;
}

/** Returns the candidate most similar to a misspelt name, if one is similar enough. */
function findSimilar(
  name: string,
  candidates: readonly string[],
): string | undefined {
  const [best] = candidates
    // Each extra character is an edit. Very long names would take too long.
    .filter(({ length }) => name.length <= 2 * length)
    .map((candidate) => ({
      candidate,
      distance: editDistance(name.toLowerCase(), candidate.toLowerCase()),
    }))
    // At most one edit per three letters: with more, it is another word.
    .filter(({ candidate, distance }) => distance <= candidate.length / 3)
    .sort((a, b) => a.distance - b.distance);
  return best?.candidate;
}

/** Returns the number of letters to insert, delete, replace or swap in two words. */
function editDistance(a: string, b: string): number {
  const rows = [
    Array.from({ length: b.length + 1 }, (_, column) => column),
  ];
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    const above = rows[i - 1]!;
    for (let j = 1; j <= b.length; j++) {
      const replaced = above[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(above[j]! + 1, row[j - 1]! + 1, replaced));
      if (a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j]!, rows[i - 2]![j - 2]! + 1);
      }
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}
