import { monotonicSeconds } from "../common/clock.ts";
import { type IssueCounts, zeroIssues } from "../common/issues.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { ownFamilies } from "../registry/families.ts";
import type { Registration } from "../registry/registration.ts";
import { mergeTrees } from "../series/merge.ts";
import { SeriesTree } from "../series/series_tree.ts";
import {
  applyDelta,
  diff,
  isBelow,
  type SeriesDelta,
  wouldDecrease,
} from "./delta.ts";

type Labels = Readonly<Record<string, string>>;

/** The changes of the own metrics of one registry and prefix, as they are sent. */
export interface OwnDelta {
  readonly prefix: string;
  /** The labels that the registry adds to every sample. */
  readonly labels: Labels;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  /** The sender's monotonic time when it created the delta, in seconds. */
  readonly now: number;
  readonly issues: Partial<IssueCounts>;
  readonly series: readonly SeriesDelta[];
}

/** The own metrics of one registry, prefix and set of default labels. */
interface Entry {
  readonly prefix: string;
  readonly labels: Labels;
  readonly tree: SeriesTree;
  readonly issues: IssueCounts;
  /** The monotonic time of this thread minus the worker's, in seconds. */
  readonly offset: number;
}

/** The own metrics of a worker's registry, as last sent. */
export class OwnReplica {
  /** The entries, by prefix and labels. */
  readonly #entries = new Map<string, Entry>();
  readonly #isMerged: boolean;

  /**
   * @param isMerged Whether it contains the metrics of several workers, which may have
   * different labels under one prefix. A single worker has one set of labels at a time.
   */
  constructor(isMerged: boolean = false) {
    this.#isMerged = isMerged;
  }

  /** Returns the changes that have not been sent yet, if there are any. */
  diff(
    { tree, issueCounts, options, now }: Registration,
    labels: Labels,
  ): OwnDelta[] {
    const { prefix, pipelineBuckets, stageBuckets } = options;
    const known = this.#find(prefix, labels, pipelineBuckets, stageBuckets);
    const series = withoutDecreases(diff(tree, known?.tree), known?.tree);
    const issues = Object.fromEntries(
      Object.entries(issueCounts).filter(([issue, count]) =>
        count > (known?.issues[issue as keyof IssueCounts] ?? -1)
      ),
    );
    const hasChanged = series.length > 0 || Object.keys(issues).length > 0;
    if (!hasChanged) return [];
    return [{
      prefix,
      labels,
      pipelineBuckets,
      stageBuckets,
      now: now(),
      issues,
      series,
    }];
  }

  /** Returns whether a delta would decrease a count. */
  wouldDecrease(delta: OwnDelta): boolean {
    const { prefix, labels, pipelineBuckets, stageBuckets } = delta;
    const known = this.#find(prefix, labels, pipelineBuckets, stageBuckets);
    const before = this.#entriesOf(prefix);
    return before.some(([, { tree, issues }]) =>
      wouldDecrease(delta.series, tree, known === undefined) ||
      areIssuesBelow({ ...known?.issues, ...delta.issues }, issues)
    );
  }

