import type { UnixTime } from "../common/clock.ts";
import type { OutcomeLabel } from "../common/outcome.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import type { LabelSet } from "../exposition/label_set.ts";

/** What one outcome of a label set has counted. */
export class Ending {
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

/** What a series shows. */
export interface SeriesView {
  /** Its outcome aside. */
  readonly labels: LabelSet;
  readonly success: Ending;
  readonly failure: Ending;
  readonly timeout: Ending;
  readonly unknown: Ending | undefined;
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
  readonly success: Ending = new Ending();
  readonly failure: Ending = new Ending();
  readonly timeout: Ending = new Ending();
  /** Only recorders can be given what is no outcome. */
  unknown: Ending | undefined;
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
  ): Ending {
    const bounds = this.#bounds;
    const ending = this.ending(outcome);
    const histogram = ending.histogram ??= emptyHistogram(bounds);
    // So few bounds, most hits among the first: a linear search beats others.
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    histogram[bucket]!++;
    if (seconds !== Infinity) histogram[bounds.length + 1]! += seconds;
    ending.total++;
    if (this.#unixTime !== undefined) ending.lastEnd = this.#unixTime.of(now);
    if (traceLabels !== undefined) {
      ending.exemplars ??= new Map();
      ending.exemplars.set(bucket, {
        labelSet: traceLabels,
        value: seconds,
        timestamp: Date.now() / 1000,
      });
    }
    return ending;
  }

  /** What an outcome has counted. */
  ending(outcome: OutcomeLabel): Ending {
    switch (outcome) {
      case "success":
        return this.success;
      case "failure":
        return this.failure;
      case "timeout":
        return this.timeout;
      case "unknown":
        return this.unknown ??= new Ending();
    }
  }
}

function emptyHistogram(bounds: Float64Array): Float64Array {
  return new Float64Array(bounds.length + 2);
}
