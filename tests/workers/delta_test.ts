import { assertEquals } from "@std/assert";
import { SeriesTree } from "../../src/series/series_tree.ts";
import { applyDelta, diff } from "../../src/workers/delta.ts";

/** A tree, and what another worker makes of what it tells. */
function pair() {
  const buckets = [1, 2];
  const tree = new SeriesTree(buckets, buckets);
  const told = new SeriesTree(buckets, buckets);
  const { success } = tree.pipeline("lane", "p").stage("s");
  let spans = 0;
  return {
    record(seconds: number) {
      const labels = { trace_id: "t", span_id: String(++spans) };
      tree.pipeline("lane", "p").stage("s")
        .record("success", seconds, 0, labels);
    },
    reset() {
      success.histogram!.fill(0);
      success.exemplars!.clear();
    },
    /** Tells what changed, and gives the exemplars that travelled, by their spans. */
    tell() {
      const changes = JSON.parse(JSON.stringify(diff(tree, told)));
      applyDelta(told, changes);
      const [[, , , , , [[, , , , exemplars]]]] = changes;
      return exemplars.map((
        [bucket, exemplar]: [number, { labelSet: { span_id: string } }],
      ) => [bucket, exemplar?.labelSet.span_id]);
    },
    /** What the other worker then has, by bucket. */
    shown() {
      const { exemplars } = told.pipeline("lane", "p").stage("s").success;
      return [...exemplars!].map((
        [bucket, { labelSet, value }],
      ) => [bucket, labelSet["span_id"], value]);
    },
  };
}

Deno.test("Of the exemplars, only those that changed are told", () => {
  const { record, tell, shown } = pair();
  record(0.5);
  record(1.5);
  assertEquals(tell(), [[0, "1"], [1, "2"]]);
  record(0.25);
  record(Infinity);
  assertEquals(tell(), [[0, "3"], [2, "4"]]);
  assertEquals(shown(), [[0, "3", 0.25], [1, "2", 1.5], [2, "4", Infinity]]);
});

Deno.test("Exemplars that a reset has taken away are told to be gone", () => {
  const { record, reset, tell, shown } = pair();
  record(0.5);
  record(1.5);
  tell();
  reset();
  record(1.25);
  assertEquals(tell(), [[1, "3"], [0, undefined]]);
  assertEquals(shown(), [[1, "3", 1.25]]);
});
