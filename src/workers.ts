import process from "node:process";
import { attentiveTimeout } from "./attentive_timeout.ts";
import { Channel } from "./channel.ts";
import { describeConflict } from "./gather.ts";
import { describeError } from "./describe_error.ts";
import type { Letter } from "./letters.ts";
import { mergeFamilies } from "./merge.ts";
import { Peer } from "./peer.ts";
import { Replica, type ReplicaPart } from "./replica.ts";
import type { GatheredFamily } from "./samples.ts";
import { shared } from "./shared.ts";
import { Teller } from "./teller.ts";
import { within } from "./within.ts";

/** The number changes with the letters: who speaks otherwise is not understood. */
const CHANNEL_NAME = "@lukhas/stage-metrics/1";

/** How long a newcomer waits, at the most, to be told what was before it. */
const JOIN_MS = 500;

/** After so long, an answer to "fetch" is not to be expected any more. */
const FETCH_MS = 250;

/**
 * This thread as one of several workers that count together.
 *
 * Each keeps what every one of them has told, itself included, and a scrape shows
 * just that: so all of them show the same, whichever is asked.
 */
export class Workers {
  readonly #id = crypto.randomUUID();
  readonly #channel: Channel<Letter>;
  /** What this worker itself tells. */
  readonly teller: Teller;
  readonly #peers = new Map<string, Peer>();
  /** What those counted who left: one replica, however many they were. */
  #departed = new Replica();
  readonly #departedIds = new Set<string>();
  #hasJoined = false;
  readonly #joining: Promise<void>;
  /** Stops to wait for the answer to "fetch", while that is under way. */
  #stopFetch: (() => void) | undefined;
  #round = 0;
  /** Called after each letter, by those who wait for some. */
  readonly #watchers = new Set<() => void>();

