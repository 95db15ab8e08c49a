import type { UnixTime } from "../common/clock.ts";
import type { OutcomeLabel } from "../common/outcome.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import type { LabelSet } from "../exposition/label_set.ts";
import { OutcomeStats } from "./outcome_stats.ts";

/** The counts of one label set, for reading. */
export interface SeriesView {
  /** The labels, without the outcome. */
  readonly labels: LabelSet;
  readonly success: OutcomeStats;
  readonly failure: OutcomeStats;
  readonly timeout: OutcomeStats;
  readonly unknown: OutcomeStats | undefined;
  /** The number of executions in progress. */
  readonly running: number;
  /** Returns the summed age of the executions in progress, in seconds. */
  ageAt(now: number): number;
}

/** The series that metrics show, in a tree or in a copy of it. */
export interface SeriesSource {
  /** Upper bounds in seconds, without `+Inf`. */
  readonly pipelineBounds: Float64Array;
  /** Upper bounds in seconds, without `+Inf`. */
  readonly stageBounds: Float64Array;
  /** Returns the series of pipelines. */
  pipelineSeries(): Iterable<SeriesView>;
  /** Returns the series of stages. */
  stageSeries(): Iterable<SeriesView>;
}

/**
 * The counts of one label set: executions in progress, and ended executions by outcome.
 *
 * A scope looks up its series once, when it starts, and then holds it.
 */
export class Series implements SeriesView {
  readonly labels: LabelSet;
  readonly success: OutcomeStats = new OutcomeStats();
  readonly failure: OutcomeStats = new OutcomeStats();
  readonly timeout: OutcomeStats = new OutcomeStats();
  /** The stats of invalid outcomes. */
  unknown: OutcomeStats | undefined;
  running = 0;
  /** The start time of an execution. Relative to it, sums are precise. */
  #origin = 0;
  /** The sum of the start times of the executions in progress, relative to `#origin`. */
  #sinceOrigin = 0;
  readonly #bounds: Float64Array;
  /** Set for pipelines, whose last end is recorded. */
  readonly #unixTime: UnixTime | undefined;

  constructor(
    labels: LabelSet,
    bounds: Float64Array,
    unixTime: UnixTime | undefined,
  ) {
    this.labels = labels;
    this.#bounds = bounds;
    this.#unixTime = unixTime;
    this.success.histogram = emptyHistogram(bounds);
  }

  /** Counts an execution that starts, at `now` in seconds. */
  start(now: number): void {
    if (this.running++ === 0) this.#origin = now;
    else this.#sinceOrigin += now - this.#origin;
  }

  /** Counts the end of an execution that started at `start`, in seconds. */
  stop(start: number): void {
    this.running--;
    // Reset if nothing is running, so that rounding errors do not add up.
    this.#sinceOrigin = this.running === 0
      ? 0
      : this.#sinceOrigin - (start - this.#origin);
  }

  ageAt(now: number): number {
    const age = this.running * (now - this.#origin) - this.#sinceOrigin;
    return Math.max(0, age);
  }

  /** The sum of the start times of the executions in progress, in seconds. */
  get startSum(): number {
    return this.running * this.#origin + this.#sinceOrigin;
  }

  set startSum(sum: number) {
    this.#origin = 0;
    this.#sinceOrigin = sum;
  }

  /**
   * Records an ended execution.
   *
   * This is one large function, because passing doubles to others can allocate.
   *
   * @param seconds The duration.
   * @param now The time of the end, by the clock of scopes, in seconds.
   * @param traceLabels The labels of the exemplar, if there is a trace.
   */
  record(
    outcome: OutcomeLabel,
    seconds: number,
    now: number,
    traceLabels: Exemplar["labelSet"] | undefined,
  ): OutcomeStats {
    const bounds = this.#bounds;
    const stats = this.stats(outcome);
    const histogram = stats.histogram ??= emptyHistogram(bounds);
    // Faster than a binary search: there are few bounds, and most durations are short.
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    histogram[bucket]!++;
    if (seconds !== Infinity) histogram[bounds.length + 1]! += seconds;
    stats.total++;
    if (this.#unixTime !== undefined) stats.lastEnd = this.#unixTime.of(now);
    if (traceLabels !== undefined) {
      stats.exemplars ??= new Map();
      stats.exemplars.set(bucket, {
        labelSet: traceLabels,
        value: seconds,
        timestamp: Date.now() / 1000,
      });
    }
    return stats;
  }

  /** Returns the stats of an outcome. */
  stats(outcome: OutcomeLabel): OutcomeStats {
    switch (outcome) {
      case "success":
        return this.success;
      case "failure":
        return this.failure;
      case "timeout":
        return this.timeout;
      case "unknown":
        return this.unknown ??= new OutcomeStats();
    }
  }
}

function emptyHistogram(bounds: Float64Array): Float64Array {
  return new Float64Array(bounds.length + 2);
}
