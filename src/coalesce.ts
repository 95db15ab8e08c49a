/**
 * Lets calls that come together share one run.
 *
 * A call never gets a run that began before it: what was true when it came is
 * what its result tells. So one run is under way at the most, and one waits.
 */
export function coalesce<T>(run: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let waiting: Promise<T> | undefined;
  return () =>
    waiting ??= last.then(() => {
      waiting = undefined;
      const running = run();
      last = running.catch(() => {});
      return running;
    });
}
