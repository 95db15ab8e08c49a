import { describeError } from "./describe_error.ts";

/** Node looks the global up by a getter, each time: that is a tenth of a scope. */
const { performance } = globalThis;

/** The default clock: seconds, monotonic. */
export function monotonicSeconds(): number {
  return performance.now() / 1000;
}

/** For how long what was seen of the system's time counts, in seconds. */
const GLANCE_SECONDS = 1;

/**
 * Tells the Unix time of readings of another clock.
 *
 * Looking at the system's time costs as much as the whole recording of a scope: it
 * is done once a second, which is as often as it is set.
 */
export class UnixTime {
  #offset = 0;
  #glancedAt = NaN;

  /** The Unix time, in seconds, of a reading that was made just now. */
  of(now: number): number {
    if (!(Math.abs(now - this.#glancedAt) < GLANCE_SECONDS)) {
      this.#glancedAt = now;
      this.#offset = Date.now() / 1000 - now;
    }
    return now + this.#offset;
  }
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
