/**
 * A queue with a fixed order, also where branches that run in parallel fill it.
 *
 * Each branch gets its own queue, at the position of the branch. So the order follows
 * the program, even if a later branch is faster.
 *
 * @typeParam T The type of the items.
 */
export class Queue<T extends () => unknown> {
  readonly #entries: (T | Queue<T>)[] = [];

  get isEmpty(): boolean {
    return this.#entries.every((each) => each instanceof Queue && each.isEmpty);
  }

  push(item: T): void {
    this.#entries.push(item);
  }

  /** Returns the queue of a branch. */
  fork(): Queue<T> {
    const branch = new Queue<T>();
    this.#entries.push(branch);
    return branch;
  }

  /** Removes the first item and returns it. */
  shift(): T | undefined {
    for (const [index, entry] of this.#entries.entries()) {
      if (!(entry instanceof Queue)) {
        this.#entries.splice(index, 1);
        return entry;
      }
      const item = entry.shift();
      if (item !== undefined) return item;
    }
    return undefined;
  }
}
