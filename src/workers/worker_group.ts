import process from "node:process";
import { coalesce, setLoopTimeout, withTimeout } from "../common/async.ts";
import { describeError } from "../common/describe_error.ts";
import { OVERFLOW } from "../common/labels.ts";
import { perProcess } from "../common/per_process.ts";
import { mergeFamilies } from "../exposition/merge.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { describeConflict } from "../registry/gather.ts";
import { Channel } from "./channel.ts";
import { InvalidMessage } from "./invalid_message.ts";
import type { Enclosed, Letter } from "./message.ts";
import { isEnclosed, isLetter } from "./message_checks.ts";
import { Peer } from "./peer.ts";
import { Teller } from "./publisher.ts";
import { Replica, type ReplicaPart, type Telling } from "./replica.ts";

/** The number changes with the letters: versions with other letters are not mixed. */
const CHANNEL_NAME = "@lukhas/stage-metrics/3";

/** How long a newcomer waits, at the most, to be told what was before it. */
const JOIN_MS = 500;

/** The most other workers that are known apart. */
const MAX_PEERS = 1000;

/** The most workers that are kept apart though they are taken for terminated. */
const MAX_GONE = 64;

/** The most workers whose ids are known though they are gone. */
const MAX_DEPARTED_IDS = 10_000;

/** After so long, an answer to "fetch" is not to be expected any more. */
const FETCH_MS = 250;

/**
 * This thread as one of several workers that count together.
 *
 * Each keeps what every one of them has told, itself included, and a scrape shows
 * just that: so all of them show the same, whichever is asked.
 */
export class Workers {
  readonly #channel: Channel<Letter, Enclosed>;
  /** What this worker itself tells. */
  readonly teller: Teller;
  readonly #peers = new Map<string, Peer>();
  /** What those counted who left: one replica, however many they were. */
  #departed = new Replica(true);
  /** The ids of workers that left, and until when they are kept, in ms. */
  readonly #departedIds = new Map<string, number>();
  /** Whether ids of workers that left were dropped. */
  #hasForgotten = false;
  #hasJoined = false;
  readonly #joining: Promise<void>;
  /** Stops to wait for the answer to "fetch", while that is under way. */
  #stopFetch: (() => void) | undefined;
  #round = 0;
  /** Called before this worker answers another one's scrape. */
  readonly beforeAnswer = new Set<() => unknown>();
  /** Called after each letter, by those who wait for some. */
  readonly #watchers = new Set<() => void>();

