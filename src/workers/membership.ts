import { coalesce } from "../common/async.ts";
import { Peer } from "./peer.ts";
import { type MergeCallbacks, Replica, type ReplicaPart } from "./replica.ts";

/** The maximum number of peers. */
const MAX_PEERS = 1000;

/** The maximum number of unreachable workers that are not retired. */
const MAX_UNREACHABLE = 64;

/** The maximum number of ids of retired workers. */
const MAX_RETIRED_IDS = 10_000;

/** The ids of retired workers, each with its expiry time in milliseconds. */
type RetiredIds = ReadonlyMap<string, number>;

/** The other workers of a group: peers, and the sum of all retired workers. */
export class Membership {
  readonly #peers = new Map<string, Peer>();
  #retired = new Replica(true);
  readonly #retiredIds = new Map<string, number>();
  #hasDroppedIds = false;
  readonly #callbacks: MergeCallbacks;
  readonly #onRetired: (id: string) => void;

  /** @param onRetired Called with the id of each worker that was retired. */
  constructor(callbacks: MergeCallbacks, onRetired: (id: string) => void) {
    this.#callbacks = callbacks;
    this.#onRetired = onRetired;
  }

  /** All peers, by id. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** The metrics of all retired workers, in one replica. */
  get retired(): Replica {
    return this.#retired;
  }

  get retiredIds(): RetiredIds {
    return this.#retiredIds;
  }

  /** Whether ids of retired workers were dropped. */
  get hasDroppedIds(): boolean {
    return this.#hasDroppedIds;
  }

  /** Whether no further peer can be added. */
  get isFull(): boolean {
    return this.#peers.size >= MAX_PEERS;
  }

  /** The retired workers, as input to a merge. */
  get retiredPart(): ReplicaPart {
    return { replica: this.#retired, isAlive: false, age: 3 };
  }

  /** Returns a peer. A new peer is added. */
  getOrAdd(id: string): Peer {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      peer = new Peer();
      this.#peers.set(id, peer);
    }
    return peer;
  }

  /** Marks peers as unresponsive: they are not awaited until they send a message. */
  suspect(ids: readonly string[]): void {
    for (const id of ids) {
      const peer = this.#peers.get(id);
      if (peer !== undefined) peer.unresponsiveSince = performance.now();
    }
  }

  /** Merges the retired workers with other parts. */
  merge(parts: readonly ReplicaPart[]): Promise<Replica> {
    // Retired workers first: they always have room under the cardinalityLimit.
    return Replica.merge([this.retiredPart, ...parts], this.#callbacks);
  }

  /** Retires peers that left, and unreachable ones if there are too many of them. */
  readonly retire: () => Promise<void> = coalesce<void, void>(async () => {
    this.#dropExpiredIds();
    for (const [id, peer] of this.#peersToRetire()) {
      const { replica, version } = peer;
      const retired = this.#retired;
      const merged = await this.merge([{ replica, isAlive: false, age: 2 }]);
      // After a message during the merge, the peer is left for the next call.
      const isUnchanged = this.#retired === retired &&
        this.#peers.get(id) === peer && peer.version === version &&
        (peer.canRetire || peer.isUnreachable);
      if (!isUnchanged) continue;
      this.#retired = merged;
      this.#retiredIds.set(id, performance.now() + peer.idRetentionMs);
      this.#peers.delete(id);
      this.#onRetired(id);
    }
  });

  /** Replaces the retired workers by a sum from another worker that includes them. */
  replaceRetired(
    retired: Replica,
    ids: RetiredIds,
    hasDroppedIds: boolean,
  ): void {
    this.#retired = retired;
    for (const [id, until] of ids) {
      this.#retiredIds.set(id, until);
      this.#peers.delete(id);
    }
    this.#hasDroppedIds = hasDroppedIds;
  }

  #peersToRetire(): [id: string, peer: Peer][] {
    const peers = [...this.#peers];
    const unreachable = peers
      .filter(([, peer]) => peer.isUnreachable && !peer.canRetire)
      .sort(([, a], [, b]) => a.unresponsiveSince! - b.unresponsiveSince!);
    const excess = Math.max(0, unreachable.length - MAX_UNREACHABLE);
    return [
      ...peers.filter(([, peer]) => peer.canRetire),
      ...unreachable.slice(0, excess),
    ];
  }

  #dropExpiredIds(): void {
    for (const [id, until] of this.#retiredIds) {
      const isKept = performance.now() < until &&
        this.#retiredIds.size <= MAX_RETIRED_IDS;
      if (isKept) continue;
      this.#retiredIds.delete(id);
      this.#hasDroppedIds = true;
    }
  }
}
