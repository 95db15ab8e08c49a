import type { MetricFamily } from "../exposition/model.ts";
import { OtherReplica, type OtherTelling } from "./foreign_replica.ts";
import { OwnReplica, type OwnTelling } from "./own_replica.ts";

/** What changed in a registry, as it travels. */
export interface Telling {
  /** Which of those that its worker shares, in the order of sharing. */
  readonly registry: number;
  readonly own?: readonly OwnTelling[];
  readonly others?: readonly OtherTelling[];
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
  readonly others: OtherReplica;
}

/** All that a worker has told, kept by every worker, its own teller included. */
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
      others: new OtherReplica(),
    };
  }

  /** Returns whether a worker reports less than it has reported before. */
  isFalling(tellings: readonly Telling[]): boolean {
    return tellings.some(({ registry, own = [] }) =>
      own.some((telling) => this.registry(registry).own.isFalling(telling))
    );
  }

  /** Returns whether its own metrics count less than those of another replica. */
  isBelow(floor: Replica): boolean {
    return floor.#registries.some(({ own }, registry) =>
      this.registry(registry).own.isBelow(own)
    );
  }

  /** Applies the changes of own metrics, at once. */
  applyOwn(tellings: readonly Telling[]): void {
    for (const { registry, own = [] } of tellings) {
      for (const telling of own) this.registry(registry).own.apply(telling);
    }
  }

  /**
   * Reads the changes of foreign metrics, in slices.
   *
   * @returns A function that applies all of them at once.
   */
  async prepareOthers(tellings: readonly Telling[]): Promise<() => void> {
    const byRegistry = new Map<number, OtherTelling[]>();
    for (const { registry, others = [] } of tellings) {
      const all = byRegistry.get(registry) ?? [];
      all.push(...others);
      byRegistry.set(registry, all);
    }
    const commits: (() => void)[] = [];
    for (const [registry, all] of byRegistry) {
      commits.push(await this.registry(registry).others.prepare(all));
    }
    return () => {
      for (const commit of commits) commit();
    };
  }

  /** Applies all changes. */
  async apply(tellings: readonly Telling[]): Promise<void> {
    const commit = await this.prepareOthers(tellings);
    this.applyOwn(tellings);
    commit();
  }

  /** Returns all metrics as they are now, for a worker that has none of them. */
  everything(): Iterable<Telling> {
    const tellings = this.#registries.map(({ own, others }, registry) => ({
      registry,
      own: own.everything(),
      others: others.everything(),
    }));
    return splitAll(tellings);
  }

  /** The families of a registry, without those that are not to be merged. */
  families(registry: number): MetricFamily[] {
    const { own, others } = this.registry(registry);
    return [...own.families(), ...others.families()]
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
      const others = await OtherReplica.merge(
        parts.map(({ replica, ...part }) => ({
          replica: replica.registry(index).others,
          ...part,
        })),
        onConflict,
      );
      return { own, others: OtherReplica.of(others) };
    });
    const merged = new Replica(true);
    merged.#registries.push(...await Promise.all(merging));
    return merged;
  }
}

/** Splits tellings, so that each with foreign metrics is small. */
function* splitAll(
  tellings: readonly {
    readonly registry: number;
    readonly own: readonly OwnTelling[];
    readonly others: Iterable<OtherTelling>;
  }[],
): Iterable<Telling> {
  for (const { registry, own, others } of tellings) {
    yield { registry, own };
    for (const telling of others) yield { registry, others: [telling] };
  }
}
