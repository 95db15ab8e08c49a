/** Tests durations under fake timers. */
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { StageMetrics } from "../../mod.ts";
import { pipeline, stage } from "../../mod.ts";
import { captureMetrics, sampleValue } from "../../src/testing.ts";
import {
  type FakeTimers,
  installFakeTimers,
  SHAPES,
} from "../support/fake_timers.ts";
import { runFixture } from "../support/process.ts";
import { samplesOf } from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

/**
 * More than the real time of a test, in seconds, also on a busy machine. Fake time that
 * must not count is longer.
 */
const MOMENT = 1.9;

const sleep = (milliseconds: number) =>
  new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** Returns the total duration of the stage "s" with an outcome. */
async function stageSeconds(
  { registry }: StageMetrics,
  outcome = "success",
): Promise<number> {
  const seconds = await sampleValue(
    registry,
    "lukhas_orchestration_stage_duration_seconds_sum",
    { lane: "test", pipeline_name: "p", stage_name: "s", outcome },
  );
  assert(seconds !== undefined);
  return seconds;
}

/** Returns the Unix time of the last success of the pipeline "p". */
async function lastEnd({ registry }: StageMetrics): Promise<number> {
  const seconds = await sampleValue(
    registry,
    "lukhas_orchestration_pipeline_last_end_timestamp_seconds",
    { lane: "test", pipeline_name: "p", status: "success" },
  );
  assert(seconds !== undefined);
  return seconds;
}

async function assertNoIssues(metrics: StageMetrics): Promise<void> {
  assertEquals(await samplesOf(metrics, /issues_total$/), {});
}

function assertBetween(actual: number, low: number, high: number): void {
  assert(low <= actual && actual < high, `${low} <= ${actual} < ${high}`);
}

async function withFakeTimers(
  name: string,
  fn: (timers: FakeTimers) => Promise<void>,
): Promise<void> {
  const timers = installFakeTimers(SHAPES[name]!);
  try {
    await fn(timers);
  } finally {
    timers.uninstall();
  }
}

for (const name of Object.keys(SHAPES)) {
  Deno.test(`stage() times out with fake timers like those of ${name}`, async () => {
    await captureMetrics(OPTIONS, async (metrics) => {
      await withFakeTimers(name, async (timers) => {
        const running = pipeline(
          "p",
          () => stage("s", { timeout: 5000 }, () => new Promise(() => {})),
        );
        timers.advance(4999);
        assertEquals(
          await samplesOf(metrics, /^\w+(pipeline|stage)_total$/),
          {},
        );
        timers.advance(1);
        await assertRejects(() => running, DOMException, "timed out");
      });
      assertEquals(await stageSeconds(metrics, "timeout"), 5);
      assertEquals(await samplesOf(metrics, /_duration_seconds_sum$/), {
        'pipeline_duration_seconds_sum{lane="test",pipeline_name="p",status="timeout"}':
          5,
        'stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="s",outcome="timeout"}':
          5,
      });
      await assertNoIssues(metrics);
    });
  });

  Deno.test(`stage() is timed by fake timers like those of ${name}`, async () => {
    await captureMetrics(OPTIONS, async (metrics) => {
      await withFakeTimers(name, async (timers) => {
        for (const milliseconds of [3000, 1500]) {
          const running = pipeline(
            "p",
            () => stage("s", () => sleep(milliseconds)),
          );
          timers.advance(milliseconds);
          await running;
        }
      });
      assertEquals(await stageSeconds(metrics), 4.5);
      await assertNoIssues(metrics);
    });
  });

  Deno.test(`stage() is timed exactly when fake timers change: ${name}`, async () => {
    // Installed while the stage is running.
    await captureMetrics(OPTIONS, async (metrics) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const running = pipeline("p", () => stage("s", () => promise));
      await withFakeTimers(name, async (timers) => {
        timers.advance(1);
        await pipeline("other", () => Promise.resolve());
        timers.advance(2000);
        resolve();
        await running;
      });
      assertBetween(await stageSeconds(metrics), 2, 2 + MOMENT);
      await assertNoIssues(metrics);
    });
    // Removed while the stage is running.
    await captureMetrics(OPTIONS, async (metrics) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      let running: Promise<void>;
      await withFakeTimers(name, async (timers) => {
        running = pipeline("p", () => stage("s", () => promise));
        timers.advance(2000);
        await pipeline("other", () => Promise.resolve());
      });
      resolve();
      await running!;
      assertBetween(await stageSeconds(metrics), 2, 2 + MOMENT);
      await assertNoIssues(metrics);
    });
    // Installed and removed while the stage is running, first without a reading.
    await captureMetrics(OPTIONS, async (metrics) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const running = pipeline("p", () => stage("s", () => promise));
      await withFakeTimers(name, async (timers) => {
        await Promise.resolve(timers.advance(7000));
      });
      await withFakeTimers(name, async (timers) => {
        await pipeline("other", () => Promise.resolve());
        timers.advance(1000);
        await pipeline("other", () => Promise.resolve());
      });
      await sleep(1);
      resolve();
      await running;
      assertBetween(await stageSeconds(metrics), 1, 1 + MOMENT);
      await assertNoIssues(metrics);
    });
  });

  Deno.test(`stage() ignores a changed fake Date: ${name}`, async () => {
    const { hasClock, performance } = SHAPES[name]!;
    await captureMetrics(OPTIONS, async (metrics) => {
      await withFakeTimers(name, async (timers) => {
        for (const year of ["2001", "2101"]) {
          const { promise, resolve } = Promise.withResolvers<void>();
          const running = pipeline("p", () => stage("s", () => promise));
          // Without another clock, a jump forward counts as elapsed time.
          if (hasClock || performance || year < "2020") {
            timers.setSystemTime(Date.parse(year));
          }
          resolve();
          await running;
        }
      });
      assertBetween(await stageSeconds(metrics), 0, MOMENT);
      await assertNoIssues(metrics);
    });
  });
}

