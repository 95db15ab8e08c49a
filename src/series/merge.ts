import { OUTCOME_LABELS } from "../common/outcome.ts";
import type { Series } from "./series.ts";
import { SeriesTree } from "./series_tree.ts";

/** A tree to merge with others. */
interface TreePart {
  readonly tree: SeriesTree;
  /** The merged tree's time minus this tree's time, in seconds. */
  readonly offset: number;
  /** Whether its running scopes are counted, because its thread has not ended. */
  readonly isAlive: boolean;
}

/**
 * Adds up trees, series by series.
 *
 * If buckets differ, the merged tree has the common buckets, whose counts are exact.
 *
 * @param limit The maximum number of series, unless a tree is larger.
 * @param onOverflow Called if the limit is exceeded.
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

/** Adds the counts of a series to a merged series. */
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
    if (stats !== undefined) into.stats(outcome).add(stats, buckets);
  }
}

/** Returns the bounds that all histograms have in common. */
function commonBounds(all: readonly Float64Array[]): number[] {
  const [first = new Float64Array(), ...others] = all;
  return [...first].filter((bound) =>
    others.every((bounds) => bounds.includes(bound))
  );
}

/**
 * Returns the index in another histogram for each index in a histogram: of the buckets,
 * including `+Inf`, and of the sum.
 */
function mapBuckets(from: Float64Array, to: Float64Array): number[] {
  const buckets = [...from].map((bound) => {
    const bucket = to.findIndex((each) => each >= bound);
    return bucket === -1 ? to.length : bucket;
  });
  return [...buckets, to.length, to.length + 1];
}
