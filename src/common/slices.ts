import { setImmediate } from "node:timers";

/** The number of items per turn of the event loop. They take a few milliseconds. */
const SLICE_SIZE = 500;

/** The number of items left in this turn, for all callers together. */
let remaining = SLICE_SIZE;

/** The next turn, if a caller is waiting for it. */
let nextTurn: Promise<void> | undefined;

/**
 * Counts processed items, so that long loops let other work run.
 *
 * @returns A promise to await before processing more items, if enough were processed in
 * this turn of the event loop.
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

/** Calls a function for each item, and lets other work run in between. */
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
