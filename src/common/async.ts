import { clearTimeout, setTimeout } from "node:timers";

/** The longest plain timer of a loop timeout, in milliseconds. */
const STEP_MS = 50;

/**
 * Calls a function after a delay during which the event loop was running.
 *
 * A plain timer also counts the time during which the event loop is blocked, and fires
 * before the messages that arrived meanwhile are received. This consists of short timers,
 * so it counts at most 50 ms of a blocked period.
 *
 * @param isRef Whether the timer keeps the process running.
 * @returns A function that clears the timer.
 */
export function setLoopTimeout(
  callback: () => void,
  milliseconds: number,
  isRef = true,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const step = (left: number) => {
    // One more turn of the loop, to receive messages that arrived during the last step.
    const next = left > 0 ? () => step(left - STEP_MS) : callback;
    timer = setTimeout(next, Math.max(0, Math.min(left, STEP_MS)));
    if (!isRef) timer.unref();
  };
  step(milliseconds);
  return () => clearTimeout(timer);
}

/** Returns the value of a promise, or `undefined` if a loop timeout comes first. */
export async function withTimeout<T>(
  promise: Promise<T>,
  milliseconds: number,
): Promise<T | undefined> {
  if (milliseconds === Infinity) return await promise;
  let stop: () => void;
  const timeout = new Promise<undefined>((resolve) => {
    stop = setLoopTimeout(() => resolve(undefined), milliseconds);
  });
  return await Promise.race([promise, timeout]).finally(() => stop());
}

/**
 * Returns a function whose concurrent calls share one run.
 *
 * Callers never join a run already started, so results are never older than the call.
 * For each key, at most one run is in progress and one is waiting.
 *
 * @param run The function to run. Only calls with the same key share a run.
 */
export function coalesce<K, T>(
  run: (key: K) => Promise<T>,
): (key: K) => Promise<T> {
  const last = new Map<K, Promise<unknown>>();
  const waiting = new Map<K, Promise<T>>();
  const start = (key: K) => {
    waiting.delete(key);
    const running = run(key);
    const ended = running.catch(() => {}).then(() => {
      if (last.get(key) === ended) last.delete(key);
    });
    last.set(key, ended);
    return running;
  };
  return (key) => {
    let next = waiting.get(key);
    if (next === undefined) {
      next = (last.get(key) ?? Promise.resolve()).then(() => start(key));
      waiting.set(key, next);
    }
    return next;
  };
}
