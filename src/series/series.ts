import type { UnixTime } from "../common/clock.ts";
import type { OutcomeLabel } from "../common/outcome.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import type { LabelSet } from "../exposition/label_set.ts";
import { OutcomeStats } from "./outcome_stats.ts";

/** What a series shows. */
export interface SeriesView {
  /** Its outcome aside. */
  readonly labels: LabelSet;
  readonly success: OutcomeStats;
  readonly failure: OutcomeStats;
  readonly timeout: OutcomeStats;
  readonly unknown: OutcomeStats | undefined;
  /** How many are running. */
  readonly running: number;
  /** The summed age of those running, in seconds. */
  ageAt(now: number): number;
}

/** What metrics are made of: a tree, or what one held at some instant. */
export interface SeriesSource {
  /** Upper bounds in seconds, without `+Inf`. */
  readonly pipelineBounds: Float64Array;
  /** Upper bounds in seconds, without `+Inf`. */
  readonly stageBounds: Float64Array;
  /** The series of pipelines. */
  pipelineSeries(): Iterable<SeriesView>;
  /** The series of stages. */
  stageSeries(): Iterable<SeriesView>;
}

/**
 * One label set, without its outcome: what runs under it, and how it ended.
 *
 * A scope looks its series up once, when it starts, and then holds it.
 */
export class Series implements SeriesView {
  readonly labels: LabelSet;
  readonly success: OutcomeStats = new OutcomeStats();
  readonly failure: OutcomeStats = new OutcomeStats();
  readonly timeout: OutcomeStats = new OutcomeStats();
  /** Only recorders can be given what is no outcome. */
  unknown: OutcomeStats | undefined;
  running = 0;
  /** When the first of those running started: sums of large times are inexact. */
  #origin = 0;
  /** The sum of how long after that those running started. */
  #sinceOrigin = 0;
  readonly #bounds: Float64Array;
  /** Of pipelines alone it is kept when they ended. */
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

  /** One more is running, since `now` in seconds. */
  start(now: number): void {
    if (this.running++ === 0) this.#origin = now;
    else this.#sinceOrigin += now - this.#origin;
  }

  /** One that was running since `start` runs no more. */
  stop(start: number): void {
    this.running--;
    // Starting over at 0 when nothing runs keeps rounding errors from adding up.
    this.#sinceOrigin = this.running === 0
      ? 0
      : this.#sinceOrigin - (start - this.#origin);
  }

  ageAt(now: number): number {
    const age = this.running * (now - this.#origin) - this.#sinceOrigin;
    return Math.max(0, age);
  }

  /** The sum of the times at which those running started, in seconds, as it travels. */
  get startSum(): number {
    return this.running * this.#origin + this.#sinceOrigin;
  }

  set startSum(sum: number) {
    this.#origin = 0;
    this.#sinceOrigin = sum;
  }

  /**
   * Counts one that ended so at `now`, after so many seconds.
   *
   * @param traceLabels By what its trace is found, if there is one.
   *
   * All of it is here, as a number that is handed on to a function is a number
   * that is allocated.
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
    // So few bounds, most hits among the first: a linear search beats others.
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

  /** What an outcome has counted. */
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
