/** Whether a value is an object or a function, which a `WeakRef` or `WeakSet` takes. */
export function isObject(value: unknown): value is object {
  return Object(value) === value;
}
