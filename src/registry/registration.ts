import { guardClock, monotonicSeconds } from "../common/clock.ts";
import { describeError } from "../common/describe_error.ts";
import {
  type IssueCounts,
  IssueReporter,
  type IssueReporterOptions,
  zeroIssues,
} from "../common/issues.ts";
import { perProcess } from "../common/per_process.ts";
import { quote } from "../common/quote.ts";
import { SeriesTree } from "../series/series_tree.ts";
import { defineIssuesMetric, defineSeriesMetrics } from "./families.ts";
import { type MetricsSource, OwnMetric } from "./own_metric.ts";
import type { MetricsRegistry } from "./registry.ts";

/** The default limit of label sets. */
export const DEFAULT_CARDINALITY_LIMIT = 2000;

/** The options of the metrics of one registry and prefix. */
interface RegistrationOptions {
  readonly prefix: string;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  readonly cardinalityLimit: number;
  readonly clock: () => number;
}

/** The options that an instance has set. The other options cannot conflict. */
type RegistrationChoice = {
  readonly [key in keyof RegistrationOptions]?:
    | RegistrationOptions[key]
    | undefined;
};

/** The metrics of one registry and prefix, which all instances share. */
export class Registration {
  readonly registry: MetricsRegistry;
  readonly options: RegistrationOptions;
  readonly tree: SeriesTree;
  readonly issueCounts: IssueCounts;
  /** The clock of scopes, in seconds: monotonic, and never throws. */
  readonly now: () => number;
  /** Reports issues of all instances, in the way that the first instance set. */
  issues: IssueReporter;
  /** Whether an instance records here. Declarations do not count. */
  isInUse = false;
  /** Whether the registry accepted the metrics when they were last registered. */
  isRegistered = false;
  /** The metrics to register, the issues metric last. */
  readonly metrics: readonly OwnMetric[];
  readonly #issuesMetric: OwnMetric;
  /** The metric last found under the name of the issues metric. Initially `null`. */
  #lastFound: object | undefined | null = null;

  /** @param counts The counts to continue, if there are any. */
  constructor(
    registry: MetricsRegistry,
    options: RegistrationOptions,
    counts?: Pick<Registration, "tree" | "issueCounts">,
  ) {
    const { prefix, pipelineBuckets, stageBuckets, cardinalityLimit, clock } =
      options;
    this.registry = registry;
    this.options = options;
    this.tree = counts?.tree ??
      new SeriesTree(pipelineBuckets, stageBuckets, cardinalityLimit);
    this.issueCounts = counts?.issueCounts ?? zeroIssues();
    this.issues = new IssueReporter(this.issueCounts, { onIssue() {} });
    this.now = clock === monotonicSeconds
      ? clock
      : guardClock(clock, (message) =>
        this.issues.report("hook_error", message));
    const source: MetricsSource = {
      series: this.tree,
      issues: this.issueCounts,
      now: this.now,
    };
    this.#issuesMetric = new OwnMetric(defineIssuesMetric(prefix), source);
    this.metrics = [
      ...defineSeriesMetrics(prefix, this.tree)
        .map((definition) => new OwnMetric(definition, source)),
      this.#issuesMetric,
    ];
  }

  /** Returns a message if an instance with other options cannot share these metrics. */
  findConflict(options: RegistrationChoice): string | undefined {
    const shared = `Cannot share the metrics ${
      quote(`${this.options.prefix}*`)
    } of the registry`;
    for (const key of ["pipelineBuckets", "stageBuckets"] as const) {
      const asked = options[key]?.join(", ");
      const actual = this.options[key].join(", ");
      if (asked !== undefined && asked !== actual) {
        return `${shared}: they have the ${key} ${actual}, not ${asked}`;
      }
    }
    const { cardinalityLimit, clock } = options;
    const limit = this.options.cardinalityLimit;
    if (cardinalityLimit !== undefined && cardinalityLimit !== limit) {
      return `${shared}: they have the cardinalityLimit ${limit}, not ${cardinalityLimit}`;
    }
    if (clock !== undefined && clock !== this.options.clock) {
      return `${shared}: they use another clock`;
    }
    return undefined;
  }

