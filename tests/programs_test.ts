import { programs } from "./programs/language.ts";
import { runProgram } from "./programs/machine.ts";
import { expectedSamples } from "./programs/model.ts";
import { registerSdk } from "./sdk.ts";
import type { SpanRecord } from "./traces.ts";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { env } from "node:process";

/** Checks so many runs of random programs, other ones each time. */
async function check(
  runs: number,
  property: (program: Parameters<typeof runProgram>[0]) => Promise<void>,
): Promise<void> {
  // To have the programs of another run again: SEED=… deno task test …
  const seed = env.SEED === undefined
    ? Math.floor(Math.random() * 2 ** 31)
    : Number(env.SEED);
  let count = 0;
  console.log(`${runs} runs of programs, seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      count += program.length;
      await property(program);
    }),
    { seed, numRuns: runs },
  );
  console.log(`${count} programs`);
}

Deno.test("Random programs record what a plain model of them says", async () => {
  await check(1000, async (program) => {
    const { samples, surprises } = await runProgram(program);
    assertEquals(samples, expectedSamples(program));
    assertEquals(surprises, []);
  });
});

/** The name of the pipeline whose span is the innermost around a stage's. */
function pipelineAround(
  { parentSpanId }: SpanRecord,
  spans: ReadonlyMap<string, SpanRecord>,
): unknown {
  const parent = spans.get(parentSpanId ?? "");
  if (parent === undefined) return "unknown";
  return parent.name.startsWith("pipeline ")
    ? parent.attributes["lukhas.pipeline.name"]
    : pipelineAround(parent, spans);
}

Deno.test("Traced, they record the same, and each scope is one span, below its pipeline's", async () => {
  await check(300, async (program) => {
    using sdk = registerSdk();
    const { samples, surprises, records } = await runProgram(program);
    assertEquals(samples, expectedSamples(program));
    assertEquals(surprises, []);
    const ended = samples.flatMap((each) => Object.entries(each))
      .filter(([series]) => /^(pipeline|stage)_total/.test(series))
      .reduce((sum, [, total]) => sum + total, 0);
    assertEquals(sdk.spans().length, ended - records);
    assertEquals(sdk.warnings, []);
    const spans = new Map(sdk.spans().map((each) => [each.spanId, each]));
    for (const span of spans.values()) {
      if (span.name.startsWith("pipeline ")) continue;
      assertEquals(
        pipelineAround(span, spans),
        span.attributes["lukhas.pipeline.name"],
      );
    }
  });
});
