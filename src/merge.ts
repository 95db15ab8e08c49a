import { lastExemplar } from "./exemplar.ts";
import { OUTCOME_LABELS } from "./outcome.ts";
import {
  type GatheredFamily,
  type GatheredSample,
  sampleKey,
} from "./samples.ts";
import { type Ending, type Series, SeriesTree } from "./series.ts";

/**
 * Makes the families of several sources those of one: what they share by name
 * and labels is merged as prom-client's cluster registry does it, by aggregator.
 *
 * @param onConflict Told of a family that is left out, as it is of another type
 * than the one of that name before it.
 */
export function mergeFamilies(
  families: Iterable<GatheredFamily>,
  onConflict: (left: GatheredFamily, type: string) => void,
): GatheredFamily[] {
  const byName = new Map<string, [GatheredFamily, ...GatheredFamily[]]>();
  for (const family of families) {
    const same = byName.get(family.name);
    if (same === undefined) byName.set(family.name, [family]);
    else if (same[0].type === family.type) same.push(family);
    else onConflict(family, same[0].type);
  }
  return [...byName.values()].map((same) =>
    same.length === 1 ? same[0] : mergeSame(same)
  );
}

function mergeSame(
  families: readonly [GatheredFamily, ...GatheredFamily[]],
): GatheredFamily {
  const [{ name, help, type, aggregator }] = families;
  const samples = families.flatMap((family) => family.samples);
  return {
    name,
    help,
    type,
    aggregator,
    samples: mergeSamples(samples, aggregator),
  };
}

function mergeSamples(
  samples: readonly GatheredSample[],
  aggregator: string,
): GatheredSample[] {
  const groups = new Map<string, GatheredSample[]>();
  for (const sample of samples) {
    const key = sampleKey(sample);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sample]);
    else group.push(sample);
  }
  return [...groups.values()].map((group) => ({
    ...group[0]!,
    value: aggregate(group.map(({ value }) => value), aggregator),
    exemplar: lastExemplar(group.map(({ exemplar }) => exemplar)),
  }));
}

function aggregate(values: readonly number[], aggregator: string): number {
  const sum = values.reduce((total, value) => total + value, 0);
  switch (aggregator) {
    case "sum":
      return sum;
    case "average":
      return sum / values.length;
    case "min":
      return Math.min(...values);
    case "max":
      return Math.max(...values);
    default:
      return values[0]!;
  }
}

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
 */
export function mergeTrees(parts: readonly TreePart[]): SeriesTree {
  const trees = parts.map(({ tree }) => tree);
  const merged = new SeriesTree(
    commonBounds(trees.map((tree) => tree.pipelineBounds)),
    commonBounds(trees.map((tree) => tree.stageBounds)),
  );
  for (const part of parts) {
    const { tree } = part;
    const pipelineBuckets = mapBuckets(
      tree.pipelineBounds,
      merged.pipelineBounds,
    );
    const stageBuckets = mapBuckets(tree.stageBounds, merged.stageBounds);
    for (const node of tree.pipelines()) {
      const into = merged.pipeline(node.lane, node.name);
      if (node.series !== undefined) {
        addSeries(into.startSeries(), node.series, pipelineBuckets, part);
      }
      for (const [stage, series] of node.stages()) {
        addSeries(into.stage(stage), series, stageBuckets, part);
      }
    }
  }
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
    const ending = series[outcome];
    if (ending !== undefined) {
      addEnding(into.ending(outcome), ending, buckets);
    }
  }
}

function addEnding(
  into: Ending,
  { total, cancelled, lastEnd, histogram, exemplars = new Map() }: Ending,
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
    into.exemplars.set(to, lastExemplar([into.exemplars.get(to), exemplar])!);
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
