/** Tests the memory of pipelines whose contexts are kept. */
import { assert, assertEquals } from "@std/assert";
import { runFixture } from "../support/process.ts";
import { issuesTotal } from "../support/samples.ts";

const GC = ["--v8-flags=--expose-gc"];

Deno.test("pipeline() in a chain of a million turns neither leaks nor slows down", async () => {
  const printed = await runFixture("pipeline_chains", GC);
  const { measured, issues } = JSON.parse(printed) as {
    measured: Record<
      string,
      { turns: number; heap: number[]; slowdown: number }
    >;
    issues: Record<string, number>;
  };
  const names = Object.keys(measured);
  assertEquals(names, ["plain", "limited", "staged", "overlapping", "polled"]);
  for (const [name, { heap, slowdown }] of Object.entries(measured)) {
    assert(slowdown < 3, `${name}: turns slowed down: ${printed}`);
    const growth = heap.at(-1)! - heap[0]!;
    assert(growth < 5e6, `${name}: the heap grew: ${printed}`);
  }
  const { overlapping: _, ...late } = measured;
  const chains = Object.values(late);
  const turns = chains.reduce((sum, each) => sum + each.turns, 0);
  // All but the first turn of each chain start in an ended pipeline.
  assertEquals(issues, {
    [issuesTotal("late_pipeline")]: turns - chains.length,
  });
});

Deno.test("pipeline() retains no value or error once it is settled, with a kept context", async () => {
  const printed = await runFixture("kept_contexts", GC);
  const { contexts, alive } = JSON.parse(printed) as {
    contexts: number;
    alive: Record<string, number>;
  };
  assertEquals(contexts, 750);
  assertEquals(Object.keys(alive).length, 15);
  // The last objects may still be on the stack, which Bun scans conservatively.
  const kept = Object.entries(alive).filter(([, count]) => count > 5);
  assertEquals(kept, []);
});
