import type { Exemplar } from "../exposition/exemplar.ts";

/** What one outcome of a label set has counted. */
export class OutcomeStats {
  /** How many ended so. */
  total = 0;
  /** How many of these a caller or a consumer had given up. */
  cancelled = 0;
  /** When the last pipeline ended so, in Unix seconds; 0 before the first. */
  lastEnd = 0;
  /**
   * Observations by bucket, the one of `+Inf` included and none added up, then
   * the sum of what was observed. It exists from the first observation.
   */
  histogram: Float64Array | undefined;
  /** Of each bucket the last observation that has a trace, once there is one. */
  exemplars: Map<number, Exemplar> | undefined;
}
