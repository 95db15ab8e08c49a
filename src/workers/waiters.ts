import { setLoopTimeout } from "../common/async.ts";

/** The waits for conditions that received messages may fulfil. */
export class Waiters {
  readonly #checks = new Set<() => void>();
  readonly #isReading: () => boolean;

  /** @param isReading Returns whether there are messages that have not been read yet. */
  constructor(isReading: () => boolean) {
    this.#isReading = isReading;
  }

  /** Checks all conditions. Called after each message. */
  notify(): void {
    for (const check of [...this.#checks]) check();
  }

  /**
   * Waits until a condition is true, or the time has passed.
   *
   * @param isRef Whether the wait keeps the process running.
   */
  until(
    condition: () => boolean,
    milliseconds: number,
    isRef: boolean = true,
  ): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const stop = () => {
        stopTimeout();
        this.#checks.delete(check);
        resolve();
      };
      const check = () => {
        if (condition()) stop();
      };
      // An unread message may fulfil the condition.
      const onTimeout = () => {
        if (!this.#isReading()) stop();
        else stopTimeout = setLoopTimeout(onTimeout, 0, isRef);
      };
      let stopTimeout = setLoopTimeout(onTimeout, milliseconds, isRef);
      this.#checks.add(check);
    });
  }
}
