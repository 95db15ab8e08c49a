/** One sample, under its full name. */
export interface GatheredSample {
  readonly name: string;
  /** What `le` and `quantile` of others hold as numbers is spelled by the format. */
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly exemplar?: Exemplar | undefined;
}

/** A sample of what was observed, as prom-client keeps it. */
export interface Exemplar {
  readonly labelSet: Readonly<Record<string, string>>;
  readonly value: number;
  /** Unix seconds. */
  readonly timestamp: number;
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
}

/** What tells a sample from all others: its name and labels, in no order. */
export function sampleKey({ name, labels }: GatheredSample): string {
  const pairs = Object.entries(labels).map(([key, value]) => [
    key,
    String(value),
  ]);
  return JSON.stringify([name, ...pairs.sort(([a], [b]) => a! < b! ? -1 : 1)]);
}
