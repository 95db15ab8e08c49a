import { OUTCOME_LABELS } from "../common/outcome.ts";
import { latestExemplar } from "../exposition/exemplar.ts";
import type { OutcomeStats } from "./outcome_stats.ts";
import type { Series } from "./series.ts";
import { SeriesTree } from "./series_tree.ts";

/** A tree that is merged with others. */
export interface TreePart {
  readonly tree: SeriesTree;
  /** What its clock lacks to that by which the merged one is read, in seconds. */
  readonly offset: number;
  /** Whether what it has running still runs. */
  readonly isAlive: boolean;
}

/**
 * Adds up trees, series by series.
 *
 * Where they have different buckets, the merged one has those that all of them
 * have: counts of these are exact, and of the others nobody could know.
 *
 * @param limit How many series there may be. One tree always has room for its own.
 * @param onOverflow Called if there were more.
 */
export function mergeTrees(
  parts: readonly TreePart[],
  limit: number = Infinity,
  onOverflow: () => void = () => {},
): SeriesTree {
  const trees = parts.map(({ tree }) => tree);
  let hasOverflowed = false;
  const merged = new SeriesTree(
    commonBounds(trees.map((tree) => tree.pipelineBounds)),
    commonBounds(trees.map((tree) => tree.stageBounds)),
    Math.max(limit, ...trees.map(({ size }) => size)),
  );
  for (const part of parts) {
    const { tree } = part;
    const pipelineBuckets = mapBuckets(
      tree.pipelineBounds,
      merged.pipelineBounds,
    );
    const stageBuckets = mapBuckets(tree.stageBounds, merged.stageBounds);
    for (const node of tree.pipelines()) {
      const into = merged.getOrCreatePipeline(node.lane, node.name);
      if (node.series !== undefined) {
        const sum = into.getOrCreateSeries();
        hasOverflowed ||= sum !== into.series;
        addSeries(sum, node.series, pipelineBuckets, part);
      }
      for (const [stage, series] of node.stages()) {
        const sum = into.getOrCreateStage(stage);
        hasOverflowed ||= sum !== into.findStage(stage);
        addSeries(sum, series, stageBuckets, part);
      }
    }
  }
  if (hasOverflowed) onOverflow();
  return merged;
}

function addSeries(
  into: Series,
  series: Series,
  buckets: readonly number[],
  { offset, isAlive }: TreePart,
): void {
  if (isAlive) {
    into.running += series.running;
    into.startSum += series.startSum + series.running * offset;
  }
  for (const outcome of OUTCOME_LABELS) {
    const stats = series[outcome];
    if (stats !== undefined) {
      addStats(into.stats(outcome), stats, buckets);
    }
  }
}

function addStats(
  into: OutcomeStats,
  { total, cancelled, lastEnd, histogram, exemplars = new Map() }: OutcomeStats,
  buckets: readonly number[],
): void {
  into.total += total;
  into.cancelled += cancelled;
  into.lastEnd = Math.max(into.lastEnd, lastEnd);
  if (histogram === undefined) return;
  into.histogram ??= new Float64Array(buckets.at(-1)! + 1);
  for (const [from, to] of buckets.entries()) {
    into.histogram[to]! += histogram[from]!;
  }
  for (const [from, exemplar] of exemplars) {
    const to = buckets[from]!;
    into.exemplars ??= new Map();
    into.exemplars.set(to, latestExemplar([into.exemplars.get(to), exemplar])!);
  }
}

function commonBounds(all: readonly Float64Array[]): number[] {
  const [first = new Float64Array(), ...others] = all;
  return [...first].filter((bound) =>
    others.every((bounds) => bounds.includes(bound))
  );
}

/** The bucket that each bucket, `+Inf` and then the sum included, is added to. */
function mapBuckets(from: Float64Array, to: Float64Array): number[] {
  const buckets = [...from].map((bound) => {
    const bucket = to.findIndex((each) => each >= bound);
    return bucket === -1 ? to.length : bucket;
  });
  return [...buckets, to.length, to.length + 1];
}
