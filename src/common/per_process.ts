/** The version of the shape of the shared state. Only equal versions share it. */
const SHAPE = 3;

/** The holder of the shared state. If globals are frozen, each copy has its own. */
const realm: { [key: symbol]: unknown } = Object.isExtensible(globalThis)
  ? globalThis
  : Object.create(globalThis);

const shapes =
  (realm[Symbol.for("@lukhas/stage-metrics/shapes")] ??= new Set()) as Set<
    number
  >;
shapes.add(SHAPE);

/**
 * Returns state that all copies of this module in a thread share. The first copy
 * creates it.
 *
 * Several copies exist if one comes from JSR and another from npm, if bundles inline the
 * module, or if a hot reload evaluates it again. Neither `instanceof` nor private members
 * work across copies.
 *
 * @param name The name of the state.
 */
export function perProcess<T>(name: string, create: () => T): T {
  const key = Symbol.for(`@lukhas/stage-metrics/${SHAPE}/${name}`);
  return (realm[key] ??= create()) as T;
}

/** Returns whether copies are loaded that do not share their state with this copy. */
export function hasIncompatibleCopies(): boolean {
  return shapes.size > 1;
}
