/**
 * Times several contenders, interleaved.
 *
 * @module
 */
import { measure } from "mitata";

/** How often each contender is timed. */
const ROUNDS = 15;

/** How long a contender is timed in a round, in nanoseconds. */
const ROUND_NS = 60e6;

/** A function to be timed. */
export type Contender = () => Promise<unknown>;

/** The figures of all contenders in one round. */
export type Round<K extends string, F> = Readonly<Record<K, F>>;

/** Times contenders in turns, in nanoseconds. */
export function race<K extends string>(
  contenders: Readonly<Record<K, Contender>>,
): Promise<Round<K, number>[]> {
  return takeTurns(ROUNDS, contenders, async (contender) => {
    const limits = { min_cpu_time: ROUND_NS, gc: false };
    return (await measure(contender, limits)).p50;
  });
}

/**
 * Measures contenders in turns, so that other load on the machine affects all alike.
 */
export async function takeTurns<K extends string, C, F>(
  count: number,
  contenders: Readonly<Record<K, C>>,
  measureOne: (contender: C) => Promise<F>,
): Promise<Round<K, F>[]> {
  const entries = Object.entries(contenders) as [K, C][];
  const rounds: Round<K, F>[] = [];
  // The first round warms up the compiler, and does not count.
  for (let round = -1; round < count; round++) {
    const figures: [K, F][] = [];
    for (const [name, contender] of entries) {
      figures.push([name, await measureOne(contender)]);
    }
    if (round >= 0) rounds.push(Object.fromEntries(figures) as Round<K, F>);
  }
  return rounds;
}

/** Returns the median of a figure of all items. */
export function medianOf<T>(
  items: readonly T[],
  of: (item: T) => number,
): number {
  const sorted = items.map(of).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}

/** Collects garbage now, so that the next measurement does not pay for it. */
export function collectGarbage(): void {
  const { gc, Bun } = globalThis as {
    gc?: () => void;
    Bun?: { gc(isSynchronous: boolean): void };
  };
  if (Bun !== undefined) Bun.gc(true);
  else gc!();
}
