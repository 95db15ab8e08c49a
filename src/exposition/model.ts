import type { Exemplar } from "./exemplar.ts";
import { formatBound } from "./numbers.ts";
import type { TemplatedSamples } from "./sample_template.ts";

/** The labels of a sample. Bounds may be numbers, which each format spells. */
export type SampleLabels = Readonly<Record<string, string | number>>;

/** A value with labels. */
export class Sample {
  /** The full name, with a suffix such as `_bucket`. */
  readonly name: string;
  readonly labels: SampleLabels;
  readonly value: number;
  readonly exemplar: Exemplar | undefined;
  #key: string | undefined;

  constructor(
    name: string,
    labels: SampleLabels,
    value: number,
    exemplar?: Exemplar,
  ) {
    this.name = name;
    this.labels = labels;
    this.value = value;
    this.exemplar = exemplar;
  }

  /** A key that is equal for samples of the same name and labels, in any order. */
  get key(): string {
    return this.#key ??= createKey(this.name, this.labels);
  }

  /** Returns the same sample with another value and exemplar. */
  with(value: number, exemplar: Exemplar | undefined): Sample {
    const sample = new Sample(this.name, this.labels, value, exemplar);
    sample.#key = this.#key;
    return sample;
  }
}

/** A metric family, own or foreign. */
export interface MetricFamily {
  /** The name in the text format, with the `_total` of a counter. */
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /**
   * How samples of the same labels are merged: an aggregator of prom-client (`sum`,
   * `first`, `min`, `max`, `average`, `omit`), or `earliest` or `freshest` for metrics of
   * the process.
   */
  readonly aggregator: string;
  readonly samples: readonly Sample[];
  /** The same samples in a form that is faster to encode, if there is one. */
  readonly templated?: TemplatedSamples | undefined;
}

/** Returns whether a label is a bound, whose value is a number. */
export function isBoundLabel(label: string): boolean {
  return label === "le" || label === "quantile";
}

/** Returns labels with a registry's default labels, which replace none of them. */
export function addDefaultLabels<T>(
  labels: Readonly<Record<string, T>>,
  defaultLabels: Readonly<Record<string, unknown>>,
): Record<string, T | string> {
  const all: Record<string, T | string> = { ...labels };
  for (const [name, value] of Object.entries(defaultLabels)) {
    if (!Object.hasOwn(all, name)) all[name] = String(value);
  }
  return all;
}

/** Returns a key. The length before each value keeps keys of label sets distinct. */
function createKey(name: string, labels: SampleLabels): string {
  let key = name;
  for (const label of Object.keys(labels).sort()) {
    const value = labels[label]!;
    const text = isBoundLabel(label) ? normalizeBound(value) : String(value);
    key += `,${label}=${text.length}:${text}`;
  }
  return key;
}

/** Spells equal bounds the same, such as `1`, `"1"` and `"1.0"`. */
function normalizeBound(bound: string | number): string {
  const number = Number(bound === "" ? NaN : bound);
  return Number.isNaN(number) ? String(bound) : formatBound(number);
}
