import { coalesce } from "../src/coalesce.ts";
import { assertEquals, assertRejects } from "@std/assert";

Deno.test("coalesce() gives calls that come together one run, and none a run that began before", async () => {
  const ends: (() => void)[] = [];
  let runs = 0;
  const run = coalesce(() => {
    const number = ++runs;
    return new Promise<number>((resolve) => ends.push(() => resolve(number)));
  });
  const first = [run(), run()];
  await null;
  assertEquals(runs, 1);
  const second = [run(), run()];
  await null;
  assertEquals(runs, 1, "one at a time");
  ends[0]!();
  assertEquals(await Promise.all(first), [1, 1]);
  await null;
  ends[1]!();
  assertEquals(await Promise.all(second), [2, 2]);
});

Deno.test("coalesce() goes on after a run that failed", async () => {
  let runs = 0;
  const run = coalesce(async () => {
    if (++runs === 1) throw new Error("No");
    return await Promise.resolve(runs);
  });
  const failed = assertRejects(() => run(), Error, "No");
  assertEquals(await Promise.allSettled([run(), failed]).then(() => run()), 2);
});
