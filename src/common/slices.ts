import { setImmediate } from "node:timers";

/** How many items are handled in one turn of the event loop: a few milliseconds. */
const SLICE_SIZE = 500;

/** How many items may still be handled in this turn, by all callers together. */
let remaining = SLICE_SIZE;

/** The next turn, if a caller waits for it. */
let nextTurn: Promise<void> | undefined;

/**
 * Counts items that were handled.
 *
 * @returns A promise to await before the next items, if this turn has had enough.
 */
export function countItems(items: number): Promise<void> | undefined {
  remaining -= items;
  if (remaining > 0) return undefined;
  return nextTurn ??= new Promise((resolve) =>
    setImmediate(() => {
      remaining = SLICE_SIZE;
      nextTurn = undefined;
      resolve();
    })
  );
}

/** Calls a function with each item, and lets the event loop run in between. */
export async function forEachInSlices<T>(
  items: Iterable<T>,
  visit: (item: T) => void,
): Promise<void> {
  for (const item of items) {
    visit(item);
    const turn = countItems(1);
    if (turn !== undefined) await turn;
  }
}
