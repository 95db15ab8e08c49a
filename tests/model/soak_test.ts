import { assert, assertEquals } from "@std/assert";
import { runFixture } from "../support/process.ts";

/** `deno task soak` runs the same for a minute. */
const SOAK_SECONDS = "3";

Deno.test("Under a mixed load at full speed no count is lost, doubled or falls, and nothing stays", async () => {
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
  // A byte for each scope would not show; a hundred would be many times as much.
  assert(late - early < 8, printed);
});

Deno.test("Threads that end in great numbers leave all of their counts", async () => {
  const printed = await runFixture(
    "departures",
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
