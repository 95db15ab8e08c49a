import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  definePipeline,
  pipeline,
  type PipelineDeclaration,
  type PipelineScope,
  stage,
} from "../../mod.ts";
import { captureMetrics, sampleValue } from "../../src/testing.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

function never(): Promise<never> {
  return new Promise(() => {});
}

const DECLARED = definePipeline("declared", {
  lane: "batch",
  stages: {
    quick: { timeout: 1 },
    odd: { classifyResult: () => "failure" },
    plain: {},
  },
});

Deno.test("definePipeline() creates its series at 0 before the first run", async () => {
  const { definePipeline, registry } = createStageMetrics({
    ...OPTIONS,
    registry: new Registry(),
  });
  definePipeline("p", { stages: { a: {} } });
  definePipeline("own", { lane: "Batch", stages: {} });
  const value = (name: string, labels: Record<string, string>) =>
    sampleValue(registry, `lukhas_orchestration_${name}`, {
      lane: "test",
      pipeline_name: "p",
      ...labels,
    });
  for (const outcome of ["success", "failure", "timeout"]) {
    assertEquals(await value("pipeline_total", { status: outcome }), 0);
    assertEquals(await value("stage_total", { stage_name: "a", outcome }), 0);
  }
  assertEquals(await value("pipeline_in_progress", {}), 0);
  const own = { lane: "batch", pipeline_name: "own" };
  assertEquals(await value("pipeline_in_progress", own), 0);
});

/** The output of `fixtures/declared.ts`, which declares before the default instance is in use. */
const EARLY_DECLARATIONS = [
  {
    name: "definePipeline() shows its counters at 0 in every rendering",
    scenario: "rendered at once",
    printed: `declared
  production declared 0
  production declared first 0
`,
  },
  {
    name: "definePipeline() declares again when configure() changes the lane",
    scenario: "other options",
    printed: `other lane
  canary declared 0
  canary next 0
merged before the first scope
  canary declared 1
  canary next 0
`,
  },
  {
    name: "definePipeline() moves to the registry that configure() sets",
    scenario: "other registry",
    printed: `default registry
other registry
  shop: production declared 0
in use
  shop: production declared 1
`,
  },
  {
    name: "definePipeline() shares its registry with createStageMetrics()",
    scenario: "other instances",
    printed: `shared
  production declared 0
  own declared 1
in use
  production declared 1
  own declared 1
`,
  },
  {
    name: "definePipeline() accepts the other options of a later instance",
    scenario: "an instance with another limit",
    printed: `in use
  production own 1
  production declared 1
  production next 0
`,
  },
  {
    name:
      "definePipeline() reports an issue once, to the hook that is configured later",
    scenario: "issues",
    printed: `reported invalid_name
running
lukhas_orchestration_instrumentation_issues_total{issue="invalid_name"} 1
`,
  },
  {
    name:
      "configure() registers the metrics, so that Registry.merge() finds them",
    scenario: "registry configured",
    printed: `merged before the first scope
  production p 1
`,
  },
];

for (const { name, scenario, printed } of EARLY_DECLARATIONS) {
  Deno.test(name, async () => {
    const environment = { SCENARIO: scenario };
    assertEquals(
      await runFixture("declared", ["--allow-env"], environment),
      printed,
    );
  });
}

Deno.test("definePipeline() applies stage options, which a call overrides", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await DECLARED.run(async () => {
      await assertRejects(
        () => stage("quick", never),
        DOMException,
        "after 1 ms",
      );
      await assertRejects(() => DECLARED.stage("quick", never), DOMException);
      await assertRejects(
        () => stage("quick", { timeout: 2 }, never),
        DOMException,
        "timed out after 2 ms",
      );
      await assertRejects(
        () => stage("quick", { classifyResult: () => "failure" }, never),
        DOMException,
        "timed out after 1 ms",
      );
      stage("odd", () => {});
      stage("odd", { timeout: 60_000 }, () => {});
      stage("odd", { classifyResult: () => "success" }, () => {});
      DECLARED.stage("plain")(() => {})();
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("declared", "success", "batch")]: 1,
      [stageTotal("declared", "quick", "timeout", "batch")]: 4,
      [stageTotal("declared", "odd", "failure", "batch")]: 2,
      [stageTotal("declared", "odd", "success", "batch")]: 1,
      [stageTotal("declared", "plain", "success", "batch")]: 1,
    });
  });
});

