import { InvalidMessage } from "./invalid_message.ts";
import { type RegistryDelta, Replica } from "./replica.ts";

/** The time after which a worker that left can be retired. */
const RETIRE_AFTER_MS = 10_000;

/** The time after which an unresponsive worker counts as terminated until it answers. */
const UNREACHABLE_AFTER_MS = 600_000;

/** How long the id of a retired worker that left is kept. No message is later than that. */
const LEFT_ID_RETENTION_MS = 60_000;

/** How long the id of a retired unreachable worker is kept. It may resume and answer. */
const UNREACHABLE_ID_RETENTION_MS = 86_400_000;

/** The maximum number of deltas that are kept while an earlier one is missing. */
const MAX_BACKLOG = 100;

/** Another worker. */
export class Peer {
  replica = new Replica();
  /** The version of the last delta that was applied to the replica. */
  version = 0;
  /** The deltas received while an earlier one is missing, by version. */
  readonly #backlog = new Map<number, readonly RegistryDelta[]>();
  /** Whether this worker has requested the full state from it. */
  isSyncSource = false;
  /** The last round that it acknowledged, and its version at that time. */
  lastAck = { round: 0, version: 0 };
  /** The time at which it left, in milliseconds. */
  leftAt: number | undefined;
  /** The time since which it has not answered, in milliseconds. */
  unresponsiveSince: number | undefined;

  /** Whether a scrape waits for its answer. */
  get isAwaited(): boolean {
    return this.leftAt === undefined && this.unresponsiveSince === undefined;
  }

  /** Whether its gauges count. */
  get isAlive(): boolean {
    return this.leftAt === undefined && !this.isUnreachable;
  }

  /** Whether it counts as terminated. Its counters stay, and it may answer again. */
  get isUnreachable(): boolean {
    return isPast(this.unresponsiveSince, UNREACHABLE_AFTER_MS);
  }

  /** Whether it left so long ago that no further message can arrive. */
  get canRetire(): boolean {
    return isPast(this.leftAt, RETIRE_AFTER_MS);
  }

  /** How long it has not answered, in milliseconds; `null` if it has. */
  get unresponsiveForMs(): number | null {
    return this.unresponsiveSince === undefined
      ? null
      : performance.now() - this.unresponsiveSince;
  }

  /** How long its id is kept after it was retired, in milliseconds. */
  get idRetentionMs(): number {
    return this.leftAt === undefined
      ? UNREACHABLE_ID_RETENTION_MS
      : LEFT_ID_RETENTION_MS;
  }

  /** Returns whether it has answered a round completely, or is not awaited. */
  hasAcknowledged(round: number): boolean {
    return !this.isAwaited ||
      this.lastAck.round >= round && this.lastAck.version <= this.version;
  }

  /**
   * Receives a delta, and applies it unless an earlier one is missing.
   *
   * @throws {InvalidMessage} If no worker would send it.
   */
  async receive(
    version: number,
    deltas: readonly RegistryDelta[],
  ): Promise<void> {
    if (this.#backlog.size >= MAX_BACKLOG) this.#backlog.clear();
    this.#backlog.set(version, deltas);
    await this.applyBacklog();
  }

  /**
   * Applies the received deltas up to the first missing one.
   *
   * @throws {InvalidMessage} If no worker would send one of them.
   */
  async applyBacklog(): Promise<void> {
    for (;;) {
      const version = this.version + 1;
      const next = this.#backlog.get(version);
      if (next === undefined) break;
      this.#backlog.delete(version);
      if (this.replica.wouldDecrease(next)) {
        throw new InvalidMessage("a counter would decrease");
      }
      const commit = await this.replica.prepareForeign(next);
      this.replica.applyOwn(next);
      commit();
      this.version++;
    }
    for (const version of this.#backlog.keys()) {
      if (version <= this.version) this.#backlog.delete(version);
    }
  }
}

function isPast(since: number | undefined, milliseconds: number): boolean {
  return since !== undefined && performance.now() - since > milliseconds;
}
