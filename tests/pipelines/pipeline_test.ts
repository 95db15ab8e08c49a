import { assertEquals, assertStrictEquals } from "@std/assert";
import {
  currentPipeline,
  pipeline,
  type PipelineScope,
  stage,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

Deno.test("pipeline() passes its name and lane to every stage inside", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("p", { lane: " Canary " }, async ({ name, lane }) => {
      assertEquals([name, lane], ["p", "canary"]);
      await stage("outer", async (outer) => {
        assertEquals(
          [outer.name, outer.pipelineName, outer.lane],
          ["outer", "p", "canary"],
        );
        await Promise.all([
          stage("a", () => Promise.resolve()),
          stage("b", () => Promise.resolve()),
        ]);
      });
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success", "canary")]: 1,
      [stageTotal("p", "outer", "success", "canary")]: 1,
      [stageTotal("p", "a", "success", "canary")]: 1,
      [stageTotal("p", "b", "success", "canary")]: 1,
    });
  });
});

Deno.test("pipeline() inside a pipeline labels its stages, and inherits the lane", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("outer", { lane: "canary" }, async () => {
      await stage("s", async () => {
        await pipeline("inner", async () => {
          await Promise.resolve();
          stage("s", () => {});
        });
        pipeline("other", { lane: "batch" }, () => stage("s", () => {}));
      });
      stage("after", () => {});
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("outer", "success", "canary")]: 1,
      [pipelineTotal("inner", "success", "canary")]: 1,
      [pipelineTotal("other", "success", "batch")]: 1,
      [stageTotal("outer", "s", "success", "canary")]: 1,
      [stageTotal("outer", "after", "success", "canary")]: 1,
      [stageTotal("inner", "s", "success", "canary")]: 1,
      [stageTotal("other", "s", "success", "batch")]: 1,
    });
  });
});

Deno.test("pipeline() does not leak its context to its caller or siblings", async () => {
  await captureMetrics(OPTIONS, async () => {
    assertEquals(currentPipeline(), undefined);
    const first = pipeline("first", async () => {
      await Promise.resolve();
      assertEquals(currentPipeline()?.name, "first");
    });
    assertEquals(currentPipeline(), undefined);
    const second = pipeline("second", async () => {
      await Promise.resolve();
      assertEquals(currentPipeline()?.name, "second");
    });
    await Promise.all([first, second]);
    assertEquals(currentPipeline(), undefined);
  });
});

Deno.test("currentPipeline() returns the scope of the innermost callback", () => {
  captureMetrics(OPTIONS, () => {
    pipeline("outer", (outer) => {
      pipeline("inner", (inner) => {
        assertStrictEquals(currentPipeline(), inner);
      });
      assertStrictEquals(currentPipeline(), outer);
    });
  });
});

Deno.test("PipelineScope.stage() works where the async context is lost", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<PipelineScope>();
    const outside = promise.then(async ({ stage }) => {
      assertEquals(currentPipeline(), undefined);
      await stage("outside", () => Promise.resolve());
      stage("wrapped")(() => {})();
    });
    await pipeline("p", async (scope) => {
      resolve(scope);
      await outside;
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "outside", "success")]: 1,
      [stageTotal("p", "wrapped", "success")]: 1,
    });
  });
});

Deno.test("stage() outside a pipeline is recorded as unknown with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    assertEquals(stage("s", ({ pipelineName }) => pipelineName), "unknown");
    assertEquals(await samplesOf(metrics), {
      [stageTotal("unknown", "s", "success")]: 1,
      [issuesTotal("orphan_stage")]: 1,
    });
  });
});

Deno.test("stage() after the end of its pipeline keeps its labels, with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let late: Promise<void> | undefined;
    await pipeline("p", () => {
      late = promise.then(() => stage("late", () => Promise.resolve()));
      return Promise.resolve();
    });
    resolve();
    await late;
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "late", "success")]: 1,
      [issuesTotal("late_stage")]: 1,
    });
  });
});

Deno.test("stage() after its pipeline has thrown is an issue as well", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let late: Promise<void> | undefined;
    await pipeline("p", () => {
      late = promise.then(() => stage("late", () => Promise.resolve()));
      return Promise.reject(new Error("No"));
    }).catch(() => {});
    resolve();
    await late;
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "late", "success")]: 1,
      [issuesTotal("late_stage")]: 1,
    });
  });
});

Deno.test("stage() that is open when its pipeline throws is recorded as it ends", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    let open: Promise<void> | undefined;
    await pipeline("p", () => {
      open = stage("open", () => promise);
      return Promise.all([open, Promise.reject(new Error("No"))]);
    }).catch(() => {});
    resolve();
    await open;
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "open", "success")]: 1,
    });
  });
});

Deno.test("in_progress gauges follow parallel and nested scopes, and end at 0", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const gauges = () => samplesOf(metrics, /_in_progress$/);
    const { promise, resolve } = Promise.withResolvers<void>();
    const runs = [1, 2].map(() =>
      pipeline("p", () =>
        Promise.all([
          stage("a", () => stage("b", () => promise)),
          stage("b", () => promise),
        ]))
    );
    const labels = 'lane="test",pipeline_name="p"';
    assertEquals(await gauges(), {
      [`pipeline_in_progress{${labels}}`]: 2,
      [`stage_in_progress{${labels},stage_name="a"}`]: 2,
      [`stage_in_progress{${labels},stage_name="b"}`]: 4,
    });
    resolve();
    await Promise.all(runs);
    assertEquals(await gauges(), {});
  });
});
