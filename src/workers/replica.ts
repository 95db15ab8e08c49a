import type { MetricFamily } from "../exposition/model.ts";
import { type ForeignDelta, ForeignReplica } from "./foreign_replica.ts";
import { type OwnDelta, OwnReplica } from "./own_replica.ts";

/** What changed in a registry, as it travels. */
export interface RegistryDelta {
  /** Which of those that its worker shares, in the order of sharing. */
  readonly registry: number;
  readonly own?: readonly OwnDelta[];
  readonly foreign?: readonly ForeignDelta[];
}

/** A worker's replica, as it is merged with others. */
export interface ReplicaPart {
  readonly replica: Replica;
  /** Whether the worker, and so its running scopes, are alive. */
  readonly isAlive: boolean;
  /** Readings of the process are taken from the part with the lowest age. */
  readonly age: number;
}

/** What is to be known to merge replicas. */
export interface MergeContext {
  /** Called with a metric that workers have as different types. */
  onConflict(left: MetricFamily, type: string): void;
  /** Returns the limit of own label sets under a prefix. */
  limitOf(registry: number, prefix: string): number;
  /** Called if a prefix has more label sets than that. */
  onOverflow(prefix: string): void;
}

/** A registry of a worker. */
interface RegistryReplica {
  readonly own: OwnReplica;
  readonly foreign: ForeignReplica;
}

/** All that a worker has told, kept by every worker, its own publisher included. */
export class Replica {
  readonly #registries: RegistryReplica[] = [];
  readonly #isMerged: boolean;

  /** @param isMerged Whether it holds what several workers told. */
  constructor(isMerged: boolean = false) {
    this.#isMerged = isMerged;
  }

  /** What is known of a registry. */
  registry(index: number): RegistryReplica {
    return this.#registries[index] ??= {
      own: new OwnReplica(this.#isMerged),
      foreign: new ForeignReplica(),
    };
  }

  /** Returns whether a worker reports less than it has reported before. */
  wouldDecrease(deltas: readonly RegistryDelta[]): boolean {
    return deltas.some(({ registry, own = [] }) =>
      own.some((delta) => this.registry(registry).own.wouldDecrease(delta))
    );
  }

  /** Returns whether its own metrics count less than those of another replica. */
  isBelow(floor: Replica): boolean {
    return floor.#registries.some(({ own }, registry) =>
      this.registry(registry).own.isBelow(own)
    );
  }

  /** Applies the changes of own metrics, at once. */
  applyOwn(deltas: readonly RegistryDelta[]): void {
    for (const { registry, own = [] } of deltas) {
      for (const delta of own) this.registry(registry).own.apply(delta);
    }
  }

  /**
   * Reads the changes of foreign metrics, in slices.
   *
   * @returns A function that applies all of them at once.
   */
  async prepareForeign(deltas: readonly RegistryDelta[]): Promise<() => void> {
    const byRegistry = new Map<number, ForeignDelta[]>();
    for (const { registry, foreign = [] } of deltas) {
      const all = byRegistry.get(registry) ?? [];
      all.push(...foreign);
      byRegistry.set(registry, all);
    }
    const commits: (() => void)[] = [];
    for (const [registry, all] of byRegistry) {
      commits.push(await this.registry(registry).foreign.prepare(all));
    }
    return () => {
      for (const commit of commits) commit();
    };
  }

  /** Applies all changes. */
  async apply(deltas: readonly RegistryDelta[]): Promise<void> {
    const commit = await this.prepareForeign(deltas);
    this.applyOwn(deltas);
    commit();
  }

  /** Returns all metrics as they are now, for a worker that has none of them. */
  fullState(): Iterable<RegistryDelta> {
    const deltas = this.#registries.map(({ own, foreign }, registry) => ({
      registry,
      own: own.fullState(),
      foreign: foreign.fullState(),
    }));
    return splitAll(deltas);
  }

  /** The families of a registry, without those that are not to be merged. */
  families(registry: number): MetricFamily[] {
    const { own, foreign } = this.registry(registry);
    return [...own.families(), ...foreign.families()]
      .filter(({ aggregator }) => aggregator !== "omit");
  }

  /**
   * Merges replicas as they are now: counters and histograms are added up, gauges only
   * of workers that are alive.
   */
  static async merge(
    parts: readonly ReplicaPart[],
    { onConflict, limitOf, onOverflow }: MergeContext,
  ): Promise<Replica> {
    const count = Math.max(
      ...parts.map(({ replica }) => replica.#registries.length),
    );
    const merging = Array.from({ length: count }, async (_, index) => {
      const own = OwnReplica.merge(
        parts.map(({ replica, isAlive }) => ({
          replica: replica.registry(index).own,
          isAlive,
        })),
        (prefix) => limitOf(index, prefix),
        onOverflow,
      );
      const foreign = await ForeignReplica.merge(
        parts.map(({ replica, ...part }) => ({
          replica: replica.registry(index).foreign,
          ...part,
        })),
        onConflict,
      );
      return { own, foreign: ForeignReplica.of(foreign) };
    });
    const merged = new Replica(true);
    merged.#registries.push(...await Promise.all(merging));
    return merged;
  }
}

/** Splits deltas, so that each with foreign metrics is small. */
function* splitAll(
  deltas: readonly {
    readonly registry: number;
    readonly own: readonly OwnDelta[];
    readonly foreign: Iterable<ForeignDelta>;
  }[],
): Iterable<RegistryDelta> {
  for (const { registry, own, foreign } of deltas) {
    yield { registry, own };
    for (const delta of foreign) yield { registry, foreign: [delta] };
  }
}
