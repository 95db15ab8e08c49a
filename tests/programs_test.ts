import { programs } from "./programs/language.ts";
import { runProgram } from "./programs/machine.ts";
import { expectedSamples } from "./programs/model.ts";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { env } from "node:process";

/** So many programs; those of a run are other ones each time. */
const RUNS = 1000;

Deno.test("Random programs record what a plain model of them says", async () => {
  // To have the programs of another run again: SEED=… deno task test …
  const seed = env.SEED === undefined
    ? Math.floor(Math.random() * 2 ** 31)
    : Number(env.SEED);
  let count = 0;
  console.log(`${RUNS} runs of programs, seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      count += program.length;
      assertEquals(await runProgram(program), {
        samples: expectedSamples(program),
        surprises: [],
      });
    }),
    { seed, numRuns: RUNS },
  );
  console.log(`${count} programs`);
});
