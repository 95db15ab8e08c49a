import { setTimeout } from "node:timers/promises";

/** How long work may block the event loop, in milliseconds. */
const SLICE_MS = 5;

let turns: Promise<unknown> = Promise.resolve();

/** Waits for a turn of the event loop. Callers get one turn each, in order. */
export async function nextTurn(): Promise<void> {
  // The event loop runs all due timers before it reads from sockets. The second timer
  // is set in a later turn, so sockets are read before it fires.
  turns = turns.then(() => setTimeout(0)).then(() => setTimeout(0));
  await turns;
}

/**
 * Returns a function to call between the steps of long work. Every few milliseconds it
 * lets the event loop run, so that timeouts can fire, and throws the signal's reason
 * if the signal has aborted.
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
