import { coalesce } from "./coalesce.ts";
import type { InstanceSource } from "./context.ts";
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
import type { Instance } from "./scope.ts";
import { type GatheredFamily, withCommon } from "./samples.ts";
import { FamilyView } from "./view.ts";
import { within } from "./within.ts";

/** How long a collector may take: half of what Prometheus waits, if left alone. */
const COLLECTOR_PATIENCE_MS = 5_000;

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
  /** Who is told of troubles with it. */
  readonly issues: () => IssueReporter;
}

/**
 * Makes what gathers the metrics of this thread alone. Scrapes that come together
 * share what was gathered.
 *
 * @param chosen The registries, if not the instance's.
 */
export function createLocalGather(
  source: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
): () => Promise<GatheredFamily[]> {
  if (chosen !== undefined) {
    return coalesce(() => gather(chosen, () => source.instance().issues));
  }
  const gathers = new WeakMap<Instance, () => Promise<GatheredFamily[]>>();
  return () => {
    const instance = source.instance();
    const gatherOwn = gathers.get(instance) ??
      coalesce(() => gather(source.registries(), () => instance.issues));
    gathers.set(instance, gatherOwn);
    return gatherOwn();
  };
}

/**
 * Collects the metrics of registries, all of ours at the same instant.
 *
 * @param registries The registries; what they share by name is merged.
 * @param fallback Who is told of troubles with a registry that has no metrics of
 * this library.
 */
export async function gather(
  registries: readonly MetricsRegistry[],
  fallback: () => IssueReporter,
): Promise<GatheredFamily[]> {
  const contents = await Promise.all(
    registries.map((registry) =>
      collect(registry, fallback, COLLECTOR_PATIENCE_MS)
    ),
  );
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
 */
export async function collect(
  registry: MetricsRegistry,
  fallback: () => IssueReporter,
  patience: number,
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
  const own = metrics.filter(isFamily);
  const others = await Promise.all(
    metrics.filter((metric) => !isFamily(metric))
      .map(async (metric) => {
        try {
          const reading = readForeign(registry, metric as ForeignMetric);
          const family = await within(reading, patience);
          if (family !== undefined) return [family];
          throw new Error(`Its collector took longer than ${patience} ms`);
        } catch (error) {
          issues().report(
            "collector_error",
            `Metric "${(metric as ForeignMetric).name}" was left out: ${
              describeError(error)
            }`,
          );
          return [];
        }
      }),
  );
  return { registry, own, others: others.flat(), issues };
}

async function readForeign(
  registry: MetricsRegistry,
  metric: ForeignMetric,
): Promise<GatheredFamily> {
  const view = await metric.get();
  const { help, type, aggregator = "sum", values = [] } = view;
  const name = restoreTotal(registry, metric, view);
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