  /** Marks the metrics as used. The first instance sets how issues are reported. */
  use(reporting: IssueReporterOptions): void {
    if (this.isInUse) return;
    this.isInUse = true;
    this.issues = new IssueReporter(this.issueCounts, reporting);
  }

  /** Removes the series of declarations, and the issues that they caused. */
  reset(): void {
    this.tree.clear();
    Object.assign(this.issueCounts, zeroIssues());
  }

  /** Removes the metrics from the registry. */
  remove(): void {
    registrations.get(this.registry)?.delete(this.options.prefix);
    this.isRegistered = false;
    try {
      for (const metric of this.metrics) {
        const { fullName } = metric;
        if (this.registry.getSingleMetric(fullName) === metric) {
          this.registry.removeSingleMetric(fullName);
        }
      }
    } catch (error) {
      this.issues.report("registry_conflict", describeError(error));
    }
  }

  /**
   * Adds the metrics to the registry, all or none.
   *
   * @throws {Error} If the registry has a foreign metric of the same name.
   */
  register(): void {
    const missing: OwnMetric[] = [];
    for (const metric of this.metrics) {
      const found = this.registry.getSingleMetric(metric.fullName);
      if (found === undefined) {
        missing.push(metric);
      } else if (found !== metric) {
        throw new Error(
          `Cannot register ${
            quote(metric.fullName)
          }: the registry already has another metric of that name`,
        );
      }
    }
    const added: OwnMetric[] = [];
    try {
      for (const metric of missing) {
        // An OpenMetrics registry may have renamed it before it was cleared.
        metric.name = metric.fullName;
        this.registry.registerMetric(metric);
        added.push(metric);
      }
    } catch (error) {
      for (const { fullName } of added) {
        this.registry.removeSingleMetric(fullName);
      }
      throw error;
    }
    this.#lastFound = this.#issuesMetric;
    this.isRegistered = true;
  }

  /**
   * Registers the metrics again if the registry was cleared. If the registry rejects
   * them, this registers only the issues metric, if possible, which counts the conflict.
   */
  ensure(issues: IssueReporter): void {
    const { fullName } = this.#issuesMetric;
    try {
      if (this.registry.getSingleMetric(fullName) === this.#lastFound) return;
      this.register();
    } catch (error) {
      issues.report("registry_conflict", describeError(error));
      this.isRegistered = false;
      this.#lastFound = this.#registerIssuesMetric();
    }
  }

  #registerIssuesMetric(): object | undefined {
    const { fullName } = this.#issuesMetric;
    try {
      if (this.registry.getSingleMetric(fullName) === undefined) {
        this.registry.registerMetric(this.#issuesMetric);
      }
      return this.registry.getSingleMetric(fullName);
    } catch {
      return undefined;
    }
  }
}

/** The metrics of all registries, by prefix. Copies of this module share them. */
const registrations = perProcess(
  "registrations",
  () => new WeakMap<MetricsRegistry, Map<string, Registration>>(),
);

/** Returns the own metrics of a registry, under every prefix. */
export function registrationsOf(
  registry: MetricsRegistry,
): Iterable<Registration> {
  return registrations.get(registry)?.values() ?? [];
}

/** Returns the own metrics of a registry under a prefix. */
export function findRegistration(
  registry: MetricsRegistry,
  prefix: string,
): Registration | undefined {
  return registrations.get(registry)?.get(prefix);
}

/** Stores the metrics of a registry for later instances. */
export function keepRegistration(registration: Registration): void {
  const { registry, options } = registration;
  let byPrefix = registrations.get(registry);
  if (byPrefix === undefined) {
    byPrefix = new Map();
    registrations.set(registry, byPrefix);
  }
  byPrefix.set(options.prefix, registration);
}
