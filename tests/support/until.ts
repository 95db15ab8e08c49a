import { assert } from "@std/assert";

/** Waits until a condition holds; it fails if that takes ten seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    assert(performance.now() < end, `It did not hold: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve));
  }
}
