import { clearTimeout, setTimeout } from "node:timers";
import { setLoopTimeout } from "../common/async.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { Snapshot } from "./scrape_snapshot.ts";

/** How many snapshots may be retained at the same time. */
const MAX_SNAPSHOTS = 4;

/** Snapshots that retain as many samples leave no room for another one. */
const MAX_RETAINED_SAMPLES = 200_000;

/** After so long without being read, a body makes room for a scrape that waits. */
const IDLE_MS = 500;

/**
 * After so long in all, a body makes room for a scrape that waits: sooner than one that
 * has come at the same time, and can wait for half of ten seconds, would give up.
 */
const GUARANTEED_MS = 4_000;

/** After so long, a body is cut off: no scrape has a longer timeout. */
const MAX_BODY_MS = 120_000;

/** How long a body that seems idle has to be read when the event loop was blocked. */
const MIN_EVICTION_DELAY_MS = 50;

/** Made once, as the stack of an error retains the calls in which it was made. */
const TOO_SLOW = new Error("The metrics were read too slowly");

/** A scrape that is to be admitted. */
export interface Scrape {
  /** Stands for the registries that it shows. */
  readonly owner: object;
  /** The same for scrapes of an owner that may share a snapshot. */
  readonly key: string;
  /** Collects the metrics, and then returns a function that gathers them. */
  readonly collect: () => Promise<() => Promise<readonly MetricFamily[]>>;
  /** How long it may wait for room, in milliseconds. */
  readonly timeoutMs: number;
  /** Returns whether the client has left. */
  readonly isAborted: () => boolean;
}

/** A scrape that waits for room. */
interface WaitingScrape extends Scrape {
  /** How many scrapes had arrived when it came, itself included. */
  readonly number: number;
  /** Ends the wait, without a body if there is no room, or nobody to read it. */
  resolve(body?: ScrapeBody): void;
}

/** The body of a response, from its admission until it is read or cut off. */
export class ScrapeBody {
  readonly snapshot: Snapshot;
  readonly #onEnd: () => void;
  readonly #timer: ReturnType<typeof setTimeout>;
  #startedAt = performance.now();
  /** It cannot be read before it is collected. */
  #readAt = Infinity;
  #error: ((reason: Error) => void) | undefined;

  /** @param onEnd Called when the body ends. */
  constructor(snapshot: Snapshot, onEnd: () => void) {
    this.snapshot = snapshot;
    this.#onEnd = onEnd;
    this.#timer = setTimeout(() => this.abort(), MAX_BODY_MS);
    this.#timer.unref();
  }

  /** When it makes room for a scrape that waits, by `performance.now()`. */
  get evictableAt(): number {
    return Math.min(this.#readAt + IDLE_MS, this.#startedAt + GUARANTEED_MS);
  }

  /** Waits for its metrics, and returns whether they came before it was cut off. */
  async collected(): Promise<boolean> {
    const cutOff = new Promise<boolean>((resolve) => {
      this.#error = () => resolve(false);
    });
    const isCollected = await Promise.race([
      this.snapshot.collected.then(() => true),
      cutOff,
    ]);
    this.#startedAt = this.#readAt = performance.now();
    return isCollected;
  }

  /**
   * Begins to be sent.
   *
   * @param error Makes the stream of the body fail.
   */
  start(error: (reason: Error) => void): void {
    this.#error = error;
  }

  /** Is read further. */
  markRead(): void {
    this.#readAt = performance.now();
  }

  /** Ends before it has been read. */
  abort(): void {
    this.#error?.(TOO_SLOW);
    this.end();
  }

  /** Ends. */
  end(): void {
    clearTimeout(this.#timer);
    this.#onEnd();
  }
}

/**
 * The scrapes whose bodies have not been read to the end.
 *
 * Each retains its snapshot, and servers buffer some of it, so that their number is
 * limited. A scrape for which there is no room waits, and bodies that are not read, or
 * have been read for long, are cut off for it. The latest scrape is admitted first: it
 * has the longest to wait yet, and no crowd that came before it can keep it waiting.
 */
export class InFlightScrapes {
  readonly #max: number;
  readonly #bodies = new Set<ScrapeBody>();
  readonly #snapshots = new Set<Snapshot>();
  #arrived = 0;
  /** The latest last. */
  readonly #waiting: WaitingScrape[] = [];
  #cancelEviction: (() => void) | undefined;

  /** @param max How many bodies there may be at the same time. */
  constructor(max: number) {
    this.#max = max;
  }

  /**
   * Collects metrics as soon as there is room.
   *
   * @returns The body, or `undefined` if there was no room in time.
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

  /** Admits the scrapes for which there is room. */
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

  /** Returns the snapshot that a scrape shows, if there is room for it. */
  #snapshotOf(waiting: WaitingScrape): Snapshot | undefined {
    const { owner, key, number } = waiting;
    const isFull = this.#isFull;
    // One that began before this scrape came may show foreign metrics as they were then.
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

  /** Cuts bodies off as soon as they expire, for as long as scrapes wait. */
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
