import type { MetricFamily } from "../exposition/model.ts";
import { type ForeignDelta, ForeignReplica } from "./foreign_replica.ts";
import { type OwnDelta, OwnReplica } from "./own_replica.ts";

/** The changes of one registry, as they are sent. */
export interface RegistryDelta {
  /** The index of the registry among the worker's shared registries. */
  readonly registry: number;
  readonly own?: readonly OwnDelta[];
  readonly foreign?: readonly ForeignDelta[];
}

/** A worker's replica, as input to a merge. */
export interface ReplicaPart {
  readonly replica: Replica;
  /** Whether the worker is alive, and with it its running scopes. */
  readonly isAlive: boolean;
  /** Process metrics are taken from the part with the lowest age. */
  readonly age: number;
}

/** Callbacks for merging replicas. */
export interface MergeCallbacks {
  /** Called with each metric that the workers have as different types. */
  onConflict(left: MetricFamily, type: string): void;
  /** Returns the maximum number of own label sets of a registry under a prefix. */
  cardinalityLimit(registry: number, prefix: string): number;
  /** Called with each prefix that exceeds its limit. */
  onOverflow(prefix: string): void;
}

/** The replica of one registry. */
interface RegistryReplica {
  readonly own: OwnReplica;
  readonly foreign: ForeignReplica;
}

/** The metrics of a worker, as last sent. Every worker has a replica of every worker. */
export class Replica {
  readonly #registries: RegistryReplica[] = [];
  readonly #isMerged: boolean;

  /** @param isMerged Whether it contains the metrics of several workers. */
  constructor(isMerged: boolean = false) {
    this.#isMerged = isMerged;
  }

  /** Returns the replica of a registry. */
  registry(index: number): RegistryReplica {
    return this.#registries[index] ??= {
      own: new OwnReplica(this.#isMerged),
      foreign: new ForeignReplica(),
    };
  }

  /** Returns whether deltas would decrease a count of an own metric. */
  wouldDecrease(deltas: readonly RegistryDelta[]): boolean {
    return deltas.some(({ registry, own = [] }) =>
      own.some((delta) => this.registry(registry).own.wouldDecrease(delta))
    );
  }

  /** Returns whether any count of an own metric is lower than in another replica. */
  isBelow(floor: Replica): boolean {
    return floor.#registries.some(({ own }, registry) =>
      this.registry(registry).own.isBelow(own)
    );
  }

  /** Applies the changes of own metrics. */
  applyOwn(deltas: readonly RegistryDelta[]): void {
    for (const { registry, own = [] } of deltas) {
      for (const delta of own) this.registry(registry).own.apply(delta);
    }
  }

  /**
   * Reads the changes of foreign metrics in slices.
   *
   * @returns A function that applies all changes at once.
   * @throws {InvalidMessage} If the slot of a sample is out of range.
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

  /** Returns the full state, as deltas for a new worker. */
  fullState(): Iterable<RegistryDelta> {
    const deltas = this.#registries.map(({ own, foreign }, registry) => ({
      registry,
      own: own.fullState(),
      foreign: foreign.fullState(),
    }));
    return splitAll(deltas);
  }

  /** Returns the metric families of a registry that take part in merging. */
  families(registry: number): MetricFamily[] {
    const { own, foreign } = this.registry(registry);
    return [...own.families(), ...foreign.families()]
      .filter(({ aggregator }) => aggregator !== "omit");
  }

  /**
   * Merges the current state of replicas. Counters and histograms are summed over all
   * workers, gauges only over workers that are alive.
   */
  static async merge(
    parts: readonly ReplicaPart[],
    callbacks: MergeCallbacks,
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
        (prefix) => callbacks.cardinalityLimit(index, prefix),
        (prefix) => callbacks.onOverflow(prefix),
      );
      const foreign = await ForeignReplica.merge(
        parts.map(({ replica, ...part }) => ({
          replica: replica.registry(index).foreign,
          ...part,
        })),
        (family, type) => callbacks.onConflict(family, type),
      );
      return { own, foreign: ForeignReplica.of(foreign) };
    });
    const merged = new Replica(true);
    merged.#registries.push(...await Promise.all(merging));
    return merged;
  }
}

/** Splits deltas into one per registry for own metrics, and small ones for foreign metrics. */
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
