import process from "node:process";
import { withTimeout } from "../common/async.ts";
import { perProcess } from "../common/per_process.ts";
import { mergeFamilies } from "../exposition/merge.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { Channel } from "./channel.ts";
import { GroupIssues } from "./group_issues.ts";
import { InvalidMessage } from "./invalid_message.ts";
import { Membership } from "./membership.ts";
import type { Item, Message } from "./message.ts";
import { isItem, isMessage } from "./message_checks.ts";
import type { Peer } from "./peer.ts";
import { Publisher } from "./publisher.ts";
import type { RegistryDelta } from "./replica.ts";
import { StateSync } from "./state_sync.ts";
import { Waiters } from "./waiters.ts";

/** The number changes with the messages: versions cannot read each other's messages. */
const CHANNEL_NAME = "@lukhas/stage-metrics/4";

/** The maximum time that a new worker waits for the full state. */
const JOIN_MS = 500;

/**
 * The worker threads of the process that share their metrics, in the view of one of them.
 *
 * Each worker keeps a replica of every worker's metrics, its own included, and a scrape
 * shows these replicas. So all workers show the same metrics.
 */
export class WorkerGroup {
  /** Publishes the metrics of this worker. */
  readonly publisher: Publisher;
  /** The functions to call before this worker answers another worker's scrape. */
  readonly beforeCollect = new Set<() => unknown>();
  readonly #channel: Channel<Message, Item>;
  readonly #issues: GroupIssues;
  readonly #members: Membership;
  readonly #sync: StateSync;
  readonly #waiters: Waiters;
  readonly #joining: Promise<void>;
  #round = 0;

  constructor() {
    const channel = new Channel<Message, Item>(CHANNEL_NAME, {
      isMessage,
      isItem,
      onMessage: (from, message, items) =>
        issues.guard(() => this.#receive(from, message, items)),
      onRejected: (reason) => issues.onRejected(reason),
    });
    const publisher = createPublisher(channel);
    const issues = new GroupIssues(publisher);
    const members = new Membership(issues, (id) => channel.dropSender(id));
    this.#channel = channel;
    this.publisher = publisher;
    this.#issues = issues;
    this.#members = members;
    this.#sync = new StateSync({ channel, publisher, members, issues });
    this.#waiters = new Waiters(() => channel.isReading);
    channel.post({ kind: "join" });
    this.#joining = this.#join();
    this.#leaveOnExit();
  }

  /**
   * Collects the current metrics of all workers.
   *
   * @param timeoutMs The maximum time to wait. Each collector may take half of it.
   * @param suspectTimeoutMs The time after which a worker that has not answered is no
   * longer awaited, until it sends a message.
   */
  async refresh(timeoutMs: number, suspectTimeoutMs: number): Promise<void> {
    await withTimeout(this.#joining, timeoutMs);
    const round = ++this.#round;
    const awaited = [...this.#members.peers]
      .filter(([, peer]) => peer.isAwaited);
    if (awaited.length > 0) {
      this.#channel.post({ kind: "collect", round, timeoutMs });
    }
    await Promise.all([
      this.publisher.publishForeign(timeoutMs / 2),
      this.#waiters.until(
        () => awaited.every(([, peer]) => peer.hasAcknowledged(round)),
        timeoutMs,
      ),
    ]);
    const unresponsive = awaited
      .filter(([, peer]) => !peer.hasAcknowledged(round))
      .map(([id]) => id);
    for (const _ of unresponsive) this.#issues.onUnresponsive(timeoutMs);
    // A scrape with a shorter timeout may end before a healthy worker answers.
    if (timeoutMs >= suspectTimeoutMs) this.#suspect(unresponsive);
    await this.#issues.guard(() => this.#members.retire());
    this.publisher.publishOwn();
  }

  /**
   * Returns the merged metrics of all workers for shared registries.
   *
   * The state is that of the call: changes that arrive during the merge are left out.
   */
  async families(registries: readonly number[]): Promise<MetricFamily[]> {
    const peers = [...this.#members.peers].map(([id, peer]) => ({
      id,
      replica: peer.replica,
      isAlive: peer.isAlive,
      age: peer.isAwaited ? 1 : 2,
    }));
    const { replica } = this.publisher;
    const own = { id: this.#channel.id, replica, isAlive: true, age: 0 };
    // Every worker uses the same order, as some metrics take the first value.
    const parts = [own, ...peers].sort((a, b) => a.id < b.id ? -1 : 1);
    const merged = await this.#members.merge(parts);
    return await mergeFamilies(
      registries.flatMap((registry) => merged.families(registry)),
      (family, type) => this.#issues.onConflict(family, type),
    );
  }

  /** Waits for the full state. Without an answer, there was no state before. */
  async #join(): Promise<void> {
    await this.#waiters.until(() => this.#sync.hasJoined, JOIN_MS, false);
    this.#sync.hasJoined = true;
  }

