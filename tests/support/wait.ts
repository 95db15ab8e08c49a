/**
 * Waits for conditions.
 *
 * @module
 */

/** The longest wait for a condition, in milliseconds. */
const TIMEOUT_MS = 30_000;
const POLL_MS = 50;

/** Waits until a condition holds. Checks it in each turn of the event loop. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + TIMEOUT_MS;
  while (!condition()) {
    if (performance.now() > end) {
      throw new Error(`Condition does not hold: ${condition}`);
    }
    await new Promise((resolve) => setTimeout(resolve));
  }
}

/** Calls `check` until it no longer throws; rethrows its last error on a timeout. */
export async function eventually<T>(check: () => T | Promise<T>): Promise<T> {
  for (const end = performance.now() + TIMEOUT_MS;;) {
    try {
      return await check();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
