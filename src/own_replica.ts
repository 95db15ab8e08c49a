import { applyChanges, changesOf, type SeriesChange } from "./changes.ts";
import { monotonicSeconds } from "./clock.ts";
import { Families } from "./families.ts";
import { type IssueCounts, zeroIssues } from "./issues.ts";
import { mergeTrees } from "./merge.ts";
import type { Registration } from "./registry.ts";
import type { GatheredFamily } from "./samples.ts";
import { SeriesTree } from "./series.ts";
import { FamilyView } from "./view.ts";

type Labels = Readonly<Record<string, string>>;

/** What changed in the metrics of ours of one registry and prefix, as it travels. */
export interface OwnTelling {
  readonly prefix: string;
  /** The labels that the registry adds to every sample. */
  readonly labels: Labels;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  /** The clock by which the series were started, when this was told. */
  readonly now: number;
  readonly issues: Partial<IssueCounts>;
  readonly series: readonly SeriesChange[];
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
  /** By prefix, and in what is merged by prefix and labels. */
  readonly #entries = new Map<string, Entry>();

  /** What they hold that was not told yet, if there is anything. */
  changes(
    { tree, issueCounts, options, now }: Registration,
    labels: Labels,
  ): OwnTelling[] {
    const { prefix, pipelineBuckets, stageBuckets } = options;
    const known = this.#find(prefix, labels);
    const series = changesOf(tree, known?.tree);
    const issues = Object.fromEntries(
      Object.entries(issueCounts).filter(([issue, count]) =>
        count !== known?.issues[issue as keyof IssueCounts]
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

  apply(telling: OwnTelling): void {
    const { prefix, labels, pipelineBuckets, stageBuckets, now } = telling;
    const known = this.#find(prefix, labels);
    const tree = known?.tree ?? new SeriesTree(pipelineBuckets, stageBuckets);
    const issues = { ...zeroIssues(), ...known?.issues, ...telling.issues };
    const offset = monotonicSeconds() - now;
    applyChanges(tree, telling.series);
    this.#entries.set(prefix, { prefix, labels, tree, issues, offset });
  }

  /** All of it, for those who know nothing. */
  everything(): OwnTelling[] {
    return [...this.#entries.values()].map(
      ({ prefix, labels, tree, issues, offset }) => ({
        prefix,
        labels,
        pipelineBuckets: [...tree.pipelineBounds],
        stageBuckets: [...tree.stageBounds],
        now: monotonicSeconds() - offset,
        issues,
        series: changesOf(tree, undefined),
      }),
    );
  }

  families(): GatheredFamily[] {
    const now = monotonicSeconds();
    return [...this.#entries.values()].flatMap(
      ({ prefix, labels, tree, issues }) =>
        [...new Families(prefix, tree, issues, () => now)]
          .map((family) => new FamilyView(family, labels)),
    );
  }

  /** Makes one of several; what runs is that of those alive. */
  static merge(
    parts: readonly {
      readonly replica: OwnReplica;
      readonly isAlive: boolean;
    }[],
  ): OwnReplica {
    const groups = new Map<string, (Entry & { isAlive: boolean })[]>();
    for (const { replica, isAlive } of parts) {
      for (const entry of replica.#entries.values()) {
        const key = JSON.stringify([entry.prefix, entry.labels]);
        const group = groups.get(key) ?? [];
        group.push({ ...entry, isAlive });
        groups.set(key, group);
      }
    }
    const merged = new OwnReplica();
    for (const [key, group] of groups) {
      const { prefix, labels } = group[0]!;
      const tree = mergeTrees(group);
      const issues = sumIssues(group.map(({ issues }) => issues));
      merged.#entries.set(key, { prefix, labels, tree, issues, offset: 0 });
    }
    return merged;
  }

  /** Default labels may change: what was told under others is no more. */
  #find(prefix: string, labels: Labels): Entry | undefined {
    const found = this.#entries.get(prefix);
    return JSON.stringify(found?.labels) === JSON.stringify(labels)
      ? found
      : undefined;
  }
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
