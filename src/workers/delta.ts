import { OUTCOME_LABELS } from "../common/outcome.ts";
import type { StatsDelta } from "../series/outcome_stats.ts";
import type { Series } from "../series/series.ts";
import type { SeriesTree } from "../series/series_tree.ts";

/** The stats of an outcome, after its index in `OUTCOME_LABELS`. */
type OutcomeDelta = [outcome: number, ...StatsDelta];

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
  outcomes: OutcomeDelta[],
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
    for (const [index, ...delta] of outcomes) {
      series.stats(OUTCOME_LABELS[index]!).apply(delta);
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
      return outcomes.some(([index, ...delta]) =>
        series?.[OUTCOME_LABELS[index]!]?.isLoweredBy(delta) ?? false
      );
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

function diffStats(
  series: Series,
  known: Series | undefined,
): OutcomeDelta[] {
  const changes: OutcomeDelta[] = [];
  for (const [index, outcome] of OUTCOME_LABELS.entries()) {
    const delta = series[outcome]?.diff(known?.[outcome]);
    if (delta !== undefined) changes.push([index, ...delta]);
  }
  return changes;
}
