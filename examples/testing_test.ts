/**
 * Tests which metrics your code records, with a clock that the test controls.
 *
 * Install: deno add jsr:@lukhas/stage-metrics jsr:@std/assert
 * Run:     deno test testing_test.ts
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import {
  captureMetrics,
  manualClock,
  sampleValue,
} from "@lukhas/stage-metrics/testing";
import { assertEquals } from "@std/assert";

/** The code under test. */
async function importFile(read: () => Promise<string>): Promise<number> {
  return await pipeline("import", { lane: "batch" }, async () => {
    const text = await stage("read", read)
      // An unreadable file counts as an empty one.
      .catch(() => "");
    return stage("count", () => text.split("\n").length);
  });
}

Deno.test("importFile() records a failed stage when a file cannot be read", async () => {
  await captureMetrics(async ({ registry }) => {
    await importFile(() => Promise.reject(new Error("No such file")));

    const labels = { lane: "batch", pipeline_name: "import" };
    const pipelines = "lukhas_orchestration_pipeline_total";
    const stages = "lukhas_orchestration_stage_total";
    assertEquals(
      [
        await sampleValue(registry, pipelines, {
          ...labels,
          status: "success",
        }),
        await sampleValue(registry, stages, {
          ...labels,
          stage_name: "read",
          outcome: "failure",
        }),
      ],
      [1, 1],
    );
  });
});

Deno.test("importFile() records how long it reads", async () => {
  const clock = manualClock();
  await captureMetrics({ clock }, async ({ registry }) => {
    await importFile(() => {
      clock.advance(0.3);
      return Promise.resolve("a\nb");
    });

    const sum = "lukhas_orchestration_stage_duration_seconds_sum";
    assertEquals(
      await sampleValue(registry, sum, {
        lane: "batch",
        pipeline_name: "import",
        stage_name: "read",
        outcome: "success",
      }),
      0.3,
    );
  });
});
