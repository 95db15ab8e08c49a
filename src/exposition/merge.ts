import { forEachInSlices } from "../common/slices.ts";
import { type Exemplar, latestExemplar } from "./exemplar.ts";
import type { MetricFamily, Sample } from "./model.ts";

/**
 * Merges the families of several sources. Samples of the same name and labels are merged
 * by the family's aggregator, as in prom-client's cluster registry.
 *
 * @param onConflict Receives a family that is left out, and the other type of an earlier
 * family of the same name.
 */
export async function mergeFamilies(
  families: Iterable<MetricFamily>,
  onConflict: (leftOut: MetricFamily, type: string) => void,
): Promise<MetricFamily[]> {
  const byName = new Map<string, [MetricFamily, ...MetricFamily[]]>();
  for (const family of families) {
    const same = byName.get(family.name);
    if (same === undefined) byName.set(family.name, [family]);
    else if (same[0].type === family.type) same.push(family);
    else onConflict(family, same[0].type);
  }
  const merged: MetricFamily[] = [];
  for (const same of byName.values()) {
    merged.push(same.length === 1 ? same[0] : await mergeSame(same));
  }
  return merged;
}

/** Merges families of the same name and type. */
async function mergeSame(
  families: readonly [MetricFamily, ...MetricFamily[]],
): Promise<MetricFamily> {
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
  readonly #merged = new Map<string, Sample | Merged>();

  constructor(aggregator: string) {
    this.#aggregator = aggregator;
  }

  add(sample: Sample): void {
    const { key } = sample;
    const merged = this.#merged.get(key);
    if (merged === undefined) this.#merged.set(key, sample);
    else if (merged instanceof Merged) merged.add(sample);
    else {
      this.#merged.set(key, new Merged(this.#aggregator, merged).add(sample));
    }
  }

  /** Returns the merged samples, in the order of their first addition. */
  async samples(): Promise<Sample[]> {
    const samples: Sample[] = [];
    await forEachInSlices(this.#merged.values(), (merged) => {
      samples.push(merged instanceof Merged ? merged.toSample() : merged);
    });
    return samples;
  }
}

/** The aggregate of samples of the same name and labels. */
class Merged {
  readonly #aggregator: string;
  readonly #first: Sample;
  #value: number;
  #exemplar: Exemplar | undefined;
  #count = 1;

  constructor(aggregator: string, first: Sample) {
    this.#aggregator = aggregator;
    this.#first = first;
    this.#value = first.value;
    this.#exemplar = first.exemplar;
  }

  add({ value, exemplar }: Sample): this {
    this.#value = this.#aggregate(value);
    this.#exemplar = latestExemplar([this.#exemplar, exemplar]);
    this.#count++;
    return this;
  }

  toSample(): Sample {
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