Deno.test("definePipeline() records an undeclared stage with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    DECLARED.run((scope: PipelineScope) => {
      stage("undeclared", () => {});
      scope.stage("plian", () => {});
      pipeline("inner", () => stage("its own", () => {}));
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("declared", "success", "batch")]: 1,
      [pipelineTotal("inner", "success", "batch")]: 1,
      [stageTotal("declared", "undeclared", "success", "batch")]: 1,
      [stageTotal("declared", "plian", "success", "batch")]: 1,
      [stageTotal("inner", "its own", "success", "batch")]: 1,
      [issuesTotal("undeclared_stage")]: 2,
    });
  });
});

Deno.test("definePipeline().open() returns a handle", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const handle = DECLARED.open();
    await assertRejects(() => handle.stage("quick", never), DOMException);
    handle.run(() => stage("undeclared", () => {}));
    handle.close();
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("declared", "success", "batch")]: 1,
      [stageTotal("declared", "quick", "timeout", "batch")]: 1,
      [stageTotal("declared", "undeclared", "success", "batch")]: 1,
      [issuesTotal("undeclared_stage")]: 1,
    });
  });
});

Deno.test("definePipeline() twice with a name shares series, but not options", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const quick = definePipeline("twice", { timeout: 1, stages: {} });
    const slow = definePipeline("twice", { stages: {} });
    await assertRejects(() => quick.run(never), DOMException, "after 1 ms");
    assertEquals(await slow.run(() => Promise.resolve("done")), "done");
    assertEquals(slow.name, "twice");
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("twice", "timeout")]: 1,
      [pipelineTotal("twice", "success")]: 1,
    });
  });
});

Deno.test("definePipeline() throws for an invalid declaration or function", () => {
  const define = (name: unknown, declaration: unknown) => () =>
    definePipeline(name as string, declaration as PipelineDeclaration);
  assertThrows(
    define(1, { stages: {} }),
    TypeError,
    "Cannot declare a pipeline: name must be a string, got number",
  );
  assertThrows(
    define("", { stages: {} }),
    RangeError,
    "name must not be empty",
  );
  assertThrows(define("p", undefined), TypeError, "options must be an object");
  assertThrows(
    define("p", {}),
    TypeError,
    "Cannot declare a pipeline: stages must be an object, got undefined",
  );
  assertThrows(
    define("p", { stages: { "": {} } }),
    RangeError,
    "the name of a stage must not be empty",
  );
  assertThrows(
    define("p", { stages: { a: 1 } }),
    TypeError,
    'Cannot declare the stage "a": options must be an object, got number',
  );
  assertThrows(
    define("p", { stages: { a: undefined } }),
    TypeError,
    'Cannot declare the stage "a": options must be an object, got undefined',
  );
  assertThrows(
    define("p", { timeout: NaN, stages: {} }),
    RangeError,
    "Cannot declare a pipeline: timeout must not be NaN",
  );
  assertThrows(
    define("p", { stages: {}, timout: 5 }),
    TypeError,
    'Cannot declare a pipeline: unknown option "timout", did you mean "timeout"?',
  );
  assertThrows(
    define("p", { stages: { a: { lane: "batch" } } }),
    TypeError,
    'Cannot declare the stage "a": unknown option "lane"',
  );
  assertThrows(
    define("p", { stages: {}, detached: 1 }),
    TypeError,
    "Cannot declare a pipeline: detached must be a boolean, got number",
  );
  const run = DECLARED.run as (fn: unknown) => unknown;
  assertThrows(
    () => run(undefined),
    TypeError,
    "Cannot run a pipeline: expected a function, got undefined",
  );
});
