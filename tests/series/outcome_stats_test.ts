import { assertEquals } from "@std/assert";
import { OutcomeStats } from "../../src/series/outcome_stats.ts";

/** Creates stats with two buckets, the last one `+Inf`. */
function createStats(buckets: [number, number], sum: number): OutcomeStats {
  const stats = new OutcomeStats();
  stats.total = buckets[0] + buckets[1];
  stats.cancelled = buckets[1];
  stats.lastEnd = buckets[0];
  stats.histogram = Float64Array.of(...buckets, sum);
  return stats;
}

function exemplar(id: string, timestamp: number) {
  return { labelSet: { trace_id: id, span_id: id }, value: 1, timestamp };
}

Deno.test("OutcomeStats.copy() shares nothing with the original", () => {
  const stats = createStats([1, 2], 3);
  stats.exemplars = new Map([[0, exemplar("a", 1)]]);
  const copy = stats.copy(stats.histogram!.slice());
  assertEquals(copy, stats);
  stats.total++;
  stats.exemplars.clear();
  assertEquals([copy.total, copy.exemplars?.size], [3, 1]);
});

Deno.test("OutcomeStats.add() sums counts, and takes the latest end and exemplar", () => {
  const sum = new OutcomeStats();
  const first = createStats([1, 2], 3);
  first.exemplars = new Map([[0, exemplar("a", 2)], [1, exemplar("b", 1)]]);
  sum.add(first, [0, 0, 1]);
  sum.add(createStats([10, 20], 1), [0, 0, 1]);
  assertEquals(
    [sum.total, sum.cancelled, sum.lastEnd, ...sum.histogram!],
    [33, 22, 10, 33, 4],
  );
  assertEquals([...sum.exemplars!], [[0, exemplar("a", 2)]]);
});

Deno.test("OutcomeStats.diff() returns a delta that apply() turns into equal stats", () => {
  const stats = createStats([1, 2], Infinity);
  stats.exemplars = new Map([[0, exemplar("a", 1)]]);
  const other = new OutcomeStats();
  other.apply(JSON.parse(JSON.stringify(stats.diff(undefined))));
  assertEquals(other, stats);
  assertEquals(stats.diff(other), undefined);

  stats.total++;
  stats.exemplars = new Map([[1, exemplar("b", 2)]]);
  const delta = stats.diff(other)!;
  assertEquals(delta[3], [[1, exemplar("b", 2)], [0, null]]);
  for (const _ of [1, 2]) {
    other.apply(delta);
    assertEquals(other, stats);
  }
});

Deno.test("OutcomeStats.diff() includes a later exemplar of the same span and millisecond", () => {
  const stats = createStats([1, 0], 1);
  stats.exemplars = new Map([[0, exemplar("a", 1)]]);
  const known = stats.copy(stats.histogram!.slice());
  stats.total++;
  const later = { ...exemplar("a", 1), value: 0.5 };
  stats.exemplars.set(0, later);
  assertEquals(stats.diff(known)?.[3], [[0, later]]);
});

Deno.test("OutcomeStats.isLoweredBy() compares counts, and buckets of equal number", () => {
  const stats = createStats([1, 2], 3);
  const isLoweredBy = (...delta: [number, number, ...number[]]) => {
    const [total, cancelled, ...histogram] = delta;
    return stats.isLoweredBy([total, cancelled, 0, [], ...histogram]);
  };
  assertEquals(isLoweredBy(3, 2, 1, 2, 3), false);
  assertEquals(isLoweredBy(2, 2, 1, 2, 3), true);
  assertEquals(isLoweredBy(3, 1, 1, 2, 3), true);
  assertEquals(isLoweredBy(3, 2, 2, 1, 3), true);
  assertEquals(isLoweredBy(3, 2, 0, 0, 0, 0), false);
  assertEquals(isLoweredBy(3, 2), false);
});
