import { InvalidMessage } from "./invalid_message.ts";
import { Replica, type Telling } from "./replica.ts";

/** After so long, who left comes back no more: it need not be kept apart. */
const FOLD_AFTER_MS = 10_000;

/** After so long a silence, a worker is taken for terminated, until it answers again. */
const GONE_AFTER_MS = 600_000;

/** How long the id of a worker that left is kept: no message is late by more. */
const REMEMBER_LEFT_MS = 60_000;

/** How long the id of a silent worker is kept: it may hang, and answer again. */
const REMEMBER_SILENT_MS = 86_400_000;

/** How many messages are kept that came after a missing one. */
const MAX_BACKLOG = 100;

/** Another worker. */
export class Peer {
  replica = new Replica();
  /** How much of what it told is in the replica. */
  version = 0;
  /** What it told after something that was missed. */
  readonly #backlog = new Map<number, readonly Telling[]>();
  /** Whether it was asked for everything. */
  wasFetched = false;
  /** The last round of ours that it answered, and how much it had told then. */
  answered = { round: 0, version: 0 };
  /** Since when it has been gone, or has not answered; in ms. */
  leftAt: number | undefined;
  silentSince: number | undefined;

  /** Whether it is waited for. */
  get isExpected(): boolean {
    return this.leftAt === undefined && this.silentSince === undefined;
  }

  get isAlive(): boolean {
    return this.leftAt === undefined && !this.isGone;
  }

  /** Whether it is taken for terminated. Its counts are kept: it may answer again. */
  get isGone(): boolean {
    return isPast(this.silentSince, GONE_AFTER_MS);
  }

  /** Whether it will not come back. */
  get hasLeft(): boolean {
    return isPast(this.leftAt, FOLD_AFTER_MS);
  }

  /** For how long it has not answered, in milliseconds; `null` if it has. */
  get silentFor(): number | null {
    return this.silentSince === undefined
      ? null
      : performance.now() - this.silentSince;
  }

  /** How long its id is kept after it was folded, in milliseconds. */
  get rememberMs(): number {
    return this.leftAt === undefined ? REMEMBER_SILENT_MS : REMEMBER_LEFT_MS;
  }

  hasAnswered(round: number): boolean {
    return !this.isExpected ||
      this.answered.round >= round && this.answered.version <= this.version;
  }

  /**
   * Applies a message, as soon as no earlier one is missing.
   *
   * @throws {InvalidMessage} If no worker would send it.
   */
  async hear(version: number, tellings: readonly Telling[]): Promise<void> {
    if (this.#backlog.size >= MAX_BACKLOG) this.#backlog.clear();
    this.#backlog.set(version, tellings);
    await this.catchUp();
  }

  /** @throws {InvalidMessage} If no worker would send one of the messages. */
  async catchUp(): Promise<void> {
    for (;;) {
      const version = this.version + 1;
      const next = this.#backlog.get(version);
      if (next === undefined) break;
      this.#backlog.delete(version);
      if (this.replica.isFalling(next)) {
        throw new InvalidMessage("a counter would fall");
      }
      const commit = await this.replica.prepareOthers(next);
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
