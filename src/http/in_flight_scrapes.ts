import { clearTimeout, setTimeout } from "node:timers";
import { setLoopTimeout } from "../common/async.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { Snapshot } from "./scrape_snapshot.ts";

/** The maximum number of snapshots in memory. */
const MAX_SNAPSHOTS = 4;

/** The number of foreign samples in snapshots above which no new snapshot begins. */
const MAX_RETAINED_SAMPLES = 200_000;

/**
 * The time without a read after which a body can be evicted for a waiting scrape, in
 * milliseconds.
 */
const IDLE_MS = 500;

/**
 * The time after which any body can be evicted for a waiting scrape, in milliseconds.
 * Less than the five seconds that a scrape with a timeout of ten seconds waits.
 */
const GUARANTEED_MS = 4_000;

/** The time after which every body is aborted, in milliseconds. */
const MAX_BODY_MS = 120_000;

/**
 * The minimum delay before an eviction, in milliseconds: bodies also seem idle when the
 * event loop was blocked.
 */
const MIN_EVICTION_DELAY_MS = 50;

/** Created once, because an error retains its call stack. */
const TOO_SLOW = new Error("The metrics were read too slowly");

/** A scrape to admit. */
export interface Scrape {
  /** The object that identifies the registries to show. */
  readonly owner: object;
  /** The same text for all scrapes of the owner that can share a snapshot. */
  readonly key: string;
  /** Collects the metrics, then returns a function that gathers them. */
  readonly collect: () => Promise<() => Promise<readonly MetricFamily[]>>;
  /** The maximum time to wait for room, in milliseconds. */
  readonly timeoutMs: number;
  /** Returns whether the client has disconnected. */
  readonly isAborted: () => boolean;
}

/** A scrape that waits for room. */
interface WaitingScrape extends Scrape {
  /** The number of scrapes that had arrived when it arrived, itself included. */
  readonly number: number;
  /** Ends the wait, without a body if there is no room or the client has left. */
  resolve(body?: ScrapeBody): void;
}

/** The body of a response, from its admission until it has been read or aborted. */
export class ScrapeBody {
  readonly snapshot: Snapshot;
  readonly #onEnd: () => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  #startedAt = performance.now();
  /** The time of the last read. Infinite until there is something to read. */
  #readAt = Infinity;
  #onAbort: ((reason: Error) => void) | undefined;

  /** @param onEnd Called when the body has been read or aborted. */
  constructor(snapshot: Snapshot, onEnd: () => void) {
    this.snapshot = snapshot;
    this.#onEnd = onEnd;
    this.#timer = setTimeout(() => this.abort(), MAX_BODY_MS);
    this.#timer.unref();
  }

