import { type Exemplar, lastExemplar } from "./exemplar.ts";
import { OUTCOME_LABELS } from "./outcome.ts";
import type { GatheredFamily, GatheredSample } from "./samples.ts";
import { type Ending, type Series, SeriesTree } from "./series.ts";
import { forEachInSlices } from "./slices.ts";

/**
 * Makes the families of several sources those of one: what they share by name
 * and labels is merged as prom-client's cluster registry does it, by aggregator.
 *
 * @param onConflict Called with a family that is left out, as an earlier one of its name
 * is of another type.
 */
export async function mergeFamilies(
  families: Iterable<GatheredFamily>,
  onConflict: (left: GatheredFamily, type: string) => void,
): Promise<GatheredFamily[]> {
  const byName = new Map<string, [GatheredFamily, ...GatheredFamily[]]>();
  for (const family of families) {
    const same = byName.get(family.name);
    if (same === undefined) byName.set(family.name, [family]);
    else if (same[0].type === family.type) same.push(family);
    else onConflict(family, same[0].type);
  }
  const merged: GatheredFamily[] = [];
  for (const same of byName.values()) {
    merged.push(same.length === 1 ? same[0] : await mergeSame(same));
  }
  return merged;
}

async function mergeSame(
  families: readonly [GatheredFamily, ...GatheredFamily[]],
): Promise<GatheredFamily> {
  const [{ name, help, type, aggregator }] = families;
  const merged = new SampleMerger(aggregator);
  for (const { samples } of families) {
    await forEachInSlices(samples, (sample) => merged.add(sample));
  }
  return { name, help, type, aggregator, samples: await merged.samples() };
}

/** Merges samples of the same name and labels. */
export class SampleMerger {
  readonly #aggregator: string;
  readonly #merged = new Map<string, GatheredSample | Merged>();

  constructor(aggregator: string) {
    this.#aggregator = aggregator;
  }

  add(sample: GatheredSample): void {
    const { key } = sample;
    const merged = this.#merged.get(key);
    if (merged === undefined) this.#merged.set(key, sample);
    else if (merged instanceof Merged) merged.add(sample);
    else {
      this.#merged.set(key, new Merged(this.#aggregator, merged).add(sample));
    }
  }

  /** The merged samples, in the order in which each was first added. */
  async samples(): Promise<GatheredSample[]> {
    const samples: GatheredSample[] = [];
    await forEachInSlices(this.#merged.values(), (merged) => {
      samples.push(merged instanceof Merged ? merged.toSample() : merged);
    });
    return samples;
  }
}

/** Several samples of the same name and labels. */
class Merged {
  readonly #aggregator: string;
  readonly #first: GatheredSample;
  #value: number;
  #exemplar: Exemplar | undefined;
  #count = 1;

  constructor(aggregator: string, first: GatheredSample) {
    this.#aggregator = aggregator;
    this.#first = first;
    this.#value = first.value;
    this.#exemplar = first.exemplar;
  }

  add({ value, exemplar }: GatheredSample): this {
    this.#value = this.#aggregate(value);
    this.#exemplar = lastExemplar([this.#exemplar, exemplar]);
    this.#count++;
    return this;
  }

  toSample(): GatheredSample {
    const isAverage = this.#aggregator === "average";
    const value = isAverage ? this.#value / this.#count : this.#value;
    return this.#first.with(value, this.#exemplar);
  }

  #aggregate(value: number): number {
    switch (this.#aggregator) {
      case "sum":
      case "average":
        return this.#value + value;
      case "min":
      case "earliest":
        return Math.min(this.#value, value);
      case "max":
        return Math.max(this.#value, value);
      default:
        return this.#value;
    }
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
      const into = merged.pipeline(node.lane, node.name);
      if (node.series !== undefined) {
        const sum = into.startSeries();
        hasOverflowed ||= sum !== into.series;
        addSeries(sum, node.series, pipelineBuckets, part);
      }
      for (const [stage, series] of node.stages()) {
        const sum = into.stage(stage);
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
