import { describeError } from "../common/describe_error.ts";
import type { IssueReporter } from "../common/issues.ts";
import { excerpt, quote } from "../common/quote.ts";
import { forEachInSlices } from "../common/slices.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import { mergeFamilies, SampleMerger } from "../exposition/merge.ts";
import {
  addDefaultLabels,
  isBoundLabel,
  type MetricFamily,
  Sample,
} from "../exposition/model.ts";
import { formatValue } from "../exposition/numbers.ts";
import { nameForOpenMetrics } from "../exposition/open_metrics_names.ts";
import { callCollector, CollectorTimeout } from "./collector_calls.ts";
import {
  type FamilyGroup,
  isOwnMetric,
  type OwnMetric,
  OwnMetricView,
} from "./own_metric.ts";
import { processAggregator } from "./process_metrics.ts";
import { registrationsOf } from "./registration.ts";
import { defaultLabels, type MetricsRegistry } from "./registry.ts";

/** The metrics that a scrape asks for, and how long it can wait for them. */
export interface GatherRequest {
  /** Half of the scrape's timeout, in milliseconds, if it is known. */
  readonly timeoutMs: number | undefined;
  /** The names of the families that are asked for; `undefined` for all. */
  readonly names: ReadonlySet<string> | undefined;
}

/**
 * Collects everything that takes time, and returns a function that gathers the metrics:
 * all own ones at the instant of its call.
 *
 * @param defaultIssues Reports issues with a registry that has no metrics of this library.
 */
export type Collect = (
  registries: readonly MetricsRegistry[],
  defaultIssues: () => IssueReporter,
  scrape: GatherRequest,
) => Promise<() => Promise<MetricFamily[]>>;

/** Returns whether a scrape that asks for families of these names asks for one. */
export function isRequested(
  names: GatherRequest["names"],
  name: string,
): boolean {
  return names === undefined || names.has(name);
}

/** How long a collector may take: half of what Prometheus waits, if left alone. */
const COLLECTOR_TIMEOUT_MS = 5_000;

/** Asks for all metrics, with the default timeout. */
const EVERYTHING: GatherRequest = { timeoutMs: undefined, names: undefined };

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
  readonly own: readonly OwnMetric[];
  readonly foreign: readonly MetricFamily[];
  /** The names of foreign metrics whose collectors took too long. */
  readonly timedOut: ReadonlySet<string>;
  /** Who is told of troubles with it. */
  readonly issues: () => IssueReporter;
}

/**
 * Collects the metrics of registries.
 *
 * @param registries The registries; what they share by name is merged.
 * @param defaultIssues Who is told of troubles with a registry that has no metrics of
 * this library.
 */
export async function gather(
  registries: readonly MetricsRegistry[],
  defaultIssues: () => IssueReporter,
): Promise<MetricFamily[]> {
  const merge = await collectRegistries(registries, defaultIssues, EVERYTHING);
  return merge();
}

/**
 * Collects the foreign metrics of registries.
 *
 * @returns A function that merges them with the own metrics, which it reads all at once.
 */
export async function collectRegistries(
  registries: readonly MetricsRegistry[],
  defaultIssues: () => IssueReporter,
  { timeoutMs = COLLECTOR_TIMEOUT_MS, names }: GatherRequest,
): Promise<() => Promise<MetricFamily[]>> {
  const contents = await Promise.all(
    registries.map((registry) =>
      collectRegistry(registry, defaultIssues, timeoutMs, names)
    ),
  );
  return () => mergeContents(contents, defaultIssues);
}

async function mergeContents(
  contents: readonly RegistryContent[],
  defaultIssues: () => IssueReporter,
): Promise<MetricFamily[]> {
  const snapshots = new Map<FamilyGroup, FamilyGroup>();
  const snapshotOf = (family: OwnMetric) => {
    const { group, fullName } = family;
    const snapshot = snapshots.get(group) ?? group.snapshot();
    snapshots.set(group, snapshot);
    return snapshot.find(fullName)!;
  };
  const sources = new Map<MetricFamily, () => IssueReporter>();
  for (const { registry, own, foreign, issues } of contents) {
    const common = defaultLabels(registry);
    for (const family of own) {
      sources.set(new OwnMetricView(snapshotOf(family), common), issues);
    }
    for (const family of foreign) sources.set(family, issues);
  }
  const families = await mergeFamilies(
    sources.keys(),
    (family, type) =>
      sources.get(family)!().report(
        "collector_error",
        describeConflict(family, type),
      ),
  );
  reportUnnamed(families, defaultIssues);
  return families;
}

