import { describeError } from "../common/describe_error.ts";
import type { IssueReporter } from "../common/issues.ts";
import { excerpt, quote } from "../common/quote.ts";
import { mergeFamilies } from "../exposition/merge.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { nameForOpenMetrics } from "../exposition/open_metrics_names.ts";
import { CollectorTimeout } from "./collector_calls.ts";
import { snapshotSource } from "./families.ts";
import {
  type ForeignMetric,
  readForeign,
  registeredName,
} from "./foreign_metric.ts";
import {
  isOwnMetric,
  type MetricsSource,
  OwnFamily,
  type OwnMetric,
} from "./own_metric.ts";
import { registrationsOf } from "./registration.ts";
import { defaultLabels, type MetricsRegistry } from "./registry.ts";

/** The metrics that a scrape requests, and how long it waits for them. */
export interface GatherRequest {
  /** How long collectors may take, in milliseconds: half of the scrape's timeout. */
  readonly timeoutMs: number | undefined;
  /** The names of the requested families, or `undefined` for all. */
  readonly names: ReadonlySet<string> | undefined;
}

/**
 * Collects foreign metrics, and returns a function that returns all metrics. Calling it
 * reads the own metrics, all at one instant.
 *
 * @param defaultIssues Reports issues of a registry without own metrics.
 */
export type Collect = (
  registries: readonly MetricsRegistry[],
  defaultIssues: () => IssueReporter,
  request: GatherRequest,
) => Promise<() => Promise<MetricFamily[]>>;

/** Returns whether a family is one of the requested families. */
export function isRequested(
  names: GatherRequest["names"],
  name: string,
): boolean {
  return names === undefined || names.has(name);
}

/** How long a collector may take: half of the default timeout of Prometheus. */
const COLLECTOR_TIMEOUT_MS = 5_000;

/** A request for all metrics, with the default timeout. */
const ALL_METRICS: GatherRequest = { timeoutMs: undefined, names: undefined };

/**
 * Matches the default metrics of prom-client, under any prefix. A collector of one may
 * also set others.
 */
const DEFAULT_METRIC = /(?:^|_)(?:process|nodejs)_/;

/** The metrics of a registry. */
export interface RegistryContent {
  readonly registry: MetricsRegistry;
  /** The own metrics, whose values are read after all foreign ones are collected. */
  readonly own: readonly OwnMetric[];
  readonly foreign: readonly MetricFamily[];
  /** The names of foreign metrics whose collectors took too long. */
  readonly timedOut: ReadonlySet<string>;
  /** Returns the reporter of issues with the registry. */
  readonly issues: () => IssueReporter;
}

/**
 * Gathers the metrics of registries. Families of the same name are merged.
 *
 * @param defaultIssues Reports issues of a registry without own metrics.
 */
export async function gather(
  registries: readonly MetricsRegistry[],
  defaultIssues: () => IssueReporter,
): Promise<MetricFamily[]> {
  const merge = await collectRegistries(
    registries,
    defaultIssues,
    ALL_METRICS,
  );
  return merge();
}

/**
 * Collects the foreign metrics of registries.
 *
 * @returns A function that reads all own metrics at once, and merges them with the
 * foreign ones.
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

/** Reads the own metrics of registries at one instant, and merges all metrics. */
async function mergeContents(
  contents: readonly RegistryContent[],
  defaultIssues: () => IssueReporter,
): Promise<MetricFamily[]> {
  const snapshots = new Map<MetricsSource, MetricsSource>();
  const snapshotOf = (source: MetricsSource) => {
    const snapshot = snapshots.get(source) ?? snapshotSource(source);
    snapshots.set(source, snapshot);
    return snapshot;
  };
  const issuesOf = new Map<MetricFamily, () => IssueReporter>();
  for (const { registry, own, foreign, issues } of contents) {
    const labels = defaultLabels(registry);
    for (const { definition, source } of own) {
      const family = new OwnFamily(definition, snapshotOf(source), labels);
      issuesOf.set(family, issues);
    }
    for (const family of foreign) issuesOf.set(family, issues);
  }
  const families = await mergeFamilies(
    issuesOf.keys(),
    (family, type) =>
      issuesOf.get(family)!().report(
        "collector_error",
        describeConflict(family, type),
      ),
  );
  reportLeftOut(families, defaultIssues);
  return families;
}

/** Reports the families that OpenMetrics leaves out. */
function reportLeftOut(
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
      } was left out of OpenMetrics: another metric has samples of that name`,
    );
  }
}

/** Returns a message about a family that is left out of a merged scrape. */
export function describeConflict(
  { name, type }: MetricFamily,
  otherType: string,
): string {
  return `Metric ${quote(name)} was left out: another registry has it as a ${
    excerpt(otherType)
  }, not as a ${excerpt(type)}`;
}

/**
 * Collects the foreign metrics of a registry. Metrics that fail are left out.
 *
 * @param timeoutMs How long a collector may take, in milliseconds.
 * @param names The names of the families to collect, or `undefined` for all.
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
  const read = async (metric: ForeignMetric): Promise<MetricFamily[]> => {
    try {
      return [await readForeign(registry, metric, timeoutMs)];
    } catch (error) {
      if (error instanceof CollectorTimeout) {
        timedOut.add(registeredName(registry, metric, metric.name));
      }
      issues().report(
        "collector_error",
        `Metric ${quote(metric.name)} was left out: ${describeError(error)}`,
      );
      return [];
    }
  };
  const foreign = await Promise.all(
    metrics.filter((metric) => !isOwnMetric(metric))
      .map((metric) => metric as ForeignMetric)
      .filter(({ name }) => isNeeded(name, names))
      .map(read),
  );
  return {
    registry,
    own,
    foreign: foreign.flat().filter(({ name }) => isRequested(names, name)),
    timedOut,
    issues,
  };
}

/** Returns whether a metric is requested, or its collector may set a requested one. */
function isNeeded(
  name: string,
  names: GatherRequest["names"],
): boolean {
  if (isRequested(names, name)) return true;
  return DEFAULT_METRIC.test(name) &&
    [...names ?? []].some((each) => DEFAULT_METRIC.test(each));
}
