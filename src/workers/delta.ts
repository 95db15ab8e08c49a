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

/** The exemplar that a bucket has now: `null` if it has none any more. */
type ExemplarChange = [bucket: number, exemplar: PackedExemplar | null];

/**
 * What an outcome of a label set holds, as it travels: its index among the
 * outcomes, its total, how many were cancelled, when the last one ended, its
 * exemplars that changed, and then the histogram, if it has one.
 */
type StatsDelta = [
  outcome: number,
  total: number,
  cancelled: number,
  lastEnd: number,
  exemplars: ExemplarChange[],
  ...histogram: PackedNumber[],
];

/**
 * A label set whose cells changed, as it travels. Values are what is counted by
 * now, not by how much it grew: one told twice does no harm.
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

/** What a tree holds that is not so in the one told last, if there is one. */
export function diff(
  tree: SeriesTree,
  sent: SeriesTree | undefined,
): SeriesDelta[] {
  const changes: SeriesDelta[] = [];
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
      changes.push([lane, pipeline, stage, running, startSum, outcomes]);
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
  return changes;
}

/** Makes a tree hold what another one's changes tell. */
export function applyDelta(
  tree: SeriesTree,
  changes: readonly SeriesDelta[],
): void {
  for (const [lane, pipeline, stage, running, startSum, outcomes] of changes) {
    const node = tree.pipeline(lane, pipeline);
    const series = stage === null ? node.startSeries() : node.stage(stage);
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

/** Returns whether one tree has counted less of something than another one. */
export function isBelow(tree: SeriesTree, floor: SeriesTree): boolean {
  return wouldDecrease(diff(tree, undefined), floor, true);
}

/**
 * Returns whether changes would make something fall that a tree has counted.
 *
 * @param isFullState Whether what they leave out is gone.
 */
export function wouldDecrease(
  changes: readonly SeriesDelta[],
  tree: SeriesTree,
  isFullState = false,
): boolean {
  const wouldDecrease = changes.some(
    ([lane, pipeline, stage, , , outcomes]) => {
      const series = findSeries(tree, lane, pipeline, stage);
      return outcomes.some(([index, total, cancelled, , , ...histogram]) => {
        const known = series?.[OUTCOME_LABELS[index]!];
        return known !== undefined &&
          areStatsBelow({ total, cancelled, histogram }, known);
      });
    },
  );
  return wouldDecrease || isFullState && lacksCounts(changes, tree);
}

/** Returns whether a tree has counted something of which changes do not speak. */
function lacksCounts(
  changes: readonly SeriesDelta[],
  tree: SeriesTree,
): boolean {
  const keyOf = (...labels: readonly unknown[]) => JSON.stringify(labels);
  const present = new Set(
    changes.flatMap(([lane, pipeline, stage, , , outcomes]) =>
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

/** Of other buckets only the totals can be compared. */
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
    const exemplars = exemplarChanges(stats, known?.[outcome]);
    const packed = Array.from(histogram, packNumber);
    changes.push([index, total, cancelled, lastEnd, exemplars, ...packed]);
  }
  return changes;
}

/** They are larger than all else together: only those that changed are told. */
function exemplarChanges(
  { exemplars = new Map() }: OutcomeStats,
  known: OutcomeStats | undefined,
): ExemplarChange[] {
  const changes: ExemplarChange[] = [];
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
