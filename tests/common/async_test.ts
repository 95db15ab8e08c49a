import { assertEquals, assertRejects } from "@std/assert";
import { coalesce } from "../../src/common/async.ts";

Deno.test("coalesce() shares a run between concurrent calls, but not one already started", async () => {
  const ends: (() => void)[] = [];
  let runs = 0;
  const run = coalesce((_key: string) => {
    const number = ++runs;
    return new Promise<number>((resolve) => ends.push(() => resolve(number)));
  });
  const first = [run("a"), run("a")];
  await null;
  assertEquals(runs, 1);
  const second = [run("a"), run("a")];
  await null;
  assertEquals(runs, 1, "one run at a time");
  ends[0]!();
  assertEquals(await Promise.all(first), [1, 1]);
  await null;
  ends[1]!();
  assertEquals(await Promise.all(second), [2, 2]);
});

Deno.test("coalesce() starts a new run after a run failed", async () => {
  let runs = 0;
  const run = coalesce(async (_key: string) => {
    if (++runs === 1) throw new Error("No");
    return await Promise.resolve(runs);
  });
  const failed = assertRejects(() => run("a"), Error, "No");
  await Promise.allSettled([run("a"), failed]);
  assertEquals(await run("a"), 2);
});

/** Creates a coalesced function whose runs are resolved by the test, by number. */
function manualRuns() {
  const started: string[] = [];
  const ends: (() => void)[] = [];
  const run = (key: string) => {
    const number = started.push(key);
    return new Promise<number>((resolve) => ends.push(() => resolve(number)));
  };
  return { started, ends, run };
}

Deno.test("coalesce() runs calls of different keys independently", async () => {
  const { started, ends, run } = manualRuns();
  const coalesced = coalesce(run);
  const first = coalesced("a");
  await null;
  const others = [coalesced("a"), coalesced("b")];
  await null;
  assertEquals(started, ["a", "b"]);
  ends[1]!();
  assertEquals(await others[1], 2);
  ends[0]!();
  assertEquals(await first, 1);
  await null;
  await null;
  ends[2]!();
  assertEquals([await others[0], started], [3, ["a", "b", "a"]]);
});
