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
