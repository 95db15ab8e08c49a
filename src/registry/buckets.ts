/** The default prefix. Dashboards of all services use its metrics and buckets. */
export const DEFAULT_PREFIX = "lukhas_orchestration_";

/**
 * The upper bounds, in seconds, of the buckets of
 * `lukhas_orchestration_pipeline_duration_seconds`.
 *
 * For work that takes minutes, extend them upwards:
 *
 * @example
 * ```ts
 * import { createStageMetrics, PIPELINE_BUCKETS } from "@lukhas/stage-metrics";
 * import { Registry } from "prom-client";
 *
 * createStageMetrics({
 *   registry: new Registry(),
 *   pipelineBuckets: [...PIPELINE_BUCKETS, 10, 30, 60, 120, 300],
 * });
 * ```
 */
export const PIPELINE_BUCKETS: readonly number[] = Object.freeze(
  [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1, 2.5, 5],
);

/**
 * The upper bounds, in seconds, of the buckets of
 * `lukhas_orchestration_stage_duration_seconds`.
 *
 * @example
 * ```ts
 * import { STAGE_BUCKETS } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(STAGE_BUCKETS.at(0), 0.001);
 * assertEquals(STAGE_BUCKETS.at(-1), 1);
 * ```
 */
export const STAGE_BUCKETS: readonly number[] = Object.freeze(
  [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
);

/**
 * Checks the bounds of an option.
 *
 * @param option The name of the option, for the message.
 * @throws {TypeError} If the bounds are not an array of numbers.
 * @throws {RangeError} If the bounds are empty, negative, not finite or not increasing.
 */
export function checkBuckets(option: string, buckets: readonly number[]): void {
  if (
    !Array.isArray(buckets) || buckets.some((each) => typeof each !== "number")
  ) {
    throw new TypeError(
      `Cannot create a histogram: ${option} must be an array of numbers`,
    );
  }
  if (buckets.length === 0) {
    throw new RangeError(
      `Cannot create a histogram: ${option} must not be empty`,
    );
  }
  for (const [i, bound] of buckets.entries()) {
    if (!Number.isFinite(bound)) {
      throw new RangeError(
        `Cannot create a histogram: ${option} must be finite, got ${bound} ("+Inf" is added automatically)`,
      );
    }
    // Durations are not negative, and OpenMetrics allows no sum beside such a bucket.
    if (bound < 0) {
      throw new RangeError(
        `Cannot create a histogram: ${option} must not be negative, got ${bound}`,
      );
    }
    if (i > 0 && bound <= buckets[i - 1]!) {
      throw new RangeError(
        `Cannot create a histogram: ${option} must increase, got ${bound} after ${
          buckets[i - 1]
        }`,
      );
    }
  }
}

/**
 * Checks that bounds begin with the standard bounds.
 *
 * @param option The name of the option, for the message.
 * @throws {RangeError} If they do not.
 */
export function checkExtends(
  option: string,
  buckets: readonly number[],
  standard: readonly number[],
): void {
  if (beginsWith(buckets, standard)) return;
  throw new RangeError(
    `Cannot create a histogram: under the default prefix ${option} must begin with the standard ${
      standard.join(", ")
    }, which dashboards of other services use: add only larger ones, or set another prefix`,
  );
}

/** Returns whether bounds begin with given bounds. */
export function beginsWith(
  buckets: readonly number[],
  start: readonly number[],
): boolean {
  return start.every((bound, i) => buckets[i] === bound);
}
