import { describeError } from "./issues.ts";

/** The default clock: seconds, monotonic. */
export function monotonicSeconds(): number {
  return performance.now() / 1000;
}

/**
 * Makes a user's clock safe to be read in the middle of somebody's work.
 *
 * @returns A clock that gives the last good reading where the user's fails.
 */
export function guardClock(
  clock: () => number,
  onError: (message: string) => void,
): () => number {
  let last = 0;
  return () => {
    try {
      const seconds = clock();
      if (Number.isFinite(seconds)) return last = seconds;
      onError("clock gave no finite number");
    } catch (error) {
      onError(`clock threw ${describeError(error)}`);
    }
    return last;
  };
}