  /** The time from which it can be evicted, by `performance.now()`. */
  get evictableAt(): number {
    return Math.min(this.#readAt + IDLE_MS, this.#startedAt + GUARANTEED_MS);
  }

  /** Waits for the metrics. Returns `false` if the body is aborted before. */
  async collected(): Promise<boolean> {
    const aborted = new Promise<boolean>((resolve) => {
      this.#onAbort = () => resolve(false);
    });
    const isCollected = await Promise.race([
      this.snapshot.collected.then(() => true),
      aborted,
    ]);
    this.#startedAt = this.#readAt = performance.now();
    return isCollected;
  }

  /**
   * Starts streaming.
   *
   * @param onAbort Called with the reason if the body is aborted.
   */
  start(onAbort: (reason: Error) => void): void {
    this.#onAbort = onAbort;
  }

  /** Records that the client reads. */
  markRead(): void {
    this.#readAt = performance.now();
  }

  /** Ends the body before it has been read. */
  abort(): void {
    this.#onAbort?.(TOO_SLOW);
    this.end();
  }

  /** Makes room for other scrapes. */
  end(): void {
    clearTimeout(this.#timer);
    this.#onEnd();
  }
}

/**
 * The scrapes whose bodies have not been read to the end.
 *
 * Their number is limited, because each retains its snapshot and a buffer in the
 * server. Further scrapes wait, and idle or slow bodies are evicted for them. The
 * latest scrape is admitted first: it has the most time left, and earlier scrapes
 * cannot delay it.
 */
export class InFlightScrapes {
  readonly #max: number;
  readonly #bodies = new Set<ScrapeBody>();
  readonly #snapshots = new Set<Snapshot>();
  /** The number of scrapes that have arrived. */
  #arrived = 0;
  /** The waiting scrapes, the latest last. */
  readonly #waiting: WaitingScrape[] = [];
  #cancelEviction: (() => void) | undefined;

  /** @param max The maximum number of bodies at a time. */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Collects the metrics of a scrape as soon as there is room.
   *
   * @returns The body, or `undefined` if there was no room in time or the client has
   * disconnected.
   * @throws The error of collecting or gathering.
   */
  async admit(scrape: Scrape): Promise<ScrapeBody | undefined> {
    let waiting!: WaitingScrape;
    const admitted = new Promise<ScrapeBody | undefined>((resolve) => {
      waiting = { ...scrape, number: ++this.#arrived, resolve };
    });
    this.#waiting.push(waiting);
    this.#update();
    const timer = setTimeout(() => this.#reject(waiting), scrape.timeoutMs);
    const body = await admitted.finally(() => clearTimeout(timer));
    try {
      if (await body?.collected()) return body;
    } catch (error) {
      body?.end();
      throw error;
    }
    return undefined;
  }

  #reject(waiting: WaitingScrape): void {
    const index = this.#waiting.indexOf(waiting);
    if (index !== -1) this.#waiting.splice(index, 1);
    waiting.resolve();
    this.#scheduleEviction();
  }

  #update(): void {
    this.#admitWaiting();
    this.#scheduleEviction();
  }

  #admitWaiting(): void {
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      if (this.#bodies.size >= this.#max) return;
      const waiting = this.#waiting[i]!;
      const snapshot = waiting.isAborted()
        ? undefined
        : this.#snapshotOf(waiting);
      if (snapshot === undefined && !waiting.isAborted()) continue;
      this.#waiting.splice(i, 1);
      waiting.resolve(snapshot && this.#createBody(snapshot));
    }
  }

  /** Whether there is no room for another snapshot. */
  get #isFull(): boolean {
    let retained = 0;
    for (const each of this.#snapshots) retained += each.retainedSamples;
    return this.#snapshots.size >= MAX_SNAPSHOTS ||
      retained >= MAX_RETAINED_SAMPLES;
  }

  /** Returns a snapshot for a scrape, or `undefined` if there is no room. */
  #snapshotOf(waiting: WaitingScrape): Snapshot | undefined {
    const { owner, key, number } = waiting;
    const isFull = this.#isFull;
    // A snapshot that began before this scrape may hold outdated foreign metrics.
    const shared = [...this.#snapshots].findLast((each) =>
      each.owner === owner && each.key === key &&
      (number <= each.lastScrape || isFull && each.isCollecting)
    );
    if (shared !== undefined || isFull) return shared;
    const snapshot = new Snapshot(owner, key, () => {
      snapshot.lastScrape = this.#arrived;
      return waiting.collect();
    });
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  #createBody(snapshot: Snapshot): ScrapeBody {
    snapshot.bodies++;
    const body = new ScrapeBody(snapshot, () => {
      if (!this.#bodies.delete(body)) return;
      if (--snapshot.bodies === 0) {
        this.#snapshots.delete(snapshot);
        snapshot.release();
      }
      this.#update();
    });
    this.#bodies.add(body);
    return body;
  }

  /** Evicts bodies as soon as possible while scrapes wait. */
  #scheduleEviction(): void {
    if (this.#waiting.length === 0) {
      this.#cancelEviction?.();
      this.#cancelEviction = undefined;
    } else if (this.#cancelEviction === undefined) {
      const next = Math.min(
        ...[...this.#bodies].map((each) => each.evictableAt),
      );
      this.#cancelEviction = setLoopTimeout(() => {
        this.#cancelEviction = undefined;
        this.#evict();
        this.#scheduleEviction();
      }, Math.max(MIN_EVICTION_DELAY_MS, next - performance.now()));
    }
  }

  #evict(): void {
    const now = performance.now();
    const evictable = [...this.#bodies].filter((body) =>
      body.evictableAt <= now
    )
      .sort((one, other) => one.evictableAt - other.evictableAt);
    for (const body of evictable) {
      if (this.#waiting.length === 0) return;
      body.abort();
    }
  }
}
