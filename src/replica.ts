import { OtherReplica, type OtherTelling } from "./other_replica.ts";
import { OwnReplica, type OwnTelling } from "./own_replica.ts";
import type { GatheredFamily } from "./samples.ts";

/** What changed in a registry, as it travels. */
export interface Telling {
  /** Which of those that its worker shares, in the order of sharing. */
  readonly registry: number;
  readonly own?: readonly OwnTelling[];
  readonly others?: readonly OtherTelling[];
}

/** A worker's replica, and whether what it had running still runs. */
export interface ReplicaPart {
  readonly replica: Replica;
  readonly isAlive: boolean;
}

/** A registry of a worker. */
interface RegistryReplica {
  readonly own: OwnReplica;
  readonly others: OtherReplica;
}

/** All that a worker has told, kept by every worker, its own teller included. */
export class Replica {
  readonly #registries: RegistryReplica[] = [];

  /** What is known of a registry. */
  registry(index: number): RegistryReplica {
    return this.#registries[index] ??= {
      own: new OwnReplica(),
      others: new OtherReplica(),
    };
  }

  /** Takes in what was told. */
  apply(tellings: readonly Telling[]): void {
    for (const { registry, own = [], others = [] } of tellings) {
      const replica = this.registry(registry);
      for (const telling of own) replica.own.apply(telling);
      for (const telling of others) replica.others.apply(telling);
    }
  }

  /** All of it, for those who know nothing. */
  everything(): Telling[] {
    return this.#registries.map(({ own, others }, registry) => ({
      registry,
      own: own.everything(),
      others: others.everything(),
    }));
  }

  /** The families of a registry, without those that are not to be merged. */
  families(registry: number): GatheredFamily[] {
    const { own, others } = this.registry(registry);
    return [...own.families(), ...others.families()]
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
    for (let index = 0; index < count; index++) {
      const registries = parts.map(({ replica, isAlive }) => ({
        ...replica.registry(index),
        isAlive,
      }));
      merged.#registries[index] = {
        own: OwnReplica.merge(
          registries.map(({ own, isAlive }) => ({ replica: own, isAlive })),
        ),
        others: OtherReplica.merge(
          registries.map(({ others, isAlive }) => ({
            replica: others,
            isAlive,
          })),
          onConflict,
        ),
      };
    }
    return merged;
  }
}
