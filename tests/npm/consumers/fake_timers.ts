/** Uses the package with the fake timers of a test framework. */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { captureMetrics, sampleValue } from "@lukhas/stage-metrics/testing";
import assert from "node:assert/strict";

/** The fake timers of a framework. */
export interface FakeTimers {
  install(): unknown;
  advance(milliseconds: number): unknown;
  uninstall(): unknown;
}

/** The output of a run without failures. */
const PASSED = "durations follow the fake timers";

/** Checks that durations follow fake timers, and prints {@linkcode PASSED}. */
export async function checkFakeTimers(timers: FakeTimers): Promise<void> {
  await captureMetrics({ lane: "test" }, async ({ registry }) => {
    const read = (name: string, labels: Record<string, string>) =>
      sampleValue(registry, `lukhas_orchestration_${name}`, labels);
    const labels = { lane: "test", pipeline_name: "p" };
    const seconds = (stage_name: string, outcome: string) =>
      read("stage_duration_seconds_sum", { ...labels, stage_name, outcome });

    const { promise, resolve } = Promise.withResolvers<void>();
    const before = pipeline("p", () => stage("before", () => promise));
    timers.install();
    const running = pipeline(
      "p",
      () => stage("limited", { timeout: 5000 }, () => new Promise(() => {})),
    );
    timers.advance(5000);
    await assert.rejects(running, { name: "TimeoutError" });
    assert.equal(await seconds("limited", "timeout"), 5);

    const sleeping = pipeline(
      "p",
      () =>
        stage(
          "sleeping",
          () => new Promise((resolve) => setTimeout(resolve, 3000)),
        ),
    );
    timers.advance(3000);
    await sleeping;
    assert.equal(await seconds("sleeping", "success"), 3);

    const after = pipeline("p", () => stage("after", () => promise));
    timers.uninstall();
    resolve();
    await Promise.all([before, after]);
    const beforeSeconds = (await seconds("before", "success"))!;
    assert(beforeSeconds >= 8 && beforeSeconds < 9, `${beforeSeconds} s`);
    const afterSeconds = (await seconds("after", "success"))!;
    assert(afterSeconds >= 0 && afterSeconds < 1, `${afterSeconds} s`);
    for (const issue of ["invalid_value", "hook_error"]) {
      assert.equal(await read("instrumentation_issues_total", { issue }), 0);
    }
  });
  console.log(PASSED);
}
