import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { env } from "node:process";
import { registerSdk } from "../support/sdk.ts";
import type { SpanRecord } from "../support/traces.ts";
import { predict } from "./model.ts";
import { type Program, programs } from "./program.ts";
import { runProgram } from "./runner.ts";

/** Checks a property of random programs, which differ in each run. */
async function check(
  runs: number,
  property: (program: Program) => Promise<void>,
): Promise<void> {
  // To run the programs of an earlier run again, or more of them:
  // SEED=… RUNS=… deno task test …
  const seed = Number(env.SEED ?? Math.floor(Math.random() * 2 ** 31));
  const numRuns = Number(env.RUNS ?? runs);
  let count = 0;
  console.log(`${numRuns} runs of programs, seed ${seed}`);
  await fc.assert(
    fc.asyncProperty(programs, async (program) => {
      count += program.length;
      await property(program);
    }),
    // Some reporters print the message of an error, but not its cause. The timeout has
    // a program that hangs printed as well.
    { seed, numRuns, includeErrorInReport: true, timeout: 10_000 },
  );
  console.log(`${count} programs`);
}

Deno.test("pipeline() and stage() record random programs as the model predicts", async () => {
  await check(1000, async (program) => {
    const { samples, abortedSignals, surprises } = await runProgram(program);
    const prediction = predict(program);
    assertEquals(samples, prediction.samples);
    assertEquals(abortedSignals, prediction.abortedSignals);
    assertEquals(surprises, []);
  });
});

/** Returns the name of the innermost pipeline around a span. */
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

Deno.test("pipeline() and stage() make one span each, below their pipeline's", async () => {
  await check(300, async (program) => {
    using sdk = registerSdk();
    const { samples, surprises, records } = await runProgram(program);
    const prediction = predict(program);
    assertEquals(samples, prediction.samples);
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
    const roots = sdk.spans().filter((each) => each.parentSpanId === undefined);
    assertEquals(roots.length, prediction.rootSpans);
  });
});
