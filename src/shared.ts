/** The number changes with the shape of what is shared. */
const PREFIX = "@lukhas/stage-metrics/1/";

/**
 * Gives what all copies of this module in a thread have in common, and makes it for
 * the first of them.
 *
 * There are several where one comes from JSR and another from npm, or where a hot
 * reload evaluates the module again. What they share is told by its shape alone:
 * neither `instanceof` nor the private members of another object work across copies.
 *
 * @param name What it is.
 */
export function shared<T>(name: string, create: () => T): T {
  const realm = globalThis as { [key: symbol]: unknown };
  return (realm[Symbol.for(PREFIX + name)] ??= create()) as T;
}
