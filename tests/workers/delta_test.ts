import { assertEquals } from "@std/assert";
import { SeriesTree } from "../../src/series/series_tree.ts";
import { applyDelta, diff } from "../../src/workers/delta.ts";

/** Creates a tree, and its replica in another worker. */
function createPair() {
  const buckets = [1, 2];
  const tree = new SeriesTree(buckets, buckets);
  const replica = new SeriesTree(buckets, buckets);
  const { success } = tree.getOrCreatePipeline("lane", "p").getOrCreateStage(
    "s",
  );
  let spans = 0;
  return {
    record(seconds: number) {
      const labels = { trace_id: "t", span_id: String(++spans) };
      tree.getOrCreatePipeline("lane", "p").getOrCreateStage("s")
        .record("success", seconds, 0, labels);
    },
    reset() {
      success.histogram!.fill(0);
      success.exemplars!.clear();
    },
    /** Sends the changes, and returns the span ids of the sent exemplars by bucket. */
    send() {
      const deltas = JSON.parse(JSON.stringify(diff(tree, replica)));
      applyDelta(replica, deltas);
      const [[, , , , , [[, , , , exemplars]]]] = deltas;
      return exemplars.map((
        [bucket, exemplar]: [number, { labelSet: { span_id: string } }],
      ) => [bucket, exemplar?.labelSet.span_id]);
    },
    /** Returns the exemplars of the replica: bucket, span id and value. */
    exemplars() {
      const { exemplars } =
        replica.getOrCreatePipeline("lane", "p").getOrCreateStage("s").success;
      return [...exemplars!].map((
        [bucket, { labelSet, value }],
      ) => [bucket, labelSet["span_id"], value]);
    },
  };
}

Deno.test("diff() contains changed exemplars only", () => {
  const { record, send, exemplars } = createPair();
  record(0.5);
  record(1.5);
  assertEquals(send(), [[0, "1"], [1, "2"]]);
  record(0.25);
  record(Infinity);
  assertEquals(send(), [[0, "3"], [2, "4"]]);
  assertEquals(exemplars(), [[0, "3", 0.25], [1, "2", 1.5], [
    2,
    "4",
    Infinity,
  ]]);
});

Deno.test("diff() contains the removal of exemplars after a reset", () => {
  const { record, reset, send, exemplars } = createPair();
  record(0.5);
  record(1.5);
  send();
  reset();
  record(1.25);
  assertEquals(send(), [[1, "3"], [0, undefined]]);
  assertEquals(exemplars(), [[1, "3", 1.25]]);
});