  constructor() {
    this.#channel = new Channel(CHANNEL_NAME, {
      isLetter,
      isEnclosed,
      onLetter: (from, letter, enclosed) =>
        this.#guard(() => this.#read(from, letter, enclosed)),
      onRefused: (reason) => this.#reportRefused(reason),
    });
    this.teller = new Teller({
      post: (tellings, version) =>
        this.#channel.post({ kind: "tell", version }, enclose(tellings)),
      postInSlices: (tellings, finish) =>
        this.#channel.postInSlices(
          enclose(tellings),
          () => ({ kind: "tell", version: finish() }),
        ),
    });
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
    await withTimeout(this.#joining, patience);
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
    await this.#guard(() => this.#fold());
    this.teller.tellOwn();
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

  /**
   * Returns the metrics of shared registries, of all workers together, as they are
   * now: changes that arrive while they are merged are left out.
   */
  async families(registries: readonly number[]): Promise<MetricFamily[]> {
    const peers = [...this.#peers].map(([id, peer]) => ({
      id,
      replica: peer.replica,
      isAlive: peer.isAlive,
      age: peer.isExpected ? 1 : 2,
    }));
    const { replica } = this.teller;
    const own = { id: this.#channel.id, replica, isAlive: true, age: 0 };
    // In one order everywhere: some metrics go by the first one's value.
    const parts = [own, ...peers].sort((a, b) => a.id < b.id ? -1 : 1);
    // First those that are there for good, as there may be no room for all.
    const merged = await this.#merge([this.#departedPart, ...parts]);
    return await mergeFamilies(
      registries.flatMap((registry) => merged.families(registry)),
      (family, type) => this.#reportConflict(family, type),
    );
  }

  get #departedPart(): ReplicaPart {
    return { replica: this.#departed, isAlive: false, age: 3 };
  }

  /** Reads a letter. Answers to it are not waited for. */
  async #read(
    from: string,
    letter: Letter,
    enclosed: readonly Enclosed[],
  ): Promise<void> {
    if (from === this.#channel.id) {
      // So that nobody believes what was said in its name.
      this.#channel.post({ kind: "here", hasJoined: this.#hasJoined });
      throw new InvalidMessage("somebody writes in the name of this worker");
    }
    if (this.#departedIds.has(from)) {
      this.#reportReturned(letter);
      return;
    }
    if (!this.#peers.has(from) && this.#peers.size >= MAX_PEERS) {
      throw new InvalidMessage("there are too many senders");
    }
    const peer = this.#peer(from);
    peer.leftAt = letter.kind === "bye" ? performance.now() : undefined;
    peer.silentSince = undefined;
    switch (letter.kind) {
      case "hello":
        this.#guard(() => this.#fold());
        this.#channel.post({ kind: "here", hasJoined: this.#hasJoined });
        break;
      case "here":
        if (letter.hasJoined && !this.#hasJoined) this.#fetch(from);
        break;
      case "fetch":
        if (letter.of === this.#channel.id) {
          this.#guard(() => this.#tellEverything(from));
        }
        break;
      case "everything":
        // Nobody else's is asked for, and so nobody else's is heeded.
        if (letter.to === this.#channel.id && peer.wasFetched) {
          await this.#takeIn(letter, enclosed);
        }
        break;
      case "ask":
        this.#guard(() => this.#fold());
        this.#guard(() => this.#answer(from, letter.round, letter.patience));
        break;
      case "tell":
        await peer.hear(
          letter.version,
          enclosed.map(({ telling }) => telling),
        );
        break;
      case "told":
        if (letter.to !== this.#channel.id) break;
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

  /**
   * Reports that a worker answers that was added to those that left. What it counts now
   * cannot be told apart from what it counted before, and would be counted twice.
   */
  #reportReturned(letter: Letter): void {
    if (letter.kind !== "told" || letter.to !== this.#channel.id) return;
    this.teller.report(
      "worker_unresponsive",
      `A worker answers a scrape after it was silent for so long that it was taken for terminated, as were more than ${MAX_GONE} others since: what it counted after that is missing until it restarts`,
    );
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
    this.#peer(of).wasFetched = true;
    const wait = () => {
      this.#stopFetch = setLoopTimeout(
        () => this.#channel.isReceiving(of) ? wait() : this.#endFetch(),
        FETCH_MS,
        false,
      );
    };
    wait();
    this.#channel.post({ kind: "fetch", of });
  }

  #endFetch(): void {
    this.#stopFetch?.();
    this.#stopFetch = undefined;
  }

  async #answer(to: string, round: number, patience: number): Promise<void> {
    for (const fn of this.beforeAnswer) fn();
    this.teller.tellOwn();
    await this.teller.tellOthers(patience / 2);
    const version = this.teller.version;
    this.#channel.post({ kind: "told", to, round, version });
  }

  async #tellEverything(to: string): Promise<void> {
    const peers = [...this.#peers].filter(([id]) => id !== to);
    const workers = peers.map(([id, { version, leftAt, silentFor }]) => ({
      id,
      version,
      hasLeft: leftAt !== undefined,
      silentFor,
    }));
    const { version, replica } = this.teller;
    workers.push({
      id: this.#channel.id,
      version,
      hasLeft: false,
      silentFor: null,
    });
    const now = performance.now();
    const departed = [...this.#departedIds]
      .map(([id, until]) => [id, until - now] as const);
    const hasForgotten = this.#hasForgotten;
    const replicas: [id: string | null, Iterable<Telling>][] = [
      [null, this.#departed.everything()],
      [this.#channel.id, replica.everything()],
    ];
    for (const [id, { replica }] of peers) {
      replicas.push([id, replica.everything()]);
    }
    await this.#channel.postInSlices(
      encloseAll(replicas),
      () => ({ kind: "everything", to, workers, departed, hasForgotten }),
    );
  }

  async #takeIn(
    { workers, departed, hasForgotten }: Letter & { kind: "everything" },
    enclosed: readonly Enclosed[],
  ): Promise<void> {
    const tellings = groupByWorker(enclosed);
    const replicas = new Map<string | null, Replica>();
    for (const id of [null, ...workers.map(({ id }) => id)]) {
      const replica = new Replica(id === null);
      await replica.apply(tellings.get(id) ?? []);
      replicas.set(id, replica);
    }
    // Once ids were dropped, an unknown worker may be one that was counted already.
    const isComplete = !this.#hasForgotten;
    const known = new Set(departed.map(([id]) => id));
    const before = await this.#merge([
      this.#departedPart,
      ...[...this.#peers].filter(([id]) => known.has(id))
        .map(([, { replica }]) => ({ replica, isAlive: false, age: 2 })),
    ]);
    const ids = [...this.#departedIds.keys()];
    if (
      isComplete && ids.every((id) => known.has(id)) &&
      this.#mayReplace(before, replicas.get(null)!)
    ) {
      this.#departed = replicas.get(null)!;
      for (const [id, milliseconds] of departed) {
        this.#departedIds.set(id, performance.now() + milliseconds);
        this.#peers.delete(id);
      }
      this.#hasForgotten = hasForgotten;
    }
    for (const { id, version, hasLeft, silentFor } of workers) {
      if (this.#departedIds.has(id) || id === this.#channel.id) continue;
      const isNew = !this.#peers.has(id);
      if (isNew && !isComplete) continue;
      const peer = this.#peer(id);
      const replica = replicas.get(id)!;
      if (peer.version < version && this.#mayReplace(peer.replica, replica)) {
        peer.replica = replica;
        peer.version = version;
      }
      // Of whom this worker has heard itself, it knows better.
      if (isNew && hasLeft) peer.leftAt = performance.now();
      if (isNew && silentFor !== null) {
        peer.silentSince = performance.now() - silentFor;
      }
    }
    this.#hasJoined = true;
    this.#endFetch();
    for (const { id } of workers) await this.#peers.get(id)?.catchUp();
  }

  /** Adds up workers that will not come back with those that left before. */
  readonly #fold = coalesce<void, void>(async () => {
    this.#forget();
    for (const [id, peer] of this.#peersToFold()) {
      const { replica, version } = peer;
      const departed = this.#departed;
      const merged = await this.#merge([
        this.#departedPart,
        { replica, isAlive: false, age: 2 },
      ]);
      // A letter may have arrived meanwhile: then it is left for the next time.
      const isSame = this.#departed === departed &&
        this.#peers.get(id) === peer && peer.version === version &&
        (peer.hasLeft || peer.isGone);
      if (!isSame) continue;
      this.#departed = merged;
      this.#departedIds.set(id, performance.now() + peer.rememberMs);
      this.#peers.delete(id);
      this.#channel.forget(id);
    }
  });

  /** Those who left, and of those taken for terminated the first, if there are many. */
  #peersToFold(): [id: string, peer: Peer][] {
    const peers = [...this.#peers];
    const gone = peers.filter(([, peer]) => peer.isGone && !peer.hasLeft)
      .sort(([, a], [, b]) => a.silentSince! - b.silentSince!);
    return [
      ...peers.filter(([, peer]) => peer.hasLeft),
      ...gone.slice(0, Math.max(0, gone.length - MAX_GONE)),
    ];
  }

  #forget(): void {
    for (const [id, until] of this.#departedIds) {
      const isKept = performance.now() < until &&
        this.#departedIds.size <= MAX_DEPARTED_IDS;
      if (isKept) continue;
      this.#departedIds.delete(id);
      this.#hasForgotten = true;
    }
  }

  #merge(parts: readonly ReplicaPart[]): Promise<Replica> {
    return Replica.merge(parts, {
      onConflict: (family, type) => this.#reportConflict(family, type),
      limitOf: (registry, prefix) => this.teller.limitOf(registry, prefix),
      onOverflow: (prefix) => this.#reportOverflow(prefix),
    });
  }

  #reportOverflow(prefix: string): void {
    this.teller.report(
      "label_overflow",
      `Metrics "${prefix}*" of several workers were merged as "${OVERFLOW}", as together they have more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`,
    );
  }

  #reportConflict(family: MetricFamily, type: string): void {
    this.teller.report(
      "collector_error",
      describeConflict(family, type),
    );
  }

  #mayReplace(before: Replica, after: Replica): boolean {
    const isBelow = after.isBelow(before);
    if (isBelow) this.#reportRefused("a counter would fall");
    return !isBelow;
  }

  #reportRefused(reason: string): void {
    this.teller.report(
      "invalid_message",
      `A message on the channel of the workers was refused: ${reason}`,
    );
  }

  /** Nobody called for this: what it throws would be an error of the host's. */
  async #guard(fn: () => void | Promise<void>): Promise<void> {
    try {
      await fn();
    } catch (error) {
      if (error instanceof InvalidMessage) {
        this.#reportRefused(error.message);
        return;
      }
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
      // A message that was not read yet may be the awaited one.
      const onTimeout = () => {
        if (!this.#channel.isReading) stop();
        else stopTimeout = setLoopTimeout(onTimeout, 0, isRef);
      };
      let stopTimeout = setLoopTimeout(onTimeout, milliseconds, isRef);
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

function enclose(tellings: readonly Telling[]): Enclosed[] {
  return tellings.map((telling) => ({ telling }));
}

function* encloseAll(
  replicas: Iterable<readonly [of: string | null, Iterable<Telling>]>,
): Iterable<Enclosed> {
  for (const [of, tellings] of replicas) {
    for (const telling of tellings) yield { of, telling };
  }
}

function groupByWorker(
  enclosed: readonly Enclosed[],
): ReadonlyMap<Enclosed["of"], Telling[]> {
  const groups = new Map<Enclosed["of"], Telling[]>();
  for (const { of, telling } of enclosed) {
    const group = groups.get(of) ?? [];
    group.push(telling);
    groups.set(of, group);
  }
  return groups;
}

/** This thread as a worker: one, however many handlers and copies of this library it has. */
export function joinWorkers(): Workers {
  return perProcess("worker", () => new Workers());
}
