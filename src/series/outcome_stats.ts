import {
  type Exemplar,
  isSameExemplar,
  latestExemplar,
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "../exposition/exemplar.ts";
import { type PackedNumber, packNumber } from "../exposition/numbers.ts";

/** A changed exemplar of a bucket: `null` if it was removed. */
type ExemplarDelta = [bucket: number, exemplar: PackedExemplar | null];

/**
 * The stats of an outcome in a form that JSON can hold. Numbers are totals, so a delta
 * can be applied twice. Only changed exemplars are included, because exemplars are larger
 * than all other fields together.
 */
export type StatsDelta = [
  total: number,
  cancelled: number,
  lastEnd: number,
  exemplars: ExemplarDelta[],
  /** Empty if there is no histogram. */
  ...histogram: PackedNumber[],
];

/** The counts of one outcome of a label set. `Series.record()` adds to them. */
export class OutcomeStats {
  /** The number of executions. */
  total = 0;
  /** The number of executions cancelled by their caller or consumer. */
  cancelled = 0;
  /** The Unix time of the last end, in seconds. For stages, it is always 0. */
  lastEnd = 0;
  /**
   * The number of observations in each bucket, not cumulative, including `+Inf`, and then
   * their sum. The first observation creates it.
   */
  histogram: Float64Array | undefined;
  /** The last traced observation in each bucket. The first one creates the map. */
  exemplars: Map<number, Exemplar> | undefined;

  /**
   * Returns a copy.
   *
   * @param histogram The histogram of the copy, which shares it.
   */
  copy(histogram: Float64Array | undefined): OutcomeStats {
    const copy = new OutcomeStats();
    copy.total = this.total;
    copy.cancelled = this.cancelled;
    copy.lastEnd = this.lastEnd;
    copy.histogram = histogram;
    copy.exemplars = this.exemplars && new Map(this.exemplars);
    return copy;
  }

  /**
   * Adds the counts of other stats.
   *
   * @param buckets The index in this histogram for each index in the other one.
   */
  add(stats: OutcomeStats, buckets: readonly number[]): void {
    this.total += stats.total;
    this.cancelled += stats.cancelled;
    this.lastEnd = Math.max(this.lastEnd, stats.lastEnd);
    if (stats.histogram === undefined) return;
    this.histogram ??= new Float64Array(buckets.at(-1)! + 1);
    for (const [from, to] of buckets.entries()) {
      this.histogram[to]! += stats.histogram[from]!;
    }
    for (const [from, exemplar] of stats.exemplars ?? []) {
      const to = buckets[from]!;
      this.exemplars ??= new Map();
      this.exemplars.set(
        to,
        latestExemplar([this.exemplars.get(to), exemplar])!,
      );
    }
  }

  /** Returns the delta that turns known stats into these, if they differ. */
  diff(known: OutcomeStats | undefined): StatsDelta | undefined {
    if (known !== undefined && haveSameCounts(this, known)) return undefined;
    return [
      this.total,
      this.cancelled,
      this.lastEnd,
      diffExemplars(this.exemplars, known?.exemplars),
      ...Array.from(this.histogram ?? [], packNumber),
    ];
  }

  /** Applies a delta. */
  apply(
    [total, cancelled, lastEnd, exemplars, ...histogram]: StatsDelta,
  ): void {
    this.total = total;
    this.cancelled = cancelled;
    this.lastEnd = lastEnd;
    if (histogram.length > 0) {
      this.histogram = Float64Array.from(histogram, Number);
    }
    for (const [bucket, packed] of exemplars) {
      this.exemplars ??= new Map();
      if (packed === null) this.exemplars.delete(bucket);
      else this.exemplars.set(bucket, unpackExemplar(packed));
    }
  }

  /**
   * Returns whether applying a delta would lower a count. Histograms are compared only
   * if they have the same number of buckets.
   */
  isLoweredBy([total, cancelled, , , ...histogram]: StatsDelta): boolean {
    if (total < this.total || cancelled < this.cancelled) return true;
    const own = this.histogram;
    return histogram.length === own?.length &&
      histogram.some((value, index) => Number(value) < own[index]!);
  }
}

function haveSameCounts(stats: OutcomeStats, known: OutcomeStats): boolean {
  const { histogram } = stats;
  return stats.total === known.total &&
    stats.cancelled === known.cancelled &&
    stats.lastEnd === known.lastEnd &&
    histogram?.length === known.histogram?.length &&
    (histogram?.every((value, i) => value === known.histogram![i]) ?? true);
}

function diffExemplars(
  exemplars: ReadonlyMap<number, Exemplar> = new Map(),
  known: ReadonlyMap<number, Exemplar> = new Map(),
): ExemplarDelta[] {
  const deltas: ExemplarDelta[] = [];
  for (const [bucket, exemplar] of exemplars) {
    if (isSameExemplar(exemplar, known.get(bucket))) continue;
    deltas.push([bucket, packExemplar(exemplar)]);
  }
  for (const bucket of known.keys()) {
    if (!exemplars.has(bucket)) deltas.push([bucket, null]);
  }
  return deltas;
}