  #suspect(ids: readonly string[]): void {
    if (ids.length === 0) return;
    this.#members.suspect(ids);
    // Other workers need not wait for them, either.
    this.#channel.post({ kind: "suspect", ids });
  }

  /** Receives a message of another worker. Answers are not awaited. */
  async #receive(
    from: string,
    message: Message,
    items: readonly Item[],
  ): Promise<void> {
    const isForThis = "to" in message && message.to === this.#channel.id;
    const peer = this.#admit(from);
    if (peer === undefined) {
      if (isForThis && message.kind === "ack") this.#issues.onRetiredAck();
      return;
    }
    peer.leftAt = message.kind === "leave" ? performance.now() : undefined;
    peer.unresponsiveSince = undefined;
    switch (message.kind) {
      case "join":
        this.#issues.guard(() => this.#members.retire());
        this.#announce();
        break;
      case "present":
        if (message.hasJoined && !this.#sync.hasJoined) {
          this.#sync.request(from);
        }
        break;
      case "syncRequest":
        if (message.target === this.#channel.id) {
          this.#issues.guard(() => this.#sync.send(from));
        }
        break;
      case "fullState":
        // Unrequested full states are ignored.
        if (isForThis && peer.isSyncSource) {
          await this.#sync.apply(message, items);
        }
        break;
      case "collect":
        this.#issues.guard(() => this.#members.retire());
        this.#issues.guard(() => this.#answer(from, message));
        break;
      case "delta":
        await peer.receive(message.version, items.map(({ delta }) => delta));
        break;
      case "ack":
        if (!isForThis) break;
        peer.lastAck = message;
        if (peer.version < message.version) this.#sync.request(from);
        break;
      case "suspect":
        this.#members.suspect(message.ids);
        break;
      case "leave":
        break;
    }
    this.#waiters.notify();
  }

  /**
   * Returns the peer that sent a message, `undefined` if it was retired.
   *
   * @throws {InvalidMessage} If no message is accepted from this sender.
   */
  #admit(from: string): Peer | undefined {
    if (from === this.#channel.id) {
      // Corrects the state of workers that believed the other sender.
      this.#announce();
      throw new InvalidMessage("another sender uses this worker's id");
    }
    if (this.#members.retiredIds.has(from)) return undefined;
    if (!this.#members.peers.has(from) && this.#members.isFull) {
      throw new InvalidMessage("too many senders");
    }
    return this.#members.getOrAdd(from);
  }

  /** Publishes all changes, and then acknowledges a collect message. */
  async #answer(
    to: string,
    { round, timeoutMs }: Message & { readonly kind: "collect" },
  ): Promise<void> {
    for (const fn of this.beforeCollect) fn();
    this.publisher.publishOwn();
    await this.publisher.publishForeign(timeoutMs / 2);
    const { version } = this.publisher;
    this.#channel.post({ kind: "ack", to, round, version });
  }

  #announce(): void {
    this.#channel.post({ kind: "present", hasJoined: this.#sync.hasJoined });
  }

  /** Publishes the last changes when this worker exits. */
  #leaveOnExit(): void {
    const leave = () =>
      this.#issues.guard(() => {
        this.publisher.publishOwn();
        this.#channel.post({ kind: "leave" });
      });
    process.on("exit", leave);
    const target = globalThis as Partial<EventTarget>;
    target.addEventListener?.("unload", leave);
    for (const type of ["error", "unhandledrejection"]) {
      target.addEventListener?.(type, () => {
        leave();
        // If the error is handled, the worker keeps running.
        setTimeout(() =>
          this.#channel.post({ kind: "present", hasJoined: true })
        );
      });
    }
  }
}

function createPublisher(channel: Channel<Message, Item>): Publisher {
  return new Publisher({
    post: (deltas, version) =>
      channel.post({ kind: "delta", version }, toItems(deltas)),
    postInSlices: (deltas, finish) =>
      channel.postInSlices(
        toItems(deltas),
        () => ({ kind: "delta", version: finish() }),
      ),
  });
}

function toItems(deltas: readonly RegistryDelta[]): Item[] {
  return deltas.map((delta) => ({ delta }));
}

/** Returns the group of this thread: one for all handlers and copies of this module. */
export function joinWorkerGroup(): WorkerGroup {
  return perProcess("worker group", () => new WorkerGroup());
}