Deno.test("stage() uses real time when only the timers are fake", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const timers = installFakeTimers({});
    const running = pipeline(
      "p",
      () => stage("s", { timeout: 5000 }, () => new Promise(() => {})),
    );
    const start = performance.now();
    while (performance.now() - start < 6);
    timers.advance(5000);
    timers.uninstall();
    await assertRejects(() => running, DOMException, "timed out");
    assertBetween(await stageSeconds(metrics, "timeout"), 0.005, MOMENT);
    await assertNoIssues(metrics);
  });
});

Deno.test({
  name: "stage() times out with a fake setTimeout() that has a clock",
  // Here `setTimeout` is a getter, which is too slow to read for each scope.
  ignore: "Deno" in globalThis,
  async fn() {
    await captureMetrics(OPTIONS, async (metrics) => {
      const timers = installFakeTimers({ hasClock: true });
      const running = pipeline(
        "p",
        () => stage("s", { timeout: 5000 }, () => new Promise(() => {})),
      );
      timers.advance(5000);
      timers.uninstall();
      await assertRejects(() => running, DOMException, "timed out");
      assertEquals(await stageSeconds(metrics, "timeout"), 5);
    });
  },
});

Deno.test("stage() uses real time when only performance.now() is mocked", async () => {
  const descriptor = Object.getOwnPropertyDescriptor(performance, "now");
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const now of [() => 0, () => NaN, () => 1e12]) {
      await pipeline("p", () =>
        stage("s", async () => {
          Object.assign(performance, { now });
          await sleep(5);
        }));
      if (descriptor === undefined) Reflect.deleteProperty(performance, "now");
      else Object.defineProperty(performance, "now", descriptor);
    }
    assertBetween(await stageSeconds(metrics), 0.01, MOMENT);
    await assertNoIssues(metrics);
  });
});

Deno.test("stage() returns its value when fake clocks fail", async () => {
  const clocks: Record<string, () => unknown> = {
    "that throw": () => {
      throw new Error("Broken clock");
    },
    "that return NaN": () => NaN,
    "that return nothing": () => undefined,
  };
  for (const now of Object.values(clocks)) {
    // A clock that never works, and a clock that fails later.
    for (const readings of [[], [0, 0]]) {
      await captureMetrics(OPTIONS, async (metrics) => {
        const timers = installFakeTimers({});
        const { setTimeout } = globalThis;
        const clock = { performance: { now: () => readings.pop() ?? now() } };
        Object.assign(setTimeout, { clock });
        try {
          assertEquals(
            await pipeline("p", () => stage("s", () => Promise.resolve(1))),
            1,
          );
        } finally {
          timers.uninstall();
        }
        assertBetween(await stageSeconds(metrics), 0, MOMENT);
        await assertNoIssues(metrics);
      });
    }
  }
});

Deno.test("stage() uses real time when setTimeout() is wrapped permanently", async () => {
  const { setTimeout } = globalThis;
  try {
    await captureMetrics(OPTIONS, async (metrics) => {
      await pipeline("p", () =>
        stage("s", async () => {
          Object.assign(globalThis, {
            setTimeout: (...args: Parameters<typeof setTimeout>) =>
              setTimeout(...args),
          });
          await sleep(10);
        }));
      await pipeline("p", () => stage("s", () => sleep(10)));
      assertBetween(await stageSeconds(metrics), 0.015, MOMENT);
      await assertNoIssues(metrics);
    });
  } finally {
    globalThis.setTimeout = setTimeout;
  }
});

Deno.test("pipeline() ends at the fake time, then at the real time again", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    pipeline("p", () => {});
    const start = Date.now() / 1000;
    assertBetween(await lastEnd(metrics), start - 60, start + 60);
    const timers = installFakeTimers(SHAPES["Vitest 2"]!, Date.parse("2001"));
    try {
      pipeline("p", () => {});
      assertEquals(await lastEnd(metrics), Date.parse("2001") / 1000);
      timers.advance(500);
      pipeline("p", () => {});
      assertEquals(await lastEnd(metrics), Date.parse("2001") / 1000 + 0.5);
    } finally {
      timers.uninstall();
    }
    pipeline("p", () => {});
    assertBetween(await lastEnd(metrics), start - 60, start + 60);
  });
});

for (const name of Object.keys(SHAPES)) {
  Deno.test(`stage() follows timers faked before the module loads: ${name}`, async () => {
    const printed = await runFixture("loaded_late", ["--allow-env"], {
      SHAPE: name,
    });
    // Fake, real, and fake again.
    assertEquals(printed, "3\nreal\n3\n");
  });
}
