import { callCollector, CollectorTimeout } from "./collector_calls.ts";
import { type Family, type FamilyGroup, isFamily } from "./family.ts";
import { describeError } from "./describe_error.ts";
import type { Exemplar } from "./exemplar.ts";
import type { IssueReporter } from "./issues.ts";
import { mergeFamilies } from "./merge.ts";
import {
  defaultLabels,
  type MetricsRegistry,
  registrationsOf,
} from "./registry.ts";
import type { ScrapeRequest } from "./request.ts";
import { type GatheredFamily, withCommon } from "./samples.ts";
import { FamilyView } from "./view.ts";

/** How long a collector may take: half of what Prometheus waits, if left alone. */
const COLLECTOR_PATIENCE_MS = 5_000;

/** The request for everything, by someone who waits as long as Prometheus does. */
const EVERYTHING: ScrapeRequest = { patience: undefined, names: undefined };

/**
 * The default metrics of prom-client, under any prefix. The collector of one of them
 * sets others, too.
 */
const DEFAULT_METRIC = /(?:^|_)(?:process|nodejs)_/;

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
    readonly exemplar?: ForeignExemplar | null;
  }[];
}

interface ForeignExemplar {
  readonly labelSet?: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly timestamp: number;
}

/** What a registry holds. */
export interface RegistryContent {
  readonly registry: MetricsRegistry;
  /** Families of ours, to be read when all that others take their time for is there. */
  readonly own: readonly Family[];
  readonly others: readonly GatheredFamily[];
  /** The names of those whose collectors took too long. */
  readonly late: ReadonlySet<string>;
  /** Who is told of troubles with it. */
  readonly issues: () => IssueReporter;
}

/**
 * Collects the metrics of registries.
 *
 * @param registries The registries; what they share by name is merged.
 * @param fallback Who is told of troubles with a registry that has no metrics of
 * this library.
 */
export async function gather(
  registries: readonly MetricsRegistry[],
  fallback: () => IssueReporter,
): Promise<GatheredFamily[]> {
  const merge = await collectRegistries(registries, fallback, EVERYTHING);
  return merge();
}

/**
 * Collects the foreign metrics of registries.
 *
 * @returns What merges them with ours, all of which it reads at the same instant.
 */
export async function collectRegistries(
  registries: readonly MetricsRegistry[],
  fallback: () => IssueReporter,
  { patience = COLLECTOR_PATIENCE_MS, names }: ScrapeRequest,
): Promise<() => GatheredFamily[]> {
  const contents = await Promise.all(
    registries.map((registry) => collect(registry, fallback, patience, names)),
  );
  return () => mergeContents(contents);
}

function mergeContents(contents: readonly RegistryContent[]): GatheredFamily[] {
  const snapshots = new Map<FamilyGroup, FamilyGroup>();
  const snapshotOf = (family: Family) => {
    const { group, fullName } = family;
    const snapshot = snapshots.get(group) ?? group.snapshot();
    snapshots.set(group, snapshot);
    return snapshot.find(fullName)!;
  };
  const sources = new Map<GatheredFamily, () => IssueReporter>();
  for (const { registry, own, others, issues } of contents) {
    const common = defaultLabels(registry);
    for (const family of own) {
      sources.set(new FamilyView(snapshotOf(family), common), issues);
    }
    for (const family of others) sources.set(family, issues);
  }
  return mergeFamilies(
    sources.keys(),
    (family, type) =>
      sources.get(family)!().report(
        "collector_error",
        describeConflict(family, type),
      ),
  );
}

/** Says why a family is left out of a merged scrape. */
export function describeConflict(
  { name, type }: GatheredFamily,
  otherType: string,
): string {
  return `Metric "${name}" was left out: another registry has it as a ${otherType}, not as a ${type}`;
}

/**
 * Collects what a registry holds: what fails is left out, and costs nothing else.
 *
 * @param patience How long a collector may take, in milliseconds.
 * @param names The names of the families to collect, all if left out.
 */
export async function collect(
  registry: MetricsRegistry,
  fallback: () => IssueReporter,
  patience: number,
  names?: ReadonlySet<string>,
): Promise<RegistryContent> {
  const [registration] = registrationsOf(registry);
  const issues = () => registration?.issues ?? fallback();
  for (const each of registrationsOf(registry)) each.ensure(each.issues);
  let metrics: object[] = [];
  try {
    metrics = registry.getMetricsAsArray();
  } catch (error) {
    issues().report(
      "collector_error",
      `The metrics of a registry were left out: ${describeError(error)}`,
    );
  }
  const own = metrics.filter(isFamily)
    .filter(({ fullName }) => names?.has(fullName) ?? true);
  const late = new Set<string>();
  const others = await Promise.all(
    metrics.filter((metric) => !isFamily(metric))
      .map((metric) => metric as ForeignMetric)
      .filter(({ name }) => isToBeRead(name, names))
      .map(async (metric) => {
        try {
          return [await readForeign(registry, metric, patience)];
        } catch (error) {
          if (error instanceof CollectorTimeout) {
            late.add(registeredName(registry, metric, metric.name));
          }
          issues().report(
            "collector_error",
            `Metric "${metric.name}" was left out: ${describeError(error)}`,
          );
          return [];
        }
      }),
  );
  return {
    registry,
    own,
    others: others.flat().filter(({ name }) => names?.has(name) ?? true),
    late,
    issues,
  };
}

/** Whether a foreign metric is asked for, or may set one that is. */
function isToBeRead(
  name: string,
  names: ReadonlySet<string> | undefined,
): boolean {
  if (names === undefined || names.has(name)) return true;
  return DEFAULT_METRIC.test(name) &&
    [...names].some((each) => DEFAULT_METRIC.test(each));
}

async function readForeign(
  registry: MetricsRegistry,
  metric: ForeignMetric,
  patience: number,
): Promise<GatheredFamily> {
  const view = await callCollector(metric, patience);
  const { help, type, aggregator = "sum", values = [] } = view;
  const name = registeredName(registry, metric, view.name);
  const common = defaultLabels(registry);
  const samples = values.map((each) => ({
    name: each.metricName ?? name,
    labels: withCommon(toLabels(each.labels), common),
    value: Number(each.value),
    exemplar: each.exemplar ? toExemplar(each.exemplar) : undefined,
  }));
  return { name, help: String(help), type, aggregator, samples };
}

/**
 * Gives a counter its name back: rendering OpenMetrics, prom-client strips
 * `_total` from the live metric, for good. The registry still knows the name.
 */
function registeredName(
  registry: MetricsRegistry,
  metric: object,
  name: string,
): string {
  const total = `${name}_total`;
  return registry.getSingleMetric(total) === metric ? total : name;
}

function toExemplar(
  { labelSet = {}, value, timestamp }: ForeignExemplar,
): Exemplar {
  const labels = Object.entries(labelSet)
    .map(([name, value]) => [name, String(value)]);
  return {
    labelSet: Object.fromEntries(labels),
    value: Number(value),
    timestamp: Number(timestamp),
  };
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
