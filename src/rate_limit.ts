import { monotonicSeconds } from "./clock.ts";

/** Lets something happen so often a second, and no oftener. */
export class RateLimit {
  readonly #perSecond: number;
  #second = -Infinity;
  #used = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Whether it may happen now. */
  take(): boolean {
    const second = Math.floor(monotonicSeconds());
    if (second !== this.#second) {
      this.#second = second;
      this.#used = 0;
    }
    return ++this.#used <= this.#perSecond;
  }
}
