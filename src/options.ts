/**
 * Checks that options are an object.
 *
 * @param what What cannot be done otherwise, for the message.
 * @param named What they are called, for the message.
 * @throws {TypeError} If they are none.
 */
export function checkObject(
  what: string,
  value: unknown,
  named = "options",
): asserts value is object {
  if (typeof value === "object" && value !== null) return;
  const got = value === null ? "null" : typeof value;
  throw new TypeError(`Cannot ${what}: ${named} must be an object, got ${got}`);
}

/**
 * Checks that an option is a function, where it is given.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkOptionalFunction(
  what: string,
  name: string,
  value: unknown,
): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(
    `Cannot ${what}: ${name} must be a function, got ${typeof value}`,
  );
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

/**
 * Checks that an option is a boolean, where it is given.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkBoolean(what: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === "boolean") return;
  throw new TypeError(
    `Cannot ${what}: ${name} must be a boolean, got ${typeof value}`,
  );
}

/**
 * Checks that a name is one.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is no string.
 * @throws {RangeError} If it is empty.
 */
export function checkName(what: string, named: string, value: unknown): void {
  if (typeof value !== "string") {
    throw new TypeError(
      `Cannot ${what}: ${named} must be a string, got ${typeof value}`,
    );
  }
  if (value === "") {
    throw new RangeError(`Cannot ${what}: ${named} must not be empty`);
  }
}

/**
 * Checks that a function is one.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkFunction(what: string, fn: unknown): void {
  if (typeof fn === "function") return;
  throw new TypeError(`Cannot ${what}: expected a function, got ${typeof fn}`);
}

/**
 * Checks a time limit.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is no number.
 * @throws {RangeError} If it is `NaN`.
 */
export function checkTimeout(what: string, timeout: unknown): void {
  if (timeout === undefined) return;
  if (typeof timeout !== "number") {
    throw new TypeError(
      `Cannot ${what}: timeout must be a number of milliseconds, got ${typeof timeout}`,
    );
  }
  if (Number.isNaN(timeout)) {
    throw new RangeError(`Cannot ${what}: timeout must not be NaN`);
  }
}

/**
 * Checks a caller's signal.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkSignal(what: string, signal: unknown): void {
  if (signal === undefined) return;
  // Not `instanceof`: polyfills and other realms have signals of their own.
  const { aborted, addEventListener } = Object(signal) as Partial<AbortSignal>;
  if (typeof aborted === "boolean" && typeof addEventListener === "function") {
    return;
  }
  throw new TypeError(
    `Cannot ${what}: signal must be an AbortSignal, got ${typeof signal}`,
  );
}
