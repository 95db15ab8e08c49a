import { monotonicSeconds } from "./clock.ts";
import { applyChanges, changesOf, type SeriesChange } from "./changes.ts";
import { createFamilies } from "./families.ts";
import { viewWith } from "./gather.ts";
import { type IssueCounts, zeroIssues } from "./issues.ts";
import { mergeFamilies, mergeTrees } from "./merge.ts";
import type { Registration } from "./registry.ts";
import {
  type GatheredFamily,
  type GatheredSample,
  sampleKey,
} from "./samples.ts";
import { SeriesTree } from "./series.ts";

/** What changed in the metrics of ours of one registry and prefix, as it travels. */
interface OwnTelling {
  readonly prefix: string;
  /** The labels that the registry adds to every sample. */
  readonly labels: Readonly<Record<string, string>>;
  readonly pipelineBuckets: readonly number[];
  readonly stageBuckets: readonly number[];
  /** The clock by which the series were started, when this was told. */
  readonly now: number;
  readonly issues: Partial<IssueCounts>;
  readonly series: readonly SeriesChange[];
}

/** What changed in a metric of others, as it travels. */
interface OtherTelling {
  readonly name: string;
  /** `null`: the registry has it no more. */
  readonly family: Omit<GatheredFamily, "name" | "samples"> | null;
  readonly changed: readonly TravellingSample[];
  /** The keys of samples that are no more. */
  readonly removed: readonly string[];
}

/** JSON has neither `NaN` nor infinities: these travel as text. */
interface TravellingSample extends Omit<GatheredSample, "value"> {
  readonly value: number | string;
}

/** What changed in a registry, as it travels. */
export interface Telling {
  /** Which of those that its worker shares, in the order of sharing. */
  readonly registry: number;
  readonly own: readonly OwnTelling[];
  readonly others: readonly OtherTelling[];
}

/** The metrics of ours of one registry, prefix and default labels. */
interface OwnReplica {
  readonly prefix: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly tree: SeriesTree;
  readonly issues: IssueCounts;
  /** What its clock lacks to that of this thread, in seconds. */
  offset: number;
}

interface OwnPart extends OwnReplica {
  readonly isAlive: boolean;
}

/** A metric of others. */
interface OtherReplica {
  readonly family: Omit<GatheredFamily, "name" | "samples">;
  readonly samples: ReadonlyMap<string, GatheredSample>;
}

/** A worker's, and whether what it had running still runs. */
export interface ReplicaPart {
  readonly replica: Replica;
  readonly isAlive: boolean;
}

/** A registry of a worker, as it was last told. */
class RegistryReplica {
  /** By prefix, and in what is merged by prefix and labels. */
  readonly own = new Map<string, OwnReplica>();
  readonly others = new Map<string, OtherReplica>();
}

/** All that a worker has told, kept by every worker, its own teller included. */
export class Replica {
  readonly #registries: RegistryReplica[] = [];

  /** What metrics of ours hold that was not told yet. */
  ownChanges(
    registry: number,
    registration: Registration,
    labels: Readonly<Record<string, string>>,
  ): Telling | undefined {
    const { tree, issueCounts, options, now } = registration;
    const { prefix, pipelineBuckets, stageBuckets } = options;
    const known = findOwn(this.#registry(registry).own, prefix, labels);
    const series = changesOf(tree, known?.tree);
    const issues = Object.fromEntries(
      Object.entries(issueCounts).filter(([issue, count]) =>
        count !== known?.issues[issue as keyof IssueCounts]
      ),
    );
    const hasChanged = series.length > 0 || Object.keys(issues).length > 0;
    if (!hasChanged) return undefined;
    return {
      registry,
      own: [{
        prefix,
        labels,
        pipelineBuckets,
        stageBuckets,
        now: now(),
        issues,
        series,
      }],
      others: [],
    };
  }

  /** What metrics of others hold that was not told yet. */
  otherChanges(
    registry: number,
    families: readonly GatheredFamily[],
  ): Telling | undefined {
    const known = this.#registry(registry).others;
    const names = new Set(families.map(({ name }) => name));
    const others = [
      ...families.flatMap((family) => changesOfOther(family, known)),
      ...[...known.keys()].filter((name) => !names.has(name))
        .map((name) => ({ name, family: null, changed: [], removed: [] })),
    ];
    return others.length === 0 ? undefined : { registry, own: [], others };
  }

  /** Takes in what was told. */
  apply(tellings: readonly Telling[]): void {
    for (const { registry, own, others } of tellings) {
      const replica = this.#registry(registry);
      for (const telling of own) applyOwn(replica.own, telling);
      for (const telling of others) applyOther(replica.others, telling);
    }
  }

  /** All of it, for those who know nothing. */
  everything(): Telling[] {
    return this.#registries.map(({ own, others }, registry) => ({
      registry,
      own: [...own.values()].map((each) => ({
        prefix: each.prefix,
        labels: each.labels,
        pipelineBuckets: [...each.tree.pipelineBounds],
        stageBuckets: [...each.tree.stageBounds],
        now: monotonicSeconds() - each.offset,
        issues: each.issues,
        series: changesOf(each.tree, undefined),
      })),
      others: [...others].map(([name, { family, samples }]) => ({
        name,
        family,
        changed: [...samples.values()].map(pack),
        removed: [],
      })),
    }));
  }

  /** The families of a registry, without those that are not to be merged. */
  families(registry: number): GatheredFamily[] {
    const { own, others } = this.#registry(registry);
    const views = [...own.values()].flatMap((
      { prefix, labels, tree, issues },
    ) =>
      createFamilies(prefix, tree, issues, monotonicSeconds)
        .map((family) => viewWith(family, labels))
    );
    return [...views, ...familiesOf(others)]
      .filter(({ aggregator }) => aggregator !== "omit");
  }

  /**
   * Makes one of several: counters and histograms are added up, gauges only of
   * those that are alive.
   *
   * @param onConflict Told of a metric that workers have as different types.
   */
  static merge(
    parts: readonly ReplicaPart[],
    onConflict: (left: GatheredFamily, type: string) => void,
  ): Replica {
    const merged = new Replica();
    const count = Math.max(
      ...parts.map(({ replica }) => replica.#registries.length),
    );
    for (let registry = 0; registry < count; registry++) {
      const into = merged.#registry(registry);
      const present = parts.map(({ replica, isAlive }) => ({
        ...replica.#registry(registry),
        isAlive,
      }));
      const groups = new Map<string, [OwnPart, ...OwnPart[]]>();
      for (const { own, isAlive } of present) {
        for (const replica of own.values()) {
          const key = JSON.stringify([replica.prefix, replica.labels]);
          const group = groups.get(key);
          const part = { ...replica, isAlive };
          if (group === undefined) groups.set(key, [part]);
          else group.push(part);
        }
      }
      for (const [key, group] of groups) into.own.set(key, mergeOwn(group));
      const families = present.flatMap(({ others, isAlive }) =>
        familiesOf(others).filter(({ type }) => isAlive || type !== "gauge")
      );
      for (const family of mergeFamilies(families, onConflict)) {
        into.others.set(family.name, toReplica(family));
      }
    }
    return merged;
  }

  #registry(index: number): RegistryReplica {
    return this.#registries[index] ??= new RegistryReplica();
  }
}

