import { clearTimeout, setTimeout } from "node:timers";

/** So much at once is counted, in milliseconds, however long it took. */
const STEP_MS = 50;

/**
 * Calls back when so many milliseconds have passed in which the event loop ran.
 *
 * While it stands still, nothing is heard, and what was said meanwhile waits behind the
 * timers: whoever then gave up would call others silent whom it did not listen to.
 *
 * @param isRef Whether the process lives on for it.
 * @returns What stops it.
 */
export function setLoopTimeout(
  callback: () => void,
  milliseconds: number,
  isRef = true,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const step = (left: number) => {
    // One more turn, to hear what came during the last step.
    const next = left > 0 ? () => step(left - STEP_MS) : callback;
    timer = setTimeout(next, Math.max(0, Math.min(left, STEP_MS)));
    if (!isRef) timer.unref();
  };
  step(milliseconds);
  return () => clearTimeout(timer);
}

/** What a promise gives within so many milliseconds, else `undefined`. */
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
 * Lets calls that come together share one run.
 *
 * Callers never join a run that has started, so results are never older than the
 * call. Of each key, one run is under way at the most, and one waits.
 *
 * @param run Only calls with the same key share a run.
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
