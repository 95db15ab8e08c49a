/** Returns whether a value is an object or a function, as a `WeakRef` requires. */
export function isObject(value: unknown): value is object {
  return Object(value) === value;
}
