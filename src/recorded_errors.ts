import { isObject } from "./is_object.ts";

/**
 * The errors that a trace has shown: each is shown by the innermost scope that it left,
 * and by none that it leaves later.
 */
export class RecordedErrors {
  readonly #objects = new WeakSet<object>();
  /** Of what is no object the last one: to keep them all would take memory for good. */
  #value: { readonly last: unknown } | undefined;

  /** Adds an error, and says whether it is new. */
  add(error: unknown): boolean {
    if (isObject(error)) {
      if (this.#objects.has(error)) return false;
      this.#objects.add(error);
      return true;
    }
    if (this.#value !== undefined && Object.is(this.#value.last, error)) {
      return false;
    }
    this.#value = { last: error };
    return true;
  }
}
