import {
  isSameExemplar,
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "./exemplar.ts";
import { OUTCOME_LABELS } from "./outcome.ts";
import type { Ending, Series, SeriesTree } from "./series.ts";

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
  ...histogram: number[],
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
      if (histogram.length > 0) ending.histogram = Float64Array.from(histogram);
      for (const [bucket, packed] of exemplars) {
        ending.exemplars ??= new Map();
        if (packed === null) ending.exemplars.delete(bucket);
        else ending.exemplars.set(bucket, unpackExemplar(packed));
      }
    }
  }
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
    changes.push([index, total, cancelled, lastEnd, exemplars, ...histogram]);
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
