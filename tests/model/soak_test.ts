import { assert, assertEquals } from "@std/assert";
import { runFixture } from "../support/process.ts";

/** The duration. `deno task soak` takes a minute by default. */
const SOAK_SECONDS = "3";

Deno.test("deno task soak loses and doubles no count under a mixed load", async () => {
  const printed = await runFixture(
    "soak",
    ["--allow-env=SOAK_SECONDS", "--v8-flags=--expose-gc"],
    { SOAK_SECONDS },
  );
  const { inFlight, wrong, falls, open, runs, scopes, scrapes, heapMegabytes } =
    JSON.parse(printed);
  console.log(`${scopes} scopes, ${scrapes} scrapes`);
  assertEquals({ inFlight, wrong, falls, open }, {
    inFlight: 100_000,
    wrong: [],
    falls: 0,
    open: [],
  });
  assert(runs > 0 && scrapes > 0, printed);
  const [early, late] = heapMegabytes;
  // A leak of a hundred bytes for each scope would be many times as much.
  assert(late - early < 8, printed);
});

Deno.test("deno task soak keeps the counts of many threads that ended", async () => {
  const printed = await runFixture(
    "exiting_threads",
    [
      "--allow-env=SOAK_SECONDS",
      "--allow-read",
      "--v8-flags=--expose-gc",
    ],
    { SOAK_SECONDS },
  );
  const { threads, counted } = JSON.parse(printed);
  assert(threads > 0, printed);
  assertEquals(counted, threads);
});
