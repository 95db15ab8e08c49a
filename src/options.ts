/**
 * Checks that options are an object.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If they are none.
 */
export function checkOptionsObject(
  what: string,
  options: unknown,
): asserts options is object {
  if (typeof options === "object" && options !== null) return;
  const got = options === null ? "null" : typeof options;
  throw new TypeError(`Cannot ${what}: options must be an object, got ${got}`);
}

/**
 * Checks that the options of these names are functions, where they are given.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If one is none.
 */
export function checkFunctions(
  what: string,
  options: object,
  names: readonly string[],
): void {
  for (const name of names) {
    const value = (options as Record<string, unknown>)[name];
    if (value === undefined || typeof value === "function") continue;
    throw new TypeError(
      `Cannot ${what}: ${name} must be a function, got ${typeof value}`,
    );
  }
}

/**
 * Checks that an option is a string, where it is given.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkString(what: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === "string") return;
  throw new TypeError(
    `Cannot ${what}: ${name} must be a string, got ${typeof value}`,
  );
}
