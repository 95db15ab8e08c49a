import type { Exemplar } from "./exemplar.ts";
import { formatBound } from "./numbers.ts";

/** The labels of a sample. Only bounds are numbers: each format spells them. */
export type SampleLabels = Readonly<Record<string, string | number>>;

/** One sample, under its full name. */
export class Sample {
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

  /** The same for samples of the same name and labels, whatever their order. */
  get key(): string {
    return this.#key ??= createKey(this.name, this.labels);
  }

  /** Returns the same sample with another value. */
  with(value: number, exemplar: Exemplar | undefined): Sample {
    const sample = new Sample(this.name, this.labels, value, exemplar);
    sample.#key = this.#key;
    return sample;
  }
}

/** A metric family, whoever it belongs to. */
export interface MetricFamily {
  /** The name in the text format: that of a counter ends in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /**
   * How it is merged: as prom-client does it by `sum`, `first`, `min`, `max`,
   * `average`, `omit`, or as a metric of the process.
   */
  readonly aggregator: string;
  readonly samples: readonly Sample[];
  /**
   * The samples as lines of both formats, several at a time, where these can be had
   * without the samples. Only one of the formats has exemplars.
   */
  readonly lines?: ((withExemplars: boolean) => Iterable<string>) | undefined;
}

/** Whether a label is a bound, whose value is a number. */
export function isBoundLabel(label: string): boolean {
  return label === "le" || label === "quantile";
}

/** Adds the labels that a registry adds to every sample, but for those it has. */
export function addDefaultLabels<T>(
  labels: Readonly<Record<string, T>>,
  common: Readonly<Record<string, unknown>>,
): Record<string, T | string> {
  const all: Record<string, T | string> = { ...labels };
  for (const [name, value] of Object.entries(common)) {
    if (!Object.hasOwn(all, name)) all[name] = String(value);
  }
  return all;
}

/** Writes each value after its length, so that no value can look like another label. */
function createKey(name: string, labels: SampleLabels): string {
  let key = name;
  for (const label of Object.keys(labels).sort()) {
    const value = labels[label]!;
    const text = isBoundLabel(label) ? normalizeBound(value) : String(value);
    key += `,${label}=${text.length}:${text}`;
  }
  return key;
}

/** Spells a bound in one way: `1`, `"1"` and `"1.0"` are the same. */
function normalizeBound(bound: string | number): string {
  const number = Number(bound === "" ? NaN : bound);
  return Number.isNaN(number) ? String(bound) : formatBound(number);
}
