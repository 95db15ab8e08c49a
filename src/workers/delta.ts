import { OUTCOME_LABELS } from "../common/outcome.ts";
import {
  isSameExemplar,
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "../exposition/exemplar.ts";
import { type PackedNumber, packNumber } from "../exposition/numbers.ts";
import type { OutcomeStats } from "../series/outcome_stats.ts";
import type { Series } from "../series/series.ts";
import type { SeriesTree } from "../series/series_tree.ts";

/** The current exemplar of a bucket: `null` if it was removed. */
type ExemplarDelta = [bucket: number, exemplar: PackedExemplar | null];

/**
 * The changed stats of one outcome, as they are sent: the index of the outcome, its
 * current values, the changed exemplars, and the cells of the histogram, if there is one.
 */
type StatsDelta = [
  outcome: number,
  total: number,
  cancelled: number,
  lastEnd: number,
  exemplars: ExemplarDelta[],
  ...histogram: PackedNumber[],
];

/**
 * A changed series, as it is sent. It contains current values, not increments: applying it
 * twice has no effect.
 */
export type SeriesDelta = [
  lane: string,
  pipeline: string,
  /** `null` for the pipeline itself. */
  stage: string | null,
  running: number,
  startSum: number,
  outcomes: StatsDelta[],
];

/** Returns the series of a tree that differ from the last sent state, if there is one. */
export function diff(
  tree: SeriesTree,
  sent: SeriesTree | undefined,
): SeriesDelta[] {
  const deltas: SeriesDelta[] = [];
  const add = (
    lane: string,
    pipeline: string,
    stage: string | null,
    series: Series,
    known: Series | undefined,
  ) => {
    const { running, startSum } = series;
    const outcomes = diffStats(series, known);
    if (
      outcomes.length > 0 || known === undefined ||
      running !== known.running || startSum !== known.startSum
    ) {
      deltas.push([lane, pipeline, stage, running, startSum, outcomes]);
    }
  };
  for (const node of tree.pipelines()) {
    const { lane, name, series } = node;
    const known = sent?.findPipeline(lane, name);
    if (series !== undefined) add(lane, name, null, series, known?.series);
    for (const [stage, series] of node.stages()) {
      add(lane, name, stage, series, known?.findStage(stage));
    }
  }
  return deltas;
}

/** Applies the changes of another thread's tree to a tree. */
export function applyDelta(
  tree: SeriesTree,
  deltas: readonly SeriesDelta[],
): void {
  for (const [lane, pipeline, stage, running, startSum, outcomes] of deltas) {
    const node = tree.getOrCreatePipeline(lane, pipeline);
    const series = stage === null
      ? node.getOrCreateSeries()
      : node.getOrCreateStage(stage);
    series.running = running;
    series.startSum = startSum;
    for (
      const [index, total, cancelled, lastEnd, exemplars, ...histogram]
        of outcomes
    ) {
      const stats = series.stats(OUTCOME_LABELS[index]!);
      stats.total = total;
      stats.cancelled = cancelled;
      stats.lastEnd = lastEnd;
      if (histogram.length > 0) {
        stats.histogram = Float64Array.from(histogram, Number);
      }
      for (const [bucket, packed] of exemplars) {
        stats.exemplars ??= new Map();
        if (packed === null) stats.exemplars.delete(bucket);
        else stats.exemplars.set(bucket, unpackExemplar(packed));
      }
    }
  }
}

/** Returns whether any count of a tree is lower than in another tree. */
export function isBelow(tree: SeriesTree, floor: SeriesTree): boolean {
  return wouldDecrease(diff(tree, undefined), floor, true);
}

/**
 * Returns whether changes would decrease a count of a tree.
 *
 * @param isFullState Whether the changes are a full state, in which a missing count is 0.
 */
export function wouldDecrease(
  deltas: readonly SeriesDelta[],
  tree: SeriesTree,
  isFullState = false,
): boolean {
  const hasDecrease = deltas.some(
    ([lane, pipeline, stage, , , outcomes]) => {
      const series = findSeries(tree, lane, pipeline, stage);
      return outcomes.some(([index, total, cancelled, , , ...histogram]) => {
        const known = series?.[OUTCOME_LABELS[index]!];
        return known !== undefined &&
          areStatsBelow({ total, cancelled, histogram }, known);
      });
    },
  );
  return hasDecrease || isFullState && lacksCounts(deltas, tree);
}

/** Returns whether a tree has counts that are missing from a full state. */
function lacksCounts(
  deltas: readonly SeriesDelta[],
  tree: SeriesTree,
): boolean {
  const keyOf = (...labels: readonly unknown[]) => JSON.stringify(labels);
  const present = new Set(
    deltas.flatMap(([lane, pipeline, stage, , , outcomes]) =>
      outcomes.map(([index]) => keyOf(lane, pipeline, stage, index))
    ),
  );
  return diff(tree, undefined)
    .some(([lane, pipeline, stage, , , outcomes]) =>
      outcomes.some(([index, total]) =>
        total > 0 && !present.has(keyOf(lane, pipeline, stage, index))
      )
    );
}

function findSeries(
  tree: SeriesTree,
  lane: string,
  pipeline: string,
  stage: string | null,
): Series | undefined {
  const node = tree.findPipeline(lane, pipeline);
  return stage === null ? node?.series : node?.findStage(stage);
}

/** Compares stats. With different buckets, only the totals can be compared. */
function areStatsBelow(
  { total, cancelled, histogram }:
    & Pick<OutcomeStats, "total" | "cancelled">
    & { readonly histogram: readonly PackedNumber[] },
  known: OutcomeStats,
): boolean {
  const isComparable = histogram.length === known.histogram?.length;
  return total < known.total || cancelled < known.cancelled ||
    isComparable &&
      histogram.some((value, cell) => Number(value) < known.histogram![cell]!);
}

function diffStats(
  series: Series,
  known: Series | undefined,
): StatsDelta[] {
  const changes: StatsDelta[] = [];
  for (const [index, outcome] of OUTCOME_LABELS.entries()) {
    const stats = series[outcome];
    if (stats === undefined || isSame(stats, known?.[outcome])) continue;
    const { total, cancelled, lastEnd, histogram = [] } = stats;
    const exemplars = diffExemplars(stats, known?.[outcome]);
    const packed = Array.from(histogram, packNumber);
    changes.push([index, total, cancelled, lastEnd, exemplars, ...packed]);
  }
  return changes;
}

/** Returns the changed exemplars only, as they are larger than all other values together. */
function diffExemplars(
  { exemplars = new Map() }: OutcomeStats,
  known: OutcomeStats | undefined,
): ExemplarDelta[] {
  const changes: ExemplarDelta[] = [];
  for (const [bucket, exemplar] of exemplars) {
    if (isSameExemplar(exemplar, known?.exemplars?.get(bucket))) continue;
    changes.push([bucket, packExemplar(exemplar)]);
  }
  for (const bucket of known?.exemplars?.keys() ?? []) {
    if (!exemplars.has(bucket)) changes.push([bucket, null]);
  }
  return changes;
}

function isSame(
  stats: OutcomeStats,
  known: OutcomeStats | undefined,
): boolean {
  return known !== undefined &&
    stats.total === known.total &&
    stats.cancelled === known.cancelled &&
    stats.lastEnd === known.lastEnd &&
    stats.histogram?.length === known.histogram?.length &&
    (stats.histogram?.every((value, i) => value === known.histogram![i]) ??
      true);
}