/** Reports families that OpenMetrics has no name for. */
function reportUnnamed(
  families: readonly MetricFamily[],
  issues: () => IssueReporter,
): void {
  const named = nameForOpenMetrics(families);
  for (const family of families) {
    if (named.has(family)) continue;
    issues().report(
      "collector_error",
      `Metric ${
        quote(family.name)
      } was left out of OpenMetrics: another metric's samples have such a name`,
    );
  }
}

/** Says why a family is left out of a merged scrape. */
export function describeConflict(
  { name, type }: MetricFamily,
  otherType: string,
): string {
  return `Metric ${quote(name)} was left out: another registry has it as a ${
    excerpt(otherType)
  }, not as a ${excerpt(type)}`;
}

/**
 * Collects what a registry holds: what fails is left out, and costs nothing else.
 *
 * @param timeoutMs How long a collector may take, in milliseconds.
 * @param names The names of the families to collect, all if left out.
 */
export async function collectRegistry(
  registry: MetricsRegistry,
  defaultIssues: () => IssueReporter,
  timeoutMs: number,
  names?: ReadonlySet<string>,
): Promise<RegistryContent> {
  const [registration] = registrationsOf(registry);
  const issues = () => registration?.issues ?? defaultIssues();
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
  const own = metrics.filter(isOwnMetric)
    .filter(({ fullName }) => isRequested(names, fullName));
  const timedOut = new Set<string>();
  const foreign = await Promise.all(
    metrics.filter((metric) => !isOwnMetric(metric))
      .map((metric) => metric as ForeignMetric)
      .filter(({ name }) => isToBeRead(name, names))
      .map(async (metric) => {
        try {
          return [await readForeign(registry, metric, timeoutMs)];
        } catch (error) {
          if (error instanceof CollectorTimeout) {
            timedOut.add(registeredName(registry, metric, metric.name));
          }
          issues().report(
            "collector_error",
            `Metric ${quote(metric.name)} was left out: ${
              describeError(error)
            }`,
          );
          return [];
        }
      }),
  );
  return {
    registry,
    own,
    foreign: foreign.flat().filter(({ name }) => isRequested(names, name)),
    timedOut,
    issues,
  };
}

/** Whether a foreign metric is asked for, or may set one that is. */
function isToBeRead(
  name: string,
  names: GatherRequest["names"],
): boolean {
  if (isRequested(names, name)) return true;
  return DEFAULT_METRIC.test(name) &&
    [...names ?? []].some((each) => DEFAULT_METRIC.test(each));
}

async function readForeign(
  registry: MetricsRegistry,
  metric: ForeignMetric,
  timeoutMs: number,
): Promise<MetricFamily> {
  const view = await callCollector(metric, timeoutMs);
  const { type, values = [] } = view;
  const name = registeredName(registry, metric, view.name);
  const help = String(view.help);
  const aggregator = processAggregator(name, help) ?? view.aggregator ?? "sum";
  const common = defaultLabels(registry);
  // Copied at once, as the client changes these objects while they are read.
  const numbers = values.map(({ value }) => Number(value));
  // The client adds this bucket even if the user's last bound is infinite.
  const hasInfinity = type === "histogram" &&
    values.some(({ labels }) => labels?.["le"] === "+Inf");
  const merger = new SampleMerger(aggregator);
  await forEachInSlices(values.entries(), ([index, each]) => {
    const { metricName = name, labels = {}, exemplar } = each;
    if (hasInfinity && labels["le"] === Infinity) return;
    merger.add(
      new Sample(
        metricName,
        toLabels(addDefaultLabels(labels, common)),
        numbers[index]!,
        exemplar ? toExemplar(exemplar) : undefined,
      ),
    );
  });
  return { name, help, type, aggregator, samples: await merger.samples() };
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

/** Copies an exemplar, unless its time is unknown. */
function toExemplar(
  { labelSet = {}, value, timestamp }: ForeignExemplar,
): Exemplar | undefined {
  if (!Number.isFinite(Number(timestamp))) return undefined;
  const labels = Object.entries(labelSet)
    .map(([name, value]) => [name, String(value)]);
  return {
    labelSet: Object.fromEntries(labels),
    value: Number(value),
    timestamp: Number(timestamp),
  };
}

/** Converts label values in place, so that rendering never calls foreign code. */
function toLabels(
  labels: Record<string, unknown>,
): Record<string, string | number> {
  for (const name of Object.keys(labels)) {
    const value = labels[name];
    if (typeof value === "string") continue;
    labels[name] = typeof value === "number" && isBoundLabel(name)
      ? toBound(value)
      : String(value);
  }
  return labels as Record<string, string | number>;
}

/** Spells out infinities and `NaN`, which all formats write alike and JSON lacks. */
function toBound(value: number): string | number {
  return Number.isFinite(value) ? value : formatValue(value);
}
