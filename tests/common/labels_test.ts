import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  type PipelineOptions,
  recordPipelineMetrics,
  recordStageMetrics,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { CHANGED, HOSTILE } from "../support/malicious_names.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };
const NEVER = 3_600_000;

/** Of a pipeline and a stage: joined, the two would be one and the same. */
const TWINS = [["a,stage_name:b", "c"], ["a", "b,stage_name:c"]] as const;

/** As it stands between quotes. */
function escapeQuoted(name: string): string {
  return name.replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`);
}

Deno.test("The lane is the pipeline's option, the enclosing pipeline's, the instance's, in this order", async () => {
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

Deno.test("The lane is LUKHAS_LANE where nothing else says one, and production where that does not", async () => {
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

Deno.test("An empty lane is unknown, and so is one that is no string, with an issue", async () => {
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

Deno.test("A name is cut at 128 characters, between whole ones, with an issue", async () => {
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

Deno.test("Hostile names are series of their own, and read back as they are", async () => {
  const metrics = createStageMetrics({ ...OPTIONS, registry: new Registry() });
  for (const name of HOSTILE) {
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
      ...HOSTILE.map(escapeQuoted).flatMap((name) => [
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

Deno.test("What is no name is recorded as what comes closest, or as unknown, with an issue", async () => {
  for (const [name, recorded] of CHANGED) {
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

Deno.test("A declared name is cut, and made well-formed, as any other is", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const long = "x".repeat(200);
    const declared = metrics.definePipeline(long, {
      stages: { [long]: {}, "s\ud800": { timeout: NEVER } },
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
      // Twice when it was declared, and twice when it was run.
      [issuesTotal("invalid_name")]: 4,
    });
  });
});

Deno.test("A lane whose options change later stays what it was", async () => {
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

Deno.test("Lone surrogates are one series, of U+FFFD", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const name of ["a\ud800", "a\udbff", "a\ufffd"]) {
      metrics.pipeline(name, () => {});
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("a\ufffd", "success")]: 3,
    });
  });
});
