/**
 * Times several ways to do the same against each other.
 *
 * @module
 */
import { measure } from "mitata";

/** How often each is timed: one after the other, again and again. */
const ROUNDS = 15;

/** How long one of them is timed in a round, in nanoseconds. */
const ROUND_NS = 60e6;

/** Something that is timed. */
export type Contender = () => Promise<unknown>;

/** What each of some contenders took, in nanoseconds, in one round. */
export type Round<K extends string> = Readonly<Record<K, number>>;

/**
 * Times contenders in turns, so that whatever else the machine does is shared by
 * all of them.
 */
export async function race<K extends string>(
  contenders: Readonly<Record<K, Contender>>,
): Promise<Round<K>[]> {
  const entries = Object.entries(contenders) as [K, Contender][];
  const rounds: Round<K>[] = [];
  // The first round lets the compiler see all there is, and does not count.
  for (let round = -1; round < ROUNDS; round++) {
    const taken: [K, number][] = [];
    for (const [name, contender] of entries) {
      //GC
      const { p50 } = await measure(contender, {
        min_cpu_time: ROUND_NS,
        gc: false,
      });
      taken.push([name, p50]);
    }
    if (round >= 0) rounds.push(Object.fromEntries(taken) as Round<K>);
  }
  return rounds;
}

/** The median of what a function makes of each item. */
export function medianOf<T>(
  items: readonly T[],
  of: (item: T) => number,
): number {
  const sorted = items.map(of).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Leaves nothing behind for whoever is measured next to clear away. */
export function collectGarbage(): void {
  const { gc, Bun } = globalThis as {
    gc?: () => void;
    Bun?: { gc(isSynchronous: boolean): void };
  };
  if (Bun !== undefined) Bun.gc(true);
  else gc!();
}
