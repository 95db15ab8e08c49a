import { InvalidMessage } from "./invalid_message.ts";
import { type RegistryDelta, Replica } from "./replica.ts";

/** After so long, who left comes back no more: it need not be kept apart. */
const RETIRE_AFTER_MS = 10_000;

/** After so long a silence, a worker is taken for terminated, until it answers again. */
const UNREACHABLE_AFTER_MS = 600_000;

/** How long the id of a worker that left is kept: no message is late by more. */
const LEFT_ID_RETENTION_MS = 60_000;

/** How long the id of a silent worker is kept: it may hang, and answer again. */
const UNREACHABLE_ID_RETENTION_MS = 86_400_000;

/** How many messages are kept that came after a missing one. */
const MAX_BACKLOG = 100;

/** Another worker. */
export class Peer {
  replica = new Replica();
  /** How much of what it told is in the replica. */
  version = 0;
  /** What it told after something that was missed. */
  readonly #backlog = new Map<number, readonly RegistryDelta[]>();
  /** Whether it was asked for fullState. */
  isSyncSource = false;
  /** The last round of ours that it answered, and how much it had told then. */
  lastAck = { round: 0, version: 0 };
  /** Since when it has been gone, or has not lastAck; in ms. */
  leftAt: number | undefined;
  unresponsiveSince: number | undefined;

  /** Whether it is waited for. */
  get isAwaited(): boolean {
    return this.leftAt === undefined && this.unresponsiveSince === undefined;
  }

  get isAlive(): boolean {
    return this.leftAt === undefined && !this.isUnreachable;
  }

  /** Whether it is taken for terminated. Its counts are kept: it may answer again. */
  get isUnreachable(): boolean {
    return isPast(this.unresponsiveSince, UNREACHABLE_AFTER_MS);
  }

  /** Whether it will not come back. */
  get canRetire(): boolean {
    return isPast(this.leftAt, RETIRE_AFTER_MS);
  }

  /** For how long it has not lastAck, in milliseconds; `null` if it has. */
  get unresponsiveForMs(): number | null {
    return this.unresponsiveSince === undefined
      ? null
      : performance.now() - this.unresponsiveSince;
  }

  /** How long its id is kept after it was folded, in milliseconds. */
  get idRetentionMs(): number {
    return this.leftAt === undefined
      ? UNREACHABLE_ID_RETENTION_MS
      : LEFT_ID_RETENTION_MS;
  }

  hasAcknowledged(round: number): boolean {
    return !this.isAwaited ||
      this.lastAck.round >= round && this.lastAck.version <= this.version;
  }

  /**
   * Applies a message, as soon as no earlier one is missing.
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

  /** @throws {InvalidMessage} If no worker would send one of the messages. */
  async applyBacklog(): Promise<void> {
    for (;;) {
      const version = this.version + 1;
      const next = this.#backlog.get(version);
      if (next === undefined) break;
      this.#backlog.delete(version);
      if (this.replica.wouldDecrease(next)) {
        throw new InvalidMessage("a counter would fall");
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
