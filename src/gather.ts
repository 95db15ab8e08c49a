import { Family } from "./families.ts";
import { describeError, type IssueReporter } from "./issues.ts";
import {
  defaultLabels,
  type MetricsRegistry,
  registrationsOf,
} from "./registry.ts";

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
  readonly samples: readonly GatheredSample[];
}

/** Reads what a family holds; families of ours all at the same instant. */
type Read = () => GatheredFamily & { readonly aggregator: string };

/** The contract by which registries of prom-client read their metrics. */
interface ForeignMetric {
  readonly name: string;
  get(): ForeignView | Promise<ForeignView>;
}

interface ForeignView {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator?: string;
  readonly values?: readonly {
    readonly metricName?: string;
    readonly labels?: Readonly<Record<string, unknown>>;
    readonly value: number;
    readonly exemplar?: Exemplar | null;
  }[];
}

/**
 * Collects the metrics of registries. A metric that cannot be collected is left
 * out, and costs nothing else.
 *
 * @param registries The registries; what they share by name is merged.
 * @param fallback Who is told of troubles with a registry that has no metrics of
 * this library.
 */
export async function gather(
  registries: readonly MetricsRegistry[],
  fallback: () => IssueReporter,
): Promise<GatheredFamily[]> {
  const reads = await Promise.all(
    registries.map((registry) => prepare(registry, fallback)),
  );
  const families = new Map<string, ReturnType<Read>>();
  for (const { read, issues } of reads.flat()) {
    const family = read();
    const same = families.get(family.name);
    if (same !== undefined && same.type !== family.type) {
      issues().report(
        "collector_error",
        `Metric "${family.name}" was left out: another registry has it as a ${same.type}, not as a ${family.type}`,
      );
      continue;
    }
    families.set(
      family.name,
      same === undefined ? family : {
        ...same,
        samples: mergeSamples(same.samples, family.samples, same.aggregator),
      },
    );
  }
  return [...families.values()];
}

async function prepare(
  registry: MetricsRegistry,
  fallback: () => IssueReporter,
): Promise<{ read: Read; issues: () => IssueReporter }[]> {
  const [registration] = registrationsOf(registry);
  const issues = () => registration?.issues ?? fallback();
  for (const each of registrationsOf(registry)) each.ensure(each.issues);
  const prepareMetric = async (metric: object) => {
    if (metric instanceof Family) {
      return { read: () => readOwn(registry, metric), issues };
    }
    try {
      const family = await readForeign(registry, metric as ForeignMetric);
      return { read: () => family, issues };
    } catch (error) {
      issues().report(
        "collector_error",
        `Metric "${(metric as ForeignMetric).name}" was left out: ${
          describeError(error)
        }`,
      );
      return [];
    }
  };
  let metrics: object[];
  try {
    metrics = registry.getMetricsAsArray();
  } catch (error) {
    issues().report(
      "collector_error",
      `The metrics of a registry were left out: ${describeError(error)}`,
    );
    return [];
  }
  return (await Promise.all(metrics.map(prepareMetric))).flat();
}

function readOwn(registry: MetricsRegistry, family: Family) {
  const { fullName, help, type, aggregator } = family;
  const common = Object.entries(defaultLabels(registry));
  const samples = family.samples().map(({ metricName, labels, value }) => ({
    name: metricName ?? fullName,
    labels: withDefaults(labels, common),
    value,
  }));
  return { name: fullName, help, type, aggregator, samples };
}

async function readForeign(registry: MetricsRegistry, metric: ForeignMetric) {
  const view = await metric.get();
  const { help, type, aggregator = "sum", values = [] } = view;
  const name = restoreTotal(registry, metric, view);
  const common = Object.entries(defaultLabels(registry));
  const samples = values.map((each) => ({
    name: each.metricName ?? name,
    labels: withDefaults(toLabels(each.labels), common),
    value: Number(each.value),
    exemplar: each.exemplar ?? undefined,
  }));
  return { name, help: String(help), type, aggregator, samples };
}

/**
 * Gives a counter its name back: rendering OpenMetrics, prom-client strips
 * `_total` from the live metric, for good. The registry still knows the name.
 */
function restoreTotal(
  registry: MetricsRegistry,
  metric: object,
  { name, type }: ForeignView,
): string {
  const total = `${name}_total`;
  const stripped = type === "counter" &&
    registry.getSingleMetric(total) === metric;
  return stripped ? total : name;
}

/** Copies labels, so that nothing of others' is called while rendering. */
function toLabels(
  labels: Readonly<Record<string, unknown>> = {},
): Record<string, string | number> {
  return Object.fromEntries(
    Object.entries(labels).map(([name, value]) => [
      name,
      typeof value === "number" ? value : String(value),
    ]),
  );
}

function withDefaults(
  labels: Record<string, string | number>,
  common: readonly (readonly [string, unknown])[],
): Record<string, string | number> {
  for (const [name, value] of common) labels[name] ??= String(value);
  return labels;
}

/** Merges as prom-client's cluster registry does: by the family's aggregator. */
function mergeSamples(
  ours: readonly GatheredSample[],
  theirs: readonly GatheredSample[],
  aggregator: string,
): GatheredSample[] {
  const groups = new Map<string, GatheredSample[]>();
  for (const sample of [...ours, ...theirs]) {
    const key = sampleKey(sample);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [sample]);
    else group.push(sample);
  }
  return [...groups.values()].map((group) => ({
    ...group[0]!,
    value: aggregate(group.map(({ value }) => value), aggregator),
  }));
}

function sampleKey({ name, labels }: GatheredSample): string {
  const pairs = Object.entries(labels).map(([key, value]) => [
    key,
    String(value),
  ]);
  return JSON.stringify([name, ...pairs.sort(([a], [b]) => a! < b! ? -1 : 1)]);
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
