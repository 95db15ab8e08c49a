import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  type PipelineOptions,
  recordPipelineMetrics,
  recordStageMetrics,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { CHANGED_NAMES, UNCHANGED_NAMES } from "../support/malicious_names.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };
const HOUR_MS = 3_600_000;

/** Names of a pipeline and a stage that are equal when joined. */
const TWINS = [["a,stage_name:b", "c"], ["a", "b,stage_name:c"]] as const;

/** The escaped form, without quotes. */
function escapeQuoted(name: string): string {
  return name.replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`);
}

Deno.test("lane is the pipeline's option, else the outer pipeline's, else the instance's", async () => {
  await captureMetrics({ lane: " Instance " }, (metrics) => {
    const lane = (options?: PipelineOptions) =>
      metrics.pipeline("p", options, ({ lane }) => lane);
    assertEquals(lane(), "instance");
    assertEquals(lane({ lane: undefined }), "instance");
    assertEquals(lane({ lane: " OPTION\n" }), "option");
    metrics.pipeline("outer", { lane: "Outer" }, () => {
      assertEquals(lane(), "outer");
      assertEquals(lane({ lane: "Option" }), "option");
    });
    return Promise.resolve();
  });
});

Deno.test("lane defaults to LUKHAS_LANE, else to production", async () => {
  const granted = ["--allow-env=LUKHAS_LANE"];
  const [named, empty, unset] = await Promise.all([
    runFixture("print_lane", granted, { LUKHAS_LANE: " Canary" }),
    runFixture("print_lane", granted, { LUKHAS_LANE: "" }),
    runFixture("print_lane", granted, {}),
  ]);
  assertEquals([named, empty, unset], [
    "canary\n",
    "unknown\n",
    "production\n",
  ]);
});

Deno.test("lane is unknown if it is empty, or with an issue if it is not a string", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const lane of ["", "  "]) metrics.pipeline("p", { lane }, () => {});
    const odd = { lane: 7 } as unknown as PipelineOptions;
    metrics.pipeline("p", odd, () => {});
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success", "unknown")]: 3,
      [issuesTotal("invalid_name")]: 1,
    });
  });
});

Deno.test("name is cut at 128 whole characters, with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const long = "x".repeat(127);
    for (const name of [`${long}y`, `${long}yz`, `${long}😀`]) {
      metrics.pipeline(name, () => {});
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal(`${long}y`, "success")]: 2,
      [pipelineTotal(long, "success")]: 1,
      [issuesTotal("invalid_name")]: 2,
    });
  });
});

Deno.test("name with special characters has its own series, and is unchanged", async () => {
  const metrics = createStageMetrics({ ...OPTIONS, registry: new Registry() });
  for (const name of UNCHANGED_NAMES) {
    metrics.pipeline(name, () => metrics.stage(name, () => {}));
  }
  for (const [pipelineName, stageName] of TWINS) {
    const outcome = "timeout";
    metrics.recordStageMetrics({
      pipelineName,
      stageName,
      durationSec: 1,
      outcome,
    });
  }
  assertEquals(
    await samplesOf(metrics),
    Object.fromEntries([
      ...UNCHANGED_NAMES.map(escapeQuoted).flatMap((name) => [
        [pipelineTotal(name, "success"), 1],
        [stageTotal(name, name, "success"), 1],
      ]),
      ...TWINS.map(([pipeline, stage]) => [
        stageTotal(pipeline, stage, "timeout"),
        1,
      ]),
    ]),
  );
});

Deno.test("name that is not a valid label is recorded changed, in every function", async () => {
  for (const [name, recorded] of CHANGED_NAMES) {
    await captureMetrics(OPTIONS, async (metrics) => {
      metrics.pipeline(name as string, (scope) => {
        assertEquals(scope.name, recorded);
        metrics.stage(name as string, (scope) => {
          assertEquals(scope.name, recorded);
        });
      });
      recordPipelineMetrics({
        pipelineName: name as string,
        durationSec: 1,
        status: "success",
      });
      recordStageMetrics({
        pipelineName: recorded,
        stageName: name as string,
        durationSec: 1,
        outcome: "success",
      });
      const isIssue = typeof name !== "string" || name === "" ||
        name.length > 128;
      assertEquals(await samplesOf(metrics), {
        [pipelineTotal(recorded, "success")]: 2,
        [stageTotal(recorded, recorded, "success")]: 2,
        ...(isIssue ? { [issuesTotal("invalid_name")]: 4 } : {}),
      });
    });
  }
});

Deno.test("name in a declaration is cut and made well-formed like any other", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const long = "x".repeat(200);
    const declared = metrics.definePipeline(long, {
      stages: { [long]: {}, "s\ud800": { timeout: HOUR_MS } },
    });
    declared.run(() => {
      declared.stage(long, () => {});
      declared.stage("s\ud800", () => {});
    });
    const cut = "x".repeat(128);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal(cut, "success")]: 1,
      [stageTotal(cut, cut, "success")]: 1,
      [stageTotal(cut, "s\ufffd", "success")]: 1,
      // Two for the declaration, and two for the run.
      [issuesTotal("invalid_name")]: 4,
    });
  });
});

Deno.test("lane does not change when the options change later", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const options = { lane: "early" };
    metrics.pipeline("p", options, () => {
      options.lane = "late";
      metrics.stage("s", () => {});
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success", "early")]: 1,
      [stageTotal("p", "s", "success", "early")]: 1,
    });
  });
});

Deno.test("name with lone surrogates is recorded with U+FFFD", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const name of ["a\ud800", "a\udbff", "a\ufffd"]) {
      metrics.pipeline(name, () => {});
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("a\ufffd", "success")]: 3,
    });
  });
});
