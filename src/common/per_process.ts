/** The version of the shape of the shared state. Only equal versions share it. */
const SHAPE = 3;

/** The object that holds the shared state. With frozen globals, nothing is shared. */
const realm: { [key: symbol]: unknown } = Object.isExtensible(globalThis)
  ? globalThis
  : Object.create(globalThis);

/** The versions of the shape that all loaded copies use. */
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
 * @param create Creates the state.
 */
export function perProcess<T>(name: string, create: () => T): T {
  const key = Symbol.for(`@lukhas/stage-metrics/${SHAPE}/${name}`);
  return (realm[key] ??= create()) as T;
}

/** Returns whether another copy uses another version, and so does not share its state. */
export function hasIncompatibleCopies(): boolean {
  return shapes.size > 1;
}
