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
import type { Item, Message } from "./message.ts";
import { isItem, isMessage } from "./message_checks.ts";
import { Peer } from "./peer.ts";
import { Publisher } from "./publisher.ts";
import { type RegistryDelta, Replica, type ReplicaPart } from "./replica.ts";

/** The number changes with the messages: versions with other messages are not mixed. */
const CHANNEL_NAME = "@lukhas/stage-metrics/4";

/** How long a newcomer waits, at the most, to be told what was before it. */
const JOIN_MS = 500;

/** The most other workers that are known apart. */
const MAX_PEERS = 1000;

/** The most workers that are kept apart though they are taken for terminated. */
const MAX_UNREACHABLE = 64;

/** The most workers whose ids are known though they are gone. */
const MAX_RETIRED_IDS = 10_000;

/** After so long, an answer to "syncRequest" is not to be expected any more. */
const SYNC_TIMEOUT_MS = 250;

/**
 * This thread as one of several workers that count together.
 *
 * Each keeps what every one of them has told, itself included, and a scrape shows
 * just that: so all of them show the same, whichever is asked.
 */
export class WorkerGroup {
  readonly #channel: Channel<Message, Item>;
  /** What this worker itself tells. */
  readonly publisher: Publisher;
  readonly #peers = new Map<string, Peer>();
  /** What those counted who left: one replica, however many they were. */
  #retired = new Replica(true);
  /** The ids of workers that left, and until when they are kept, in ms. */
  readonly #retiredIds = new Map<string, number>();
  /** Whether ids of workers that left were dropped. */
  #hasDroppedIds = false;
  #hasJoined = false;
  readonly #joining: Promise<void>;
  /** Stops to wait for the answer to "syncRequest", while that is under way. */
  #stopSyncTimeout: (() => void) | undefined;
  #round = 0;
  /** Called before this worker answers another one's scrape. */
  readonly beforeCollect = new Set<() => unknown>();
  /** Called after each message, by those who wait for some. */
  readonly #onMessageRead = new Set<() => void>();