  constructor() {
    this.#channel = new Channel(
      CHANNEL_NAME,
      this.#id,
      (from, letter) => this.#guard(() => this.#read(from, letter)),
    );
    this.teller = new Teller((version, tellings) =>
      this.#channel.post({ kind: "tell", version, tellings })
    );
    this.#channel.post({ kind: "hello" });
    this.#joining = this.#join();
    this.#sayGoodbye();
  }

  /**
   * Has everyone tell what they hold by now, and waits for `patience` milliseconds at
   * most, of which the collectors may take half. Workers that do not answer within
   * `timeout` milliseconds are not waited for again, until they speak.
   */
  async refresh(timeout: number, patience: number): Promise<void> {
    await within(this.#joining, patience);
    const round = ++this.#round;
    const asked = new Map(
      [...this.#peers].filter(([, peer]) => peer.isExpected),
    );
    if (asked.size > 0) this.#channel.post({ kind: "ask", round, patience });
    await Promise.all([
      this.teller.tellOthers(patience / 2),
      this.#until(
        () => [...asked.values()].every((peer) => peer.hasAnswered(round)),
        patience,
      ),
    ]);
    const ids = [...asked].filter(([, peer]) => !peer.hasAnswered(round))
      .map(([id]) => id);
    this.#reportUnresponsive(ids, patience);
    // A scrape that waits for less may be too hasty for a worker that is well.
    if (ids.length > 0 && patience >= timeout) this.#markSilent(ids);
    this.teller.tellOwn();
    this.#fold();
  }

  async #join(): Promise<void> {
    // It is not for this that a process lives on.
    await this.#until(() => this.#hasJoined, JOIN_MS, false);
    this.#hasJoined = true;
  }

  #reportUnresponsive(ids: readonly string[], patience: number): void {
    for (const _ of ids) {
      this.teller.report(
        "worker_unresponsive",
        `A worker did not answer a scrape within ${patience} ms: its last known values stand in until it does`,
      );
    }
  }

  #markSilent(ids: readonly string[]): void {
    for (const id of ids) this.#peer(id).silentSince = performance.now();
    // So that none of the others waits for them, too.
    this.#channel.post({ kind: "silent", ids });
  }

  /** The metrics of shared registries, as all workers hold them together. */
  families(registries: readonly number[]): GatheredFamily[] {
    // In one order everywhere: some metrics go by the first one's value.
    const peers = [...this.#peers].map(([id, { replica, isAlive }]) => ({
      id,
      replica,
      isAlive,
    }));
    const own = { id: this.#id, replica: this.teller.replica, isAlive: true };
    const parts = [own, ...peers].sort((a, b) => a.id < b.id ? -1 : 1);
    const merged = this.#merge([
      ...parts,
      { replica: this.#departed, isAlive: false },
    ]);
    return mergeFamilies(
      registries.flatMap((registry) => merged.families(registry)),
      (family, type) => this.#reportConflict(family, type),
    );
  }

  #read(from: string, letter: Letter): void {
    if (this.#departedIds.has(from)) return;
    const peer = this.#peer(from);
    peer.leftAt = letter.kind === "bye" ? performance.now() : undefined;
    peer.silentSince = undefined;
    switch (letter.kind) {
      case "hello":
        this.#channel.post({ kind: "here", hasJoined: this.#hasJoined });
        break;
      case "here":
        if (letter.hasJoined && !this.#hasJoined) this.#fetch(from);
        break;
      case "fetch":
        if (letter.of === this.#id) this.#tellEverything(from);
        break;
      case "everything":
        if (letter.to === this.#id) this.#takeIn(letter);
        break;
      case "ask":
        this.#guard(() => this.#answer(from, letter.round, letter.patience));
        break;
      case "tell":
        peer.backlog.set(letter.version, letter.tellings);
        peer.catchUp();
        break;
      case "told":
        if (letter.to !== this.#id) break;
        peer.answered = letter;
        if (peer.version < letter.version) this.#fetch(from);
        break;
      case "silent":
        for (const id of letter.ids) {
          const silent = this.#peers.get(id);
          if (silent !== undefined) silent.silentSince = performance.now();
        }
        break;
      case "bye":
        break;
    }
    for (const watcher of [...this.#watchers]) watcher();
  }

  #peer(id: string): Peer {
    let peer = this.#peers.get(id);
    if (peer === undefined) {
      peer = new Peer();
      this.#peers.set(id, peer);
    }
    return peer;
  }

  /** Asks for everything, unless the answer is still under way. */
  #fetch(of: string): void {
    if (this.#stopFetch !== undefined) return;
    const stop = () => this.#stopFetch = undefined;
    this.#stopFetch = attentiveTimeout(stop, FETCH_MS, false);
    this.#channel.post({ kind: "fetch", of });
  }

  async #answer(to: string, round: number, patience: number): Promise<void> {
    this.teller.tellOwn();
    await this.teller.tellOthers(patience / 2);
    const version = this.teller.version;
    this.#channel.post({ kind: "told", to, round, version });
  }

  #tellEverything(to: string): void {
    const workers = [...this.#peers].filter(([id]) => id !== to)
      .map(([id, { version, replica, leftAt, silentSince }]) => ({
        id,
        version,
        tellings: replica.everything(),
        hasLeft: leftAt !== undefined,
        isSilent: silentSince !== undefined,
      }));
    workers.push({
      id: this.#id,
      version: this.teller.version,
      tellings: this.teller.replica.everything(),
      hasLeft: false,
      isSilent: false,
    });
    this.#channel.post({
      kind: "everything",
      to,
      workers,
      departed: [...this.#departedIds],
      departedTellings: this.#departed.everything(),
    });
  }

  #takeIn(
    { workers, departed, departedTellings }: Letter & { kind: "everything" },
  ): void {
    const known = new Set(departed);
    if ([...this.#departedIds].every((id) => known.has(id))) {
      this.#departed = new Replica();
      this.#departed.apply(departedTellings);
      for (const id of departed) {
        this.#departedIds.add(id);
        this.#peers.delete(id);
      }
    }
    for (const { id, version, tellings, hasLeft, isSilent } of workers) {
      if (this.#departedIds.has(id)) continue;
      const isNew = !this.#peers.has(id);
      const peer = this.#peer(id);
      if (peer.version < version) {
        peer.replica = new Replica();
        peer.replica.apply(tellings);
        peer.version = version;
        peer.catchUp();
      }
      // Of whom this worker has heard itself, it knows better.
      if (isNew && hasLeft) peer.leftAt = performance.now();
      if (isNew && isSilent) peer.silentSince = performance.now();
    }
    this.#hasJoined = true;
    this.#stopFetch?.();
    this.#stopFetch = undefined;
  }

  #fold(): void {
    for (const [id, { isToBeFolded, replica }] of this.#peers) {
      if (!isToBeFolded) continue;
      this.#departed = this.#merge([
        { replica: this.#departed, isAlive: false },
        { replica, isAlive: false },
      ]);
      this.#departedIds.add(id);
      this.#peers.delete(id);
    }
  }

  #merge(parts: readonly ReplicaPart[]): Replica {
    return Replica.merge(
      parts,
      (family, type) => this.#reportConflict(family, type),
    );
  }

  #reportConflict(family: GatheredFamily, type: string): void {
    this.teller.report(
      "collector_error",
      describeConflict(family, type),
    );
  }

  /** Nobody called for this: what it throws would be an error of the host's. */
  async #guard(fn: () => void | Promise<void>): Promise<void> {
    try {
      await fn();
    } catch (error) {
      this.teller.report(
        "collector_error",
        `Workers could not tell each other what they counted: ${
          describeError(error)
        }`,
      );
    }
  }

  /** Waits for letters until something is so, or the time is over. */
  #until(
    isSo: () => boolean,
    milliseconds: number,
    isRef = true,
  ): Promise<void> {
    if (isSo()) return Promise.resolve();
    return new Promise((resolve) => {
      const stop = () => {
        stopTimeout();
        this.#watchers.delete(watcher);
        resolve();
      };
      const watcher = () => {
        if (isSo()) stop();
      };
      const stopTimeout = attentiveTimeout(stop, milliseconds, isRef);
      this.#watchers.add(watcher);
    });
  }

  #sayGoodbye(): void {
    const leave = () =>
      this.#guard(() => {
        this.teller.tellOwn();
        this.#channel.post({ kind: "bye" });
      });
    process.on("exit", leave);
    const target = globalThis as Partial<EventTarget>;
    target.addEventListener?.("unload", leave);
    for (const type of ["error", "unhandledrejection"]) {
      target.addEventListener?.(type, () => {
        leave();
        // Whoever handles the error lets the worker live on.
        setTimeout(() => this.#channel.post({ kind: "here", hasJoined: true }));
      });
    }
  }
}

/** This thread as a worker: one, however many handlers and copies of this library it has. */
export function joinWorkers(): Workers {
  return shared("worker", () => new Workers());
}
