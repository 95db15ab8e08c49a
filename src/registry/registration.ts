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
import { Families } from "./families.ts";
import type { OwnMetric } from "./own_metric.ts";
import type { MetricsRegistry } from "./registry.ts";

/** How many label sets there may be, if nobody says. */
export const DEFAULT_CARDINALITY_LIMIT = 2000;

/** What the metrics of one registry and prefix are made from. */
export interface RegistrationOptions {
  readonly prefix: string;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  readonly cardinalityLimit: number;
  readonly clock: () => number;
}

/** What an instance says of them; it takes what it leaves open as it is. */
export type RegistrationChoice = {
  readonly [key in keyof RegistrationOptions]?:
    | RegistrationOptions[key]
    | undefined;
};

/** The metrics that all instances of one registry and prefix share. */
export class Registration {
  readonly registry: MetricsRegistry;
  readonly options: RegistrationOptions;
  readonly tree: SeriesTree;
  readonly issueCounts: IssueCounts;
  /** Seconds; monotonic; never throws. */
  readonly now: () => number;
  /** Reports issues of no single instance, as the first instance wants it. */
  issues: IssueReporter;
  /** Whether an instance records here: declarations alone do not count. */
  isInUse = false;
  /** Whether the registry has taken the families, when last looked at. */
  isRegistered = false;
  readonly #families: Families;
  readonly #issuesFamily: OwnMetric;
  /** What the registry held under the last family's name when last looked at. */
  #seen: object | undefined | null = null;

  /** @param counts The counts to go on with, if there are some. */
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
    this.#families = new Families(
      prefix,
      this.tree,
      this.issueCounts,
      this.now,
    );
    this.#issuesFamily = this.#families.issues;
  }

  /** Says why an instance with these options cannot share these metrics. */
  findConflict(options: RegistrationChoice): string | undefined {
    const shared = `Cannot share the metrics ${
      quote(`${this.options.prefix}*`)
    } of the registry`;
    for (const key of ["pipelineBuckets", "stageBuckets"] as const) {
      const [asked, have] = [options[key]?.join(", "), this.options[key]];
      if (asked !== undefined && asked !== have.join(", ")) {
        return `${shared}: they have the ${key} ${
          have.join(", ")
        }, not ${asked}`;
      }
    }
    const { cardinalityLimit, clock } = options;
    const limit = this.options.cardinalityLimit;
    if (cardinalityLimit !== undefined && cardinalityLimit !== limit) {
      return `${shared}: they have the cardinalityLimit ${limit}, not ${cardinalityLimit}`;
    }
    if (clock !== undefined && clock !== this.options.clock) {
      return `${shared}: they go by another clock`;
    }
    return undefined;
  }

  /** Lets an instance record here; the first one decides how issues are reported. */
  use(reporting: IssueReporterOptions): void {
    if (this.isInUse) return;
    this.isInUse = true;
    this.issues = new IssueReporter(this.issueCounts, reporting);
  }

  /** Forgets declarations and the issues they caused. */
  reset(): void {
    this.tree.clear();
    Object.assign(this.issueCounts, zeroIssues());
  }

  /** Removes the families from the registry. */
  remove(): void {
    registrations.get(this.registry)?.delete(this.options.prefix);
    this.isRegistered = false;
    try {
      for (const family of this.#families) {
        const { fullName } = family;
        if (this.registry.getSingleMetric(fullName) === family) {
          this.registry.removeSingleMetric(fullName);
        }
      }
    } catch (error) {
      this.issues.report("registry_conflict", describeError(error));
    }
  }

  /**
   * Puts the families into the registry, all or none.
   *
   * @throws {Error} If the registry has a metric of such a name that is not ours.
   */
  register(): void {
    const missing: OwnMetric[] = [];
    for (const family of this.#families) {
      const found = this.registry.getSingleMetric(family.fullName);
      if (found === undefined) {
        missing.push(family);
      } else if (found !== family) {
        throw new Error(
          `Cannot register ${
            quote(family.fullName)
          }: the registry has a metric of that name already, and it is not this library's`,
        );
      }
    }
    const added: OwnMetric[] = [];
    try {
      for (const family of missing) {
        // An OpenMetrics registry may have renamed it before it was cleared.
        family.name = family.fullName;
        this.registry.registerMetric(family);
        added.push(family);
      }
    } catch (error) {
      for (const family of added) {
        this.registry.removeSingleMetric(family.fullName);
      }
      throw error;
    }
    this.#seen = this.#issuesFamily;
    this.isRegistered = true;
  }

  /**
   * Registers anew what the registry has lost by a `clear()`. Where it takes no
   * families, it gets at least the one that tells of it, if it takes that.
   */
  ensure(issues: IssueReporter): void {
    const { fullName } = this.#issuesFamily;
    try {
      if (this.registry.getSingleMetric(fullName) === this.#seen) return;
      this.register();
    } catch (error) {
      issues.report("registry_conflict", describeError(error));
      this.isRegistered = false;
      this.#seen = this.#registerIssues();
    }
  }

  /** Whether a family is one of these metrics. */
  has(family: OwnMetric): boolean {
    return family.group === this.#families;
  }

  #registerIssues(): object | undefined {
    const { fullName } = this.#issuesFamily;
    try {
      if (this.registry.getSingleMetric(fullName) === undefined) {
        this.registry.registerMetric(this.#issuesFamily);
      }
      return this.registry.getSingleMetric(fullName);
    } catch {
      return undefined;
    }
  }
}

/** Of all copies of this library: what one has registered, another one goes on with. */
const registrations = perProcess(
  "registrations",
  () => new WeakMap<MetricsRegistry, Map<string, Registration>>(),
);

/** The metrics of ours that a registry has, under every prefix. */
export function registrationsOf(
  registry: MetricsRegistry,
): Iterable<Registration> {
  return registrations.get(registry)?.values() ?? [];
}

/** The metrics of ours that a registry has under a prefix. */
export function findRegistration(
  registry: MetricsRegistry,
  prefix: string,
): Registration | undefined {
  return registrations.get(registry)?.get(prefix);
}

/** Lets instances to come find the metrics of a registry. */
export function keepRegistration(registration: Registration): void {
  const { registry, options } = registration;
  let byPrefix = registrations.get(registry);
  if (byPrefix === undefined) {
    byPrefix = new Map();
    registrations.set(registry, byPrefix);
  }
  byPrefix.set(options.prefix, registration);
}
