import type { GatheredFamily } from "./samples.ts";

/** How many gatherings may be read at the same time. */
const MAX_GATHERINGS = 16;

/** For how long one may be read no further before it makes room for another. */
const PATIENCE_MS = 5_000;

/** Made once, as the stack of an error holds on to what was called when it was made. */
const TOO_SLOW = new Error("The metrics were read too slowly");

/** What ends a body before its end. */
interface Body {
  error(reason: unknown): void;
}

/** What was gathered, and is being read. */
interface Gathering {
  readonly bodies: Set<Body>;
  /** When one of them was last read further, in milliseconds. */
  readAt: number;
}

/** How a body tells of itself. */
export interface Reading {
  /** It is read further. */
  progress(): void;
  /** It is read no more. */
  end(): void;
}

/**
 * The bodies that clients have not read to the end.
 *
 * Each holds what was gathered for it, and one whose client reads a byte a second
 * would hold it for hours. Bodies of one gathering hold no more than one does: so what
 * comes when there are too many waits, all together, for one that ends, or that has
 * not been read for so long that it is cut off.
 */
export class UnfinishedBodies {
  readonly #gatherings = new Map<readonly GatheredFamily[], Gathering>();
  /** Called when one has ended. */
  readonly #waiting = new Set<() => void>();
  #admitting: Promise<unknown> = Promise.resolve();

  /** Waits until one more may be gathered. */
  async waitForRoom(): Promise<void> {
    while (this.#gatherings.size >= MAX_GATHERINGS) {
      const [gathered, { bodies, readAt }] = this.#slowest();
      const patience = readAt + PATIENCE_MS - performance.now();
      if (patience > 0) {
        await this.#untilOneEnds(patience);
        continue;
      }
      this.#gatherings.delete(gathered);
      for (const body of bodies) body.error(TOO_SLOW);
    }
  }

  /**
   * Gathers as soon as there is room. Calls take turns, as many scrapes may have waited
   * for the same collector.
   *
   * @param gather Returns the families for the bodies that begin next.
   */
  admit(
    gather: () => Promise<GatheredFamily[]>,
  ): Promise<readonly GatheredFamily[]> {
    const admitted = this.#admitting.then(async () => {
      await this.waitForRoom();
      const gathered = await gather();
      this.#add(gathered);
      return gathered;
    });
    // Without its value, which would be retained until the next scrape.
    this.#admitting = admitted.then(() => {}, () => {});
    return admitted;
  }

  /** A body is begun, of what was gathered. */
  begin(gathered: readonly GatheredFamily[], body: Body): Reading {
    const gathering = this.#gatherings.get(gathered) ?? this.#add(gathered);
    const { bodies } = gathering;
    bodies.add(body);
    return {
      progress: () => {
        gathering.readAt = performance.now();
      },
      end: () => {
        bodies.delete(body);
        if (bodies.size > 0) return;
        this.#gatherings.delete(gathered);
        for (const wake of [...this.#waiting]) wake();
      },
    };
  }

  #add(gathered: readonly GatheredFamily[]): Gathering {
    const gathering = { bodies: new Set<Body>(), readAt: performance.now() };
    this.#gatherings.set(gathered, gathering);
    return gathering;
  }

  #slowest(): [readonly GatheredFamily[], Gathering] {
    return [...this.#gatherings].reduce((slowest, each) =>
      each[1].readAt < slowest[1].readAt ? each : slowest
    );
  }

  #untilOneEnds(patience: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, patience);
      this.#waiting.add(wake);
    });
  }
}
