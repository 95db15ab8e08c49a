/** Changes with the shape of the shared state, which only equal shapes share. */
const SHAPE = 2;

/** In a realm that is frozen, each copy of this module has a state of its own. */
const realm: { [key: symbol]: unknown } = Object.isExtensible(globalThis)
  ? globalThis
  : Object.create(globalThis);

const shapes =
  (realm[Symbol.for("@lukhas/stage-metrics/shapes")] ??= new Set()) as Set<
    number
  >;
shapes.add(SHAPE);

/**
 * Returns state that all copies of this module in a thread share, and creates it for
 * the first of them.
 *
 * There are several copies where one comes from JSR and another from npm, where bundles
 * inline it, or where a hot reload evaluates the module again. They rely on the shape of
 * the state alone: neither `instanceof` nor the private members of another object work
 * across copies.
 *
 * @param name The name of the state.
 */
export function perProcess<T>(name: string, create: () => T): T {
  const key = Symbol.for(`@lukhas/stage-metrics/${SHAPE}/${name}`);
  return (realm[key] ??= create()) as T;
}

/** Returns whether copies are loaded that share nothing with this one. */
export function hasIncompatibleCopies(): boolean {
  return shapes.size > 1;
}