  constructor() {
    this.#channel = new Channel(CHANNEL_NAME, {
      isMessage,
      isItem,
      onMessage: (from, message, items) =>
        this.#guard(() => this.#read(from, message, items)),
      onRejected: (reason) => this.#reportRejected(reason),
    });
    this.publisher = new Publisher({
      post: (deltas, version) =>
        this.#channel.post({ kind: "delta", version }, toItems(deltas)),
      postInSlices: (deltas, finish) =>
        this.#channel.postInSlices(
          toItems(deltas),
          () => ({ kind: "delta", version: finish() }),
        ),
    });
    this.#channel.post({ kind: "join" });
    this.#joining = this.#join();
    this.#leaveOnExit();
  }

  /**
   * Has everyone tell what they hold by now, and waits for `timeoutMs` milliseconds at
   * most, of which the collectors may take half. WorkerGroup that do not answer within
   * `timeout` milliseconds are not waited for again, until they speak.
   */
  async refresh(timeoutMs: number, suspectTimeoutMs: number): Promise<void> {
    await withTimeout(this.#joining, timeoutMs);
    const round = ++this.#round;
    const asked = new Map(
      [...this.#peers].filter(([, peer]) => peer.isAwaited),
    );
    if (asked.size > 0) {
      this.#channel.post({ kind: "collect", round, timeoutMs });
    }
    await Promise.all([
      this.publisher.publishForeign(timeoutMs / 2),
      this.#waitUntil(
        () => [...asked.values()].every((peer) => peer.hasAcknowledged(round)),
        timeoutMs,
      ),
    ]);
    const ids = [...asked].filter(([, peer]) => !peer.hasAcknowledged(round))
      .map(([id]) => id);
    this.#reportUnresponsive(ids, timeoutMs);
    // A scrape that waits for less may be too hasty for a worker that is well.
    if (ids.length > 0 && timeoutMs >= suspectTimeoutMs) this.#suspect(ids);
    await this.#guard(() => this.#retire());
    this.publisher.publishOwn();
  }

  async #join(): Promise<void> {
    // It is not for this that a process lives on.
    await this.#waitUntil(() => this.#hasJoined, JOIN_MS, false);
    this.#hasJoined = true;
  }

  #reportUnresponsive(ids: readonly string[], timeoutMs: number): void {
    for (const _ of ids) {
      this.publisher.report(
        "worker_unresponsive",
        `A worker did not answer a scrape within ${timeoutMs} ms: its last known values stand in until it does`,
      );
    }
  }

  #suspect(ids: readonly string[]): void {
    for (const id of ids) this.#peer(id).unresponsiveSince = performance.now();
    // So that none of the others waits for them, too.
    this.#channel.post({ kind: "suspect", ids });
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
      age: peer.isAwaited ? 1 : 2,
    }));
    const { replica } = this.publisher;
    const own = { id: this.#channel.id, replica, isAlive: true, age: 0 };
    // In one order everywhere: some metrics go by the first one's value.
    const parts = [own, ...peers].sort((a, b) => a.id < b.id ? -1 : 1);
    // First those that are there for good, as there may be no room for all.
    const merged = await this.#merge([this.#retiredPart, ...parts]);
    return await mergeFamilies(
      registries.flatMap((registry) => merged.families(registry)),
      (family, type) => this.#reportConflict(family, type),
    );
  }

  get #retiredPart(): ReplicaPart {
    return { replica: this.#retired, isAlive: false, age: 3 };
  }

  /** Reads a message. Answers to it are not waited for. */
  async #read(
    from: string,
    message: Message,
    items: readonly Item[],
  ): Promise<void> {
    if (from === this.#channel.id) {
      // So that nobody believes what was said in its name.
      this.#channel.post({ kind: "present", hasJoined: this.#hasJoined });
      throw new InvalidMessage("another sender uses this worker's id");
    }
    if (this.#retiredIds.has(from)) {
      this.#reportReturned(message);
      return;
    }
    if (!this.#peers.has(from) && this.#peers.size >= MAX_PEERS) {
      throw new InvalidMessage("too many senders");
    }
    const peer = this.#peer(from);
    peer.leftAt = message.kind === "leave" ? performance.now() : undefined;
    peer.unresponsiveSince = undefined;
    switch (message.kind) {
      case "join":
        this.#guard(() => this.#retire());
        this.#channel.post({ kind: "present", hasJoined: this.#hasJoined });
        break;
      case "present":
        if (message.hasJoined && !this.#hasJoined) this.#requestSync(from);
        break;
      case "syncRequest":
        if (message.target === this.#channel.id) {
          this.#guard(() => this.#sendFullState(from));
        }
        break;
      case "fullState":
        // Nobody else's is asked for, and so nobody else's is heeded.
        if (message.to === this.#channel.id && peer.isSyncSource) {
          await this.#applyFullState(message, items);
        }
        break;
      case "collect":
        this.#guard(() => this.#retire());
        this.#guard(() =>
          this.#answerCollect(from, message.round, message.timeoutMs)
        );
        break;
      case "delta":
        await peer.receive(
          message.version,
          items.map(({ delta }) => delta),
        );
        break;
      case "ack":
        if (message.to !== this.#channel.id) break;
        peer.lastAck = message;
        if (peer.version < message.version) this.#requestSync(from);
        break;
      case "suspect":
        for (const id of message.ids) {
          const silent = this.#peers.get(id);
          if (silent !== undefined) {
            silent.unresponsiveSince = performance.now();
          }
        }
        break;
      case "leave":
        break;
    }
    for (const watcher of [...this.#onMessageRead]) watcher();
  }

  /**
   * Reports that a worker answers that was added to those that left. What it counts now
   * cannot be told apart from what it counted before, and would be counted twice.
   */
  #reportReturned(message: Message): void {
    if (message.kind !== "ack" || message.to !== this.#channel.id) return;
    this.publisher.report(
      "worker_unresponsive",
      `A worker answers a scrape after it was silent for so long that it was taken for terminated, as were more than ${MAX_UNREACHABLE} others since: what it counted after that is missing until it restarts`,
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

  /** Asks for fullState, unless the answer is still under way. */
  #requestSync(target: string): void {
    if (this.#stopSyncTimeout !== undefined) return;
    this.#peer(target).isSyncSource = true;
    const wait = () => {
      this.#stopSyncTimeout = setLoopTimeout(
        () => this.#channel.isReceiving(target) ? wait() : this.#endSync(),
        SYNC_TIMEOUT_MS,
        false,
      );
    };
    wait();
    this.#channel.post({ kind: "syncRequest", target });
  }

  #endSync(): void {
    this.#stopSyncTimeout?.();
    this.#stopSyncTimeout = undefined;
  }

  async #answerCollect(
    to: string,
    round: number,
    timeoutMs: number,
  ): Promise<void> {
    for (const fn of this.beforeCollect) fn();
    this.publisher.publishOwn();
    await this.publisher.publishForeign(timeoutMs / 2);
    const version = this.publisher.version;
    this.#channel.post({ kind: "ack", to, round, version });
  }

  async #sendFullState(to: string): Promise<void> {
    const peers = [...this.#peers].filter(([id]) => id !== to);
    const workers = peers.map((
      [id, { version, leftAt, unresponsiveForMs }],
    ) => ({
      id,
      version,
      hasLeft: leftAt !== undefined,
      unresponsiveForMs,
    }));
    const { version, replica } = this.publisher;
    workers.push({
      id: this.#channel.id,
      version,
      hasLeft: false,
      unresponsiveForMs: null,
    });
    const now = performance.now();
    const retired = [...this.#retiredIds]
      .map(([id, until]) => [id, until - now] as const);
    const hasDroppedIds = this.#hasDroppedIds;
    const replicas: [id: string | null, Iterable<RegistryDelta>][] = [
      [null, this.#retired.fullState()],
      [this.#channel.id, replica.fullState()],
    ];
    for (const [id, { replica }] of peers) {
      replicas.push([id, replica.fullState()]);
    }
    await this.#channel.postInSlices(
      toWorkerItems(replicas),
      () => ({ kind: "fullState", to, workers, retired, hasDroppedIds }),
    );
  }

  async #applyFullState(
    { workers, retired, hasDroppedIds }: Message & { kind: "fullState" },
    items: readonly Item[],
  ): Promise<void> {
    const deltas = groupByWorker(items);
    const replicas = new Map<string | null, Replica>();
    for (const id of [null, ...workers.map(({ id }) => id)]) {
      const replica = new Replica(id === null);
      await replica.apply(deltas.get(id) ?? []);
      replicas.set(id, replica);
    }
    // Once ids were dropped, an unknown worker may be one that was counted already.
    const isComplete = !this.#hasDroppedIds;
    const known = new Set(retired.map(([id]) => id));
    const before = await this.#merge([
      this.#retiredPart,
      ...[...this.#peers].filter(([id]) => known.has(id))
        .map(([, { replica }]) => ({ replica, isAlive: false, age: 2 })),
    ]);
    const ids = [...this.#retiredIds.keys()];
    if (
      isComplete && ids.every((id) => known.has(id)) &&
      this.#canReplace(before, replicas.get(null)!)
    ) {
      this.#retired = replicas.get(null)!;
      for (const [id, milliseconds] of retired) {
        this.#retiredIds.set(id, performance.now() + milliseconds);
        this.#peers.delete(id);
      }
      this.#hasDroppedIds = hasDroppedIds;
    }
    for (const { id, version, hasLeft, unresponsiveForMs } of workers) {
      if (this.#retiredIds.has(id) || id === this.#channel.id) continue;
      const isNew = !this.#peers.has(id);
      if (isNew && !isComplete) continue;
      const peer = this.#peer(id);
      const replica = replicas.get(id)!;
      if (peer.version < version && this.#canReplace(peer.replica, replica)) {
        peer.replica = replica;
        peer.version = version;
      }
      // Of whom this worker has heard itself, it knows better.
      if (isNew && hasLeft) peer.leftAt = performance.now();
      if (isNew && unresponsiveForMs !== null) {
        peer.unresponsiveSince = performance.now() - unresponsiveForMs;
      }
    }
    this.#hasJoined = true;
    this.#endSync();
    for (const { id } of workers) await this.#peers.get(id)?.applyBacklog();
  }

  /** Adds up workers that will not come back with those that left before. */
  readonly #retire = coalesce<void, void>(async () => {
    this.#dropExpiredIds();
    for (const [id, peer] of this.#peersToRetire()) {
      const { replica, version } = peer;
      const retired = this.#retired;
      const merged = await this.#merge([
        this.#retiredPart,
        { replica, isAlive: false, age: 2 },
      ]);
      // A message may have arrived meanwhile: then it is left for the next time.
      const isSame = this.#retired === retired &&
        this.#peers.get(id) === peer && peer.version === version &&
        (peer.canRetire || peer.isUnreachable);
      if (!isSame) continue;
      this.#retired = merged;
      this.#retiredIds.set(id, performance.now() + peer.idRetentionMs);
      this.#peers.delete(id);
      this.#channel.dropSender(id);
    }
  });

  /** Those who left, and of those taken for terminated the first, if there are many. */
  #peersToRetire(): [id: string, peer: Peer][] {
    const peers = [...this.#peers];
    const gone = peers.filter(([, peer]) =>
      peer.isUnreachable && !peer.canRetire
    )
      .sort(([, a], [, b]) => a.unresponsiveSince! - b.unresponsiveSince!);
    return [
      ...peers.filter(([, peer]) => peer.canRetire),
      ...gone.slice(0, Math.max(0, gone.length - MAX_UNREACHABLE)),
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

  #merge(parts: readonly ReplicaPart[]): Promise<Replica> {
    return Replica.merge(parts, {
      onConflict: (family, type) => this.#reportConflict(family, type),
      cardinalityLimit: (registry, prefix) =>
        this.publisher.cardinalityLimit(registry, prefix),
      onOverflow: (prefix) => this.#reportOverflow(prefix),
    });
  }

  #reportOverflow(prefix: string): void {
    this.publisher.report(
      "label_overflow",
      `Metrics "${prefix}*" of several workers were merged as "${OVERFLOW}", as together they have more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`,
    );
  }

  #reportConflict(family: MetricFamily, type: string): void {
    this.publisher.report(
      "collector_error",
      describeConflict(family, type),
    );
  }

  #canReplace(before: Replica, after: Replica): boolean {
    const isBelow = after.isBelow(before);
    if (isBelow) this.#reportRejected("a counter would decrease");
    return !isBelow;
  }

  #reportRejected(reason: string): void {
    this.publisher.report(
      "invalid_message",
      `Cannot accept a message from another worker: ${reason}`,
    );
  }

  /** Nobody called for this: what it throws would be an error of the host's. */
  async #guard(fn: () => void | Promise<void>): Promise<void> {
    try {
      await fn();
    } catch (error) {
      if (error instanceof InvalidMessage) {
        this.#reportRejected(error.message);
        return;
      }
      this.publisher.report(
        "collector_error",
        `WorkerGroup could not tell each other what they counted: ${
          describeError(error)
        }`,
      );
    }
  }

  /** Waits for messages until something is so, or the time is over. */
  #waitUntil(
    condition: () => boolean,
    milliseconds: number,
    isRef = true,
  ): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const stop = () => {
        stopTimeout();
        this.#onMessageRead.delete(watcher);
        resolve();
      };
      const watcher = () => {
        if (condition()) stop();
      };
      // A message that was not read yet may be the awaited one.
      const onTimeout = () => {
        if (!this.#channel.isReading) stop();
        else stopTimeout = setLoopTimeout(onTimeout, 0, isRef);
      };
      let stopTimeout = setLoopTimeout(onTimeout, milliseconds, isRef);
      this.#onMessageRead.add(watcher);
    });
  }

  #leaveOnExit(): void {
    const leave = () =>
      this.#guard(() => {
        this.publisher.publishOwn();
        this.#channel.post({ kind: "leave" });
      });
    process.on("exit", leave);
    const target = globalThis as Partial<EventTarget>;
    target.addEventListener?.("unload", leave);
    for (const type of ["error", "unhandledrejection"]) {
      target.addEventListener?.(type, () => {
        leave();
        // Whoever handles the error lets the worker live on.
        setTimeout(() =>
          this.#channel.post({ kind: "present", hasJoined: true })
        );
      });
    }
  }
}

function toItems(deltas: readonly RegistryDelta[]): Item[] {
  return deltas.map((delta) => ({ delta }));
}

function* toWorkerItems(
  replicas: Iterable<readonly [worker: string | null, Iterable<RegistryDelta>]>,
): Iterable<Item> {
  for (const [worker, deltas] of replicas) {
    for (const delta of deltas) yield { worker, delta };
  }
}

function groupByWorker(
  items: readonly Item[],
): ReadonlyMap<Item["worker"], RegistryDelta[]> {
  const groups = new Map<Item["worker"], RegistryDelta[]>();
  for (const { worker, delta } of items) {
    const group = groups.get(worker) ?? [];
    group.push(delta);
    groups.set(worker, group);
  }
  return groups;
}

/** This thread as a worker: one, however many handlers and copies of this library it has. */
export function joinWorkerGroup(): WorkerGroup {
  return perProcess("worker", () => new WorkerGroup());
}
