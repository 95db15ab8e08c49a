import { setLoopTimeout } from "../common/async.ts";
import type { Channel } from "./channel.ts";
import type { GroupIssues } from "./group_issues.ts";
import type { Membership } from "./membership.ts";
import type { Item, Message, WorkerState } from "./message.ts";
import type { Publisher } from "./publisher.ts";
import { type RegistryDelta, Replica } from "./replica.ts";

/** The time after which a requested full state counts as lost, in milliseconds. */
const SYNC_TIMEOUT_MS = 250;

type FullState = Message & { readonly kind: "fullState" };

/** The replicas of a full state by worker id, `null` for all retired workers. */
type Replicas = ReadonlyMap<string | null, Replica>;

/** The parts of a worker group that a sync uses. */
export interface SyncContext {
  readonly channel: Channel<Message, Item>;
  readonly publisher: Publisher;
  readonly members: Membership;
  readonly issues: GroupIssues;
}

/** Requests, sends and applies full states: for new workers and after lost messages. */
export class StateSync {
  /** Whether this worker has the state from before its start. */
  hasJoined = false;
  readonly #context: SyncContext;
  /** Stops the timeout of the current request, if there is one. */
  #stopTimeout: (() => void) | undefined;

  constructor(context: SyncContext) {
    this.#context = context;
  }

  /** Requests the full state from a worker, unless a request is in progress. */
  request(target: string): void {
    if (this.#stopTimeout !== undefined) return;
    const { channel, members } = this.#context;
    members.getOrAdd(target).isSyncSource = true;
    const wait = () => {
      this.#stopTimeout = setLoopTimeout(
        () => channel.isReceiving(target) ? wait() : this.#endRequest(),
        SYNC_TIMEOUT_MS,
        false,
      );
    };
    wait();
    channel.post({ kind: "syncRequest", target });
  }

  /** Sends the full state to a worker, in slices. */
  async send(to: string): Promise<void> {
    const { channel, publisher, members } = this.#context;
    const { hasDroppedIds } = members;
    const peers = [...members.peers].filter(([id]) => id !== to);
    const workers: WorkerState[] = [
      ...peers.map(([id, { version, leftAt, unresponsiveForMs }]) => ({
        id,
        version,
        hasLeft: leftAt !== undefined,
        unresponsiveForMs,
      })),
      {
        id: channel.id,
        version: publisher.version,
        hasLeft: false,
        unresponsiveForMs: null,
      },
    ];
    const now = performance.now();
    const retired = [...members.retiredIds]
      .map(([id, until]) => [id, until - now] as const);
    const states: [worker: string | null, Iterable<RegistryDelta>][] = [
      [null, members.retired.fullState()],
      [channel.id, publisher.replica.fullState()],
    ];
    for (const [id, { replica }] of peers) {
      states.push([id, replica.fullState()]);
    }
    await channel.postInSlices(
      toItems(states),
      () => ({ kind: "fullState", to, workers, retired, hasDroppedIds }),
    );
  }

  /** Applies a requested full state. */
  async apply(message: FullState, items: readonly Item[]): Promise<void> {
    const { members } = this.#context;
    const replicas = await readReplicas(message, items);
    // Without the dropped ids, an unknown worker may already be counted as retired.
    const mayAddPeers = !members.hasDroppedIds;
    await this.#applyRetired(message, replicas);
    for (const state of message.workers) {
      this.#applyWorker(state, replicas.get(state.id)!, mayAddPeers);
    }
    this.hasJoined = true;
    this.#endRequest();
    for (const { id } of message.workers) {
      await members.peers.get(id)?.applyBacklog();
    }
  }

  async #applyRetired(
    { retired, hasDroppedIds }: FullState,
    replicas: Replicas,
  ): Promise<void> {
    const { members } = this.#context;
    const ids = new Map(retired);
    const isComplete = !members.hasDroppedIds;
    const before = await members.merge(
      [...members.peers]
        .filter(([id]) => ids.has(id))
        .map(([, { replica }]) => ({ replica, isAlive: false, age: 2 })),
    );
    const after = replicas.get(null)!;
    if (
      isComplete &&
      [...members.retiredIds.keys()].every((id) => ids.has(id)) &&
      this.#canReplace(before, after)
    ) {
      const now = performance.now();
      const until = new Map(retired.map(([id, ms]) => [id, now + ms]));
      members.replaceRetired(after, until, hasDroppedIds);
    }
  }

  #applyWorker(
    { id, version, hasLeft, unresponsiveForMs }: WorkerState,
    replica: Replica,
    mayAdd: boolean,
  ): void {
    const { channel, members } = this.#context;
    if (members.retiredIds.has(id) || id === channel.id) return;
    const isNew = !members.peers.has(id);
    if (isNew && !mayAdd) return;
    const peer = members.getOrAdd(id);
    if (peer.version < version && this.#canReplace(peer.replica, replica)) {
      peer.replica = replica;
      peer.version = version;
    }
    // The status of other peers follows from their own messages.
    if (!isNew) return;
    if (hasLeft) peer.leftAt = performance.now();
    if (unresponsiveForMs !== null) {
      peer.unresponsiveSince = performance.now() - unresponsiveForMs;
    }
  }

  #canReplace(before: Replica, after: Replica): boolean {
    const isBelow = after.isBelow(before);
    if (isBelow) this.#context.issues.onRejected("a counter would decrease");
    return !isBelow;
  }

  #endRequest(): void {
    this.#stopTimeout?.();
    this.#stopTimeout = undefined;
  }
}

function* toItems(
  states: Iterable<readonly [worker: string | null, Iterable<RegistryDelta>]>,
): Iterable<Item> {
  for (const [worker, deltas] of states) {
    for (const delta of deltas) yield { worker, delta };
  }
}

async function readReplicas(
  { workers }: FullState,
  items: readonly Item[],
): Promise<Replicas> {
  const deltas = groupByWorker(items);
  const replicas = new Map<string | null, Replica>();
  for (const id of [null, ...workers.map(({ id }) => id)]) {
    const replica = new Replica(id === null);
    await replica.apply(deltas.get(id) ?? []);
    replicas.set(id, replica);
  }
  return replicas;
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
