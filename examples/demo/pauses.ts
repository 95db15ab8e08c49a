import { setTimeout } from "node:timers/promises";

/** How long work may keep everything else waiting, in milliseconds. */
const SLICE_MS = 5;

let turns: Promise<unknown> = Promise.resolve();

/** Waits for a turn of the event loop that no other work has. */
export async function nextTurn(): Promise<void> {
  // Due timers follow each other without a look at what clients send. The second
  // one begins when the work of this turn is done, and so is not due at once.
  turns = turns.then(() => setTimeout(0)).then(() => setTimeout(0));
  await turns;
}

/**
 * Returns a function to call between the pieces of long work. Where the last pause
 * is a while ago, it lets the event loop run, without which no deadline could fire,
 * and then throws the signal's reason if the work is not wanted any more.
 */
export function createPauses(signal?: AbortSignal): () => Promise<void> {
  let end = performance.now() + SLICE_MS;
  return async () => {
    if (performance.now() < end) return;
    await nextTurn();
    signal?.throwIfAborted();
    end = performance.now() + SLICE_MS;
  };
}