  /** Returns whether any count is lower than in another replica. */
  isBelow(floor: OwnReplica): boolean {
    return [...floor.#entries].some(([key, { tree, issues }]) => {
      const entry = this.#entries.get(key);
      return isBelow(entry?.tree ?? new SeriesTree([], []), tree) ||
        areIssuesBelow(entry?.issues ?? {}, issues);
    });
  }

  /** Applies a delta. */
  apply(delta: OwnDelta): void {
    const { prefix, labels, pipelineBuckets, stageBuckets, now } = delta;
    const known = this.#find(prefix, labels, pipelineBuckets, stageBuckets);
    const tree = known?.tree ?? new SeriesTree(pipelineBuckets, stageBuckets);
    const issues = { ...zeroIssues(), ...known?.issues, ...delta.issues };
    const offset = monotonicSeconds() - now;
    applyDelta(tree, delta.series);
    if (!this.#isMerged) {
      // A worker has one set of default labels: drop the former one if they changed.
      for (const [key] of this.#entriesOf(prefix)) this.#entries.delete(key);
    }
    const entry = { prefix, labels, tree, issues, offset };
    this.#entries.set(keyOf(prefix, labels), entry);
  }

  /** Returns the full state, as deltas for a new worker. */
  fullState(): OwnDelta[] {
    return [...this.#entries.values()].map(
      ({ prefix, labels, tree, issues, offset }) => ({
        prefix,
        labels,
        pipelineBuckets: [...tree.pipelineBounds],
        stageBuckets: [...tree.stageBounds],
        now: monotonicSeconds() - offset,
        issues,
        series: diff(tree, undefined),
      }),
    );
  }

  /** Returns the current metric families. */
  families(): MetricFamily[] {
    const now = monotonicSeconds();
    return [...this.#entries.values()].flatMap(
      ({ prefix, labels, tree, issues }) =>
        ownFamilies(prefix, { series: tree, issues, now: () => now }, labels),
    );
  }

  /**
   * Merges replicas. Running scopes are counted for workers that are alive.
   *
   * @param limitOf Returns the maximum number of label sets under a prefix.
   * @param onOverflow Called with each prefix that exceeds its limit.
   */
  static merge(
    parts: readonly {
      readonly replica: OwnReplica;
      readonly isAlive: boolean;
    }[],
    limitOf: (prefix: string) => number,
    onOverflow: (prefix: string) => void,
  ): OwnReplica {
    const groups = new Map<string, (Entry & { isAlive: boolean })[]>();
    for (const { replica, isAlive } of parts) {
      for (const entry of replica.#entries.values()) {
        const key = keyOf(entry.prefix, entry.labels);
        const group = groups.get(key) ?? [];
        group.push({ ...entry, isAlive });
        groups.set(key, group);
      }
    }
    const merged = new OwnReplica(true);
    for (const [key, group] of groups) {
      const { prefix, labels } = group[0]!;
      const tree = mergeTrees(
        group,
        limitOf(prefix),
        () => onOverflow(prefix),
      );
      const issues = sumIssues(group.map(({ issues }) => issues));
      merged.#entries.set(key, { prefix, labels, tree, issues, offset: 0 });
    }
    return merged;
  }

  /** Returns the entry of a prefix and labels, if its buckets are the same. */
  #find(
    prefix: string,
    labels: Labels,
    pipelineBuckets: readonly number[],
    stageBuckets: readonly number[],
  ): Entry | undefined {
    const found = this.#entries.get(keyOf(prefix, labels));
    const isSame = found?.tree.pipelineBounds.join() ===
        pipelineBuckets.join() &&
      found.tree.stageBounds.join() === stageBuckets.join();
    return isSame ? found : undefined;
  }

  #entriesOf(prefix: string): [key: string, entry: Entry][] {
    return [...this.#entries].filter(([, entry]) => entry.prefix === prefix);
  }
}

/**
 * Removes stats that a reset of the metrics has decreased: other workers would reject them.
 * They are sent again once they exceed the values from before the reset.
 */
function withoutDecreases(
  changes: readonly SeriesDelta[],
  known: SeriesTree | undefined,
): readonly SeriesDelta[] {
  if (known === undefined || !wouldDecrease(changes, known)) return changes;
  return changes.map(([lane, pipeline, stage, running, startSum, outcomes]) => [
    lane,
    pipeline,
    stage,
    running,
    startSum,
    outcomes.filter((stats) => {
      const delta: SeriesDelta = [lane, pipeline, stage, 0, 0, [stats]];
      return !wouldDecrease([delta], known);
    }),
  ]);
}

function keyOf(prefix: string, labels: Labels): string {
  return JSON.stringify([prefix, labels]);
}

function areIssuesBelow(
  counts: Partial<IssueCounts>,
  floor: IssueCounts,
): boolean {
  return Object.entries(floor).some(([issue, count]) =>
    (counts[issue as keyof IssueCounts] ?? 0) < count
  );
}

function sumIssues(all: readonly IssueCounts[]): IssueCounts {
  const sum = zeroIssues();
  for (const issues of all) {
    for (const issue of Object.keys(sum) as (keyof IssueCounts)[]) {
      sum[issue] += issues[issue];
    }
  }
  return sum;
}
