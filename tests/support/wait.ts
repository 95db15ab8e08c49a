import { assert } from "@std/assert";

/** Waits until a condition holds, for ten seconds at most. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    assert(performance.now() < end, `Condition does not hold: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve));
  }
}
