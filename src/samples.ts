import type { Exemplar } from "./exemplar.ts";

/** One sample, under its full name. */
export interface GatheredSample {
  readonly name: string;
  /** What `le` and `quantile` of others hold as numbers is spelled by the format. */
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly exemplar?: Exemplar | undefined;
}

/** A metric family, whoever it belongs to. */
export interface GatheredFamily {
  /** The name in the text format: that of a counter ends in `_total`. */
  readonly name: string;
  readonly help: string;
  readonly type: string;
  /** How prom-client merges it: `sum`, `first`, `min`, `max`, `average`, `omit`. */
  readonly aggregator: string;
  readonly samples: readonly GatheredSample[];
  /**
   * The samples as lines of both formats, several at a time, where these can be had
   * without the samples. Only one of the formats has exemplars.
   */
  readonly lines?: ((withExemplars: boolean) => Iterable<string>) | undefined;
}

/** Adds the labels that a registry adds to every sample, but for those it has. */
export function withCommon<T extends string | number>(
  labels: Readonly<Record<string, T>>,
  common: Readonly<Record<string, unknown>>,
): Record<string, T | string> {
  const all: Record<string, T | string> = { ...labels };
  for (const [name, value] of Object.entries(common)) {
    all[name] ??= String(value);
  }
  return all;
}

/** What tells a sample from all others: its name and labels, in no order. */
export function sampleKey({ name, labels }: GatheredSample): string {
  const pairs = Object.entries(labels).map(([key, value]) => [
    key,
    String(value),
  ]);
  return JSON.stringify([name, ...pairs.sort(([a], [b]) => a! < b! ? -1 : 1)]);
}
