/** Tests large numbers of timeouts and signals. */
import { assertEquals } from "@std/assert";
import { pipeline, stage } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { runFixture } from "../support/process.ts";
import { samplesOf } from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

/** Returns a reproducible generator of numbers between 0 and 1 (mulberry32). */
function randomFrom(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t ^= t + Math.imul(t ^ (t >>> 7), 61 | t);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

Deno.test("timeout that does not fire does not keep the process running", async () => {
  // With a timer left, this would take an hour.
  assertEquals(await runFixture("ends_by_itself", []), "done\n");
});

Deno.test("timeout and signal of a million scopes leave no timers, listeners or memory", async () => {
  const printed = await runFixture("million_scopes", [
    "--v8-flags=--expose-gc",
  ]);
  assertEquals(JSON.parse(printed), {
    scopes: 1_000_001,
    timers: 0,
    listeners: 0,
    bytesPerScope: 0,
  });
});

Deno.test("timeout at random times ends each of 10,000 pipelines exactly once", async () => {
  const seed = Date.now();
  console.log(`seed ${seed}`);
  const random = randomFrom(seed);
  /** The number of started scopes, by the names of the totals. */
  const started = { pipelines: 0, inner: 0, stages: 0 };
  const sleep = (ms: number) =>
    new Promise<void>((resolve) => setTimeout(resolve, ms));
  const wait = () => {
    const kind = random();
    if (kind < 0.2) return Promise.resolve();
    if (kind < 0.25) return Promise.reject(new Error("Unlucky"));
    return sleep(random() * 40);
  };
  const startStage = (fn: () => Promise<unknown>) => {
    started.stages++;
    const timeout = random() < 0.3 ? random() * 40 : undefined;
    return stage("s", { timeout }, fn);
  };

  async function run(): Promise<void> {
    started.pipelines++;
    await pipeline("p", { timeout: random() * 60 }, async () => {
      await startStage(wait);
      // Not `all`: stages started after the first failure would be late.
      await Promise.allSettled([
        startStage(() => startStage(wait)),
        startStage(wait).catch(() => startStage(wait)),
        startStage(() => {
          started.inner++;
          return pipeline("inner", () => startStage(wait));
        }),
      ]);
    });
  }

  await captureMetrics(OPTIONS, async (metrics) => {
    const runs = [];
    for (let i = 0; i < 10_000; i++) {
      runs.push(run().catch(() => {}));
      if (i % 500 === 0) await sleep(1);
    }
    await Promise.all(runs);
    // Abandoned code is running for a while, and may start stages.
    for (let before = -1; before !== started.stages;) {
      before = started.stages;
      await sleep(150);
    }
    const totals = Object.entries(
      await samplesOf(metrics, /(pipeline|stage)_total$/),
    );
    const sum = (start: string, name: string) =>
      totals.filter(([series]) =>
        series.startsWith(start) && series.includes(`pipeline_name="${name}"`)
      ).reduce((sum, [, value]) => sum + value, 0);
    assertEquals(sum("pipeline_total", "p"), started.pipelines);
    assertEquals(sum("pipeline_total", "inner"), started.inner);
    assertEquals(
      sum("stage_total", "p") + sum("stage_total", "inner"),
      started.stages,
    );
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
    const timeouts = totals.filter(([series]) => series.includes("timeout"));
    assertEquals(timeouts.length, 4, "each of the series has timeouts");
    assertEquals(await samplesOf(metrics, /_issues_total$/), {});
  });
});
