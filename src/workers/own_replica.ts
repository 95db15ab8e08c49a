import { monotonicSeconds } from "../common/clock.ts";
import { type IssueCounts, zeroIssues } from "../common/issues.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { Families } from "../registry/families.ts";
import { OwnMetricView } from "../registry/own_metric.ts";
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

/** What changed in the metrics of ours of one registry and prefix, as it travels. */
export interface OwnDelta {
  readonly prefix: string;
  /** The labels that the registry adds to every sample. */
  readonly labels: Labels;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  /** The clock by which the series were started, when this was told. */
  readonly now: number;
  readonly issues: Partial<IssueCounts>;
  readonly series: readonly SeriesDelta[];
}

/** The metrics of ours of one registry, prefix and default labels. */
interface Entry {
  readonly prefix: string;
  readonly labels: Labels;
  readonly tree: SeriesTree;
  readonly issues: IssueCounts;
  /** What its clock lacks to that of this thread, in seconds. */
  readonly offset: number;
}

/** The metrics of ours that a registry of a worker holds, as it last told. */
export class OwnReplica {
  /** By prefix and labels. */
  readonly #entries = new Map<string, Entry>();
  readonly #isMerged: boolean;

  /**
   * @param isMerged Whether it holds what several workers counted, which may have
   * other labels under one prefix. A single worker has one set of labels at a time.
   */
  constructor(isMerged: boolean = false) {
    this.#isMerged = isMerged;
  }

  /** What they hold that was not told yet, if there is anything. */
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

  /** Returns whether a worker tells less than it has told before. */
  wouldDecrease(delta: OwnDelta): boolean {
    const { prefix, labels, pipelineBuckets, stageBuckets } = delta;
    const known = this.#find(prefix, labels, pipelineBuckets, stageBuckets);
    const before = this.#entriesOf(prefix);
    return before.some(([, { tree, issues }]) =>
      wouldDecrease(delta.series, tree, known === undefined) ||
      areIssuesBelow({ ...known?.issues, ...delta.issues }, issues)
    );
  }

  /** Returns whether it holds less than another replica. */
  isBelow(floor: OwnReplica): boolean {
    return [...floor.#entries].some(([key, { tree, issues }]) => {
      const entry = this.#entries.get(key);
      return isBelow(entry?.tree ?? new SeriesTree([], []), tree) ||
        areIssuesBelow(entry?.issues ?? {}, issues);
    });
  }

  apply(delta: OwnDelta): void {
    const { prefix, labels, pipelineBuckets, stageBuckets, now } = delta;
    const known = this.#find(prefix, labels, pipelineBuckets, stageBuckets);
    const tree = known?.tree ?? new SeriesTree(pipelineBuckets, stageBuckets);
    const issues = { ...zeroIssues(), ...known?.issues, ...delta.issues };
    const offset = monotonicSeconds() - now;
    applyDelta(tree, delta.series);
    if (!this.#isMerged) {
      // Default labels may change: what was told under others is no more.
      for (const [key] of this.#entriesOf(prefix)) this.#entries.delete(key);
    }
    const entry = { prefix, labels, tree, issues, offset };
    this.#entries.set(keyOf(prefix, labels), entry);
  }

  /** All of it, for those who know nothing. */
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

  families(): MetricFamily[] {
    const now = monotonicSeconds();
    return [...this.#entries.values()].flatMap(
      ({ prefix, labels, tree, issues }) =>
        [...new Families(prefix, tree, issues, () => now)]
          .map((family) => new OwnMetricView(family, labels)),
    );
  }

  /**
   * Makes one of several; what runs is that of those alive.
   *
   * @param limitOf How many label sets there may be under a prefix.
   * @param onOverflow Called if there were more.
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

  /** What is known of a prefix and labels, unless it had other buckets. */
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
 * Leaves out what a reset of the metrics has lowered, which others would refuse: it is
 * told once more has been counted than before.
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
      const change: SeriesDelta = [lane, pipeline, stage, 0, 0, [stats]];
      return !wouldDecrease([change], known);
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