/** Default labels may change: what was told under others is no more. */
function findOwn(
  own: ReadonlyMap<string, OwnReplica>,
  prefix: string,
  labels: Readonly<Record<string, string>>,
): OwnReplica | undefined {
  const found = own.get(prefix);
  return isEqual(found?.labels, labels) ? found : undefined;
}

function applyOwn(own: Map<string, OwnReplica>, telling: OwnTelling): void {
  const { prefix, labels, now } = telling;
  let replica = findOwn(own, prefix, labels);
  if (replica === undefined) {
    const { pipelineBuckets, stageBuckets } = telling;
    replica = {
      prefix,
      labels,
      tree: new SeriesTree(pipelineBuckets, stageBuckets),
      issues: zeroIssues(),
      offset: 0,
    };
    own.set(prefix, replica);
  }
  replica.offset = monotonicSeconds() - now;
  applyChanges(replica.tree, telling.series);
  Object.assign(replica.issues, telling.issues);
}

function mergeOwn(parts: readonly [OwnPart, ...OwnPart[]]): OwnReplica {
  const issues = zeroIssues();
  for (const part of parts) {
    for (const issue of Object.keys(issues) as (keyof IssueCounts)[]) {
      issues[issue] += part.issues[issue];
    }
  }
  const { prefix, labels } = parts[0];
  return { prefix, labels, tree: mergeTrees(parts), issues, offset: 0 };
}

function changesOfOther(
  { name, samples, help, type, aggregator }: GatheredFamily,
  replicas: ReadonlyMap<string, OtherReplica>,
): OtherTelling[] {
  const family = { help, type, aggregator };
  const known = replicas.get(name);
  const isSameFamily = isEqual(known?.family, family);
  const before = isSameFamily ? known!.samples : new Map();
  const now = new Map(samples.map((each) => [sampleKey(each), each]));
  const changed = [...now].filter(([key, sample]) =>
    !isEqual(before.get(key), sample)
  );
  const removed = [...before.keys()].filter((key) => !now.has(key));
  if (isSameFamily && changed.length === 0 && removed.length === 0) return [];
  return [{
    name,
    family,
    changed: changed.map(([, sample]) => pack(sample)),
    removed,
  }];
}

function applyOther(
  others: Map<string, OtherReplica>,
  { name, family, changed, removed }: OtherTelling,
): void {
  if (family === null) {
    others.delete(name);
    return;
  }
  const known = others.get(name);
  const samples = new Map(
    isEqual(known?.family, family) ? known!.samples : undefined,
  );
  for (const key of removed) samples.delete(key);
  for (const sample of changed.map(unpack)) {
    samples.set(sampleKey(sample), sample);
  }
  others.set(name, { family, samples });
}

function toReplica(
  { name: _, samples, ...family }: GatheredFamily,
): OtherReplica {
  return {
    family,
    samples: new Map(samples.map((each) => [sampleKey(each), each])),
  };
}

function familiesOf(
  others: ReadonlyMap<string, OtherReplica>,
): GatheredFamily[] {
  return [...others].map(([name, { family, samples }]) => ({
    name,
    ...family,
    samples: [...samples.values()],
  }));
}

function pack(sample: GatheredSample): TravellingSample {
  const { value } = sample;
  return Number.isFinite(value) ? sample : { ...sample, value: String(value) };
}

function unpack(sample: TravellingSample): GatheredSample {
  return { ...sample, value: Number(sample.value) };
}

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one, keepNumbers) ===
    JSON.stringify(other, keepNumbers);
}

/** `NaN` and the infinities would all be `null`. */
function keepNumbers(_key: string, value: unknown): unknown {
  return typeof value === "number" ? String(value) : value;
}
