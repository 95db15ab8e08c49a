import { OUTCOME_LABELS } from "../common/outcome.ts";
import {
  isSameExemplar,
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "../exposition/exemplar.ts";
import { type PackedNumber, packNumber } from "../exposition/numbers.ts";
import type { Ending, Series } from "../series/series.ts";
import type { SeriesTree } from "../series/series_tree.ts";

/** The exemplar that a bucket has now: `null` if it has none any more. */
type ExemplarChange = [bucket: number, exemplar: PackedExemplar | null];

/**
 * What an outcome of a label set holds, as it travels: its index among the
 * outcomes, its total, how many were cancelled, when the last one ended, its
 * exemplars that changed, and then the histogram, if it has one.
 */
type EndingChange = [
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
export type SeriesChange = [
  lane: string,
  pipeline: string,
  /** `null` for the pipeline itself. */
  stage: string | null,
  running: number,
  startSum: number,
  endings: EndingChange[],
];

/** What a tree holds that is not so in the one told last, if there is one. */
export function changesOf(
  tree: SeriesTree,
  told: SeriesTree | undefined,
): SeriesChange[] {
  const changes: SeriesChange[] = [];
  const add = (
    lane: string,
    pipeline: string,
    stage: string | null,
    series: Series,
    known: Series | undefined,
  ) => {
    const { running, startSum } = series;
    const endings = endingChanges(series, known);
    if (
      endings.length > 0 || known === undefined ||
      running !== known.running || startSum !== known.startSum
    ) {
      changes.push([lane, pipeline, stage, running, startSum, endings]);
    }
  };
  for (const node of tree.pipelines()) {
    const { lane, name, series } = node;
    const known = told?.findPipeline(lane, name);
    if (series !== undefined) add(lane, name, null, series, known?.series);
    for (const [stage, series] of node.stages()) {
      add(lane, name, stage, series, known?.findStage(stage));
    }
  }
  return changes;
}

/** Makes a tree hold what another one's changes tell. */
export function applyChanges(
  tree: SeriesTree,
  changes: readonly SeriesChange[],
): void {
  for (const [lane, pipeline, stage, running, startSum, endings] of changes) {
    const node = tree.pipeline(lane, pipeline);
    const series = stage === null ? node.startSeries() : node.stage(stage);
    series.running = running;
    series.startSum = startSum;
    for (
      const [index, total, cancelled, lastEnd, exemplars, ...histogram]
        of endings
    ) {
      const ending = series.ending(OUTCOME_LABELS[index]!);
      ending.total = total;
      ending.cancelled = cancelled;
      ending.lastEnd = lastEnd;
      if (histogram.length > 0) {
        ending.histogram = Float64Array.from(histogram, Number);
      }
      for (const [bucket, packed] of exemplars) {
        ending.exemplars ??= new Map();
        if (packed === null) ending.exemplars.delete(bucket);
        else ending.exemplars.set(bucket, unpackExemplar(packed));
      }
    }
  }
}

/** Returns whether one tree has counted less of something than another one. */
export function isBelow(tree: SeriesTree, floor: SeriesTree): boolean {
  return areBelow(changesOf(tree, undefined), floor, true);
}

/**
 * Returns whether changes would make something fall that a tree has counted.
 *
 * @param isWhole Whether what they leave out is gone.
 */
export function areBelow(
  changes: readonly SeriesChange[],
  tree: SeriesTree,
  isWhole = false,
): boolean {
  const isFalling = changes.some(([lane, pipeline, stage, , , endings]) => {
    const series = findSeries(tree, lane, pipeline, stage);
    return endings.some(([index, total, cancelled, , , ...histogram]) => {
      const known = series?.[OUTCOME_LABELS[index]!];
      return known !== undefined &&
        isEndingBelow({ total, cancelled, histogram }, known);
    });
  });
  return isFalling || isWhole && lacksCounts(changes, tree);
}

/** Returns whether a tree has counted something of which changes do not speak. */
function lacksCounts(
  changes: readonly SeriesChange[],
  tree: SeriesTree,
): boolean {
  const keyOf = (...labels: readonly unknown[]) => JSON.stringify(labels);
  const present = new Set(
    changes.flatMap(([lane, pipeline, stage, , , endings]) =>
      endings.map(([index]) => keyOf(lane, pipeline, stage, index))
    ),
  );
  return changesOf(tree, undefined)
    .some(([lane, pipeline, stage, , , endings]) =>
      endings.some(([index, total]) =>
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
function isEndingBelow(
  { total, cancelled, histogram }:
    & Pick<Ending, "total" | "cancelled">
    & { readonly histogram: readonly PackedNumber[] },
  known: Ending,
): boolean {
  const isComparable = histogram.length === known.histogram?.length;
  return total < known.total || cancelled < known.cancelled ||
    isComparable &&
      histogram.some((value, cell) => Number(value) < known.histogram![cell]!);
}

function endingChanges(
  series: Series,
  known: Series | undefined,
): EndingChange[] {
  const changes: EndingChange[] = [];
  for (const [index, outcome] of OUTCOME_LABELS.entries()) {
    const ending = series[outcome];
    if (ending === undefined || isSame(ending, known?.[outcome])) continue;
    const { total, cancelled, lastEnd, histogram = [] } = ending;
    const exemplars = exemplarChanges(ending, known?.[outcome]);
    const packed = Array.from(histogram, packNumber);
    changes.push([index, total, cancelled, lastEnd, exemplars, ...packed]);
  }
  return changes;
}

/** They are larger than all else together: only those that changed are told. */
function exemplarChanges(
  { exemplars = new Map() }: Ending,
  known: Ending | undefined,
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

function isSame(ending: Ending, known: Ending | undefined): boolean {
  return known !== undefined &&
    ending.total === known.total &&
    ending.cancelled === known.cancelled &&
    ending.lastEnd === known.lastEnd &&
    ending.histogram?.length === known.histogram?.length &&
    (ending.histogram?.every((value, i) => value === known.histogram![i]) ??
      true);
}
