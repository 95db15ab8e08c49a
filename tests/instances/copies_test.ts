import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Gauge, Registry } from "prom-client";
import { type Copy, loadCopy } from "../support/copies.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";
import { registerSdk } from "../support/sdk.ts";

let loaded: Promise<Copy[]> | undefined;

/** Loads two copies of the module, once. */
async function loadTwo(): Promise<{ one: Copy; two: Copy }> {
  const [one, two] = await (loaded ??= Promise.all([loadCopy(), loadCopy()]));
  return { one: one!, two: two! };
}

const never = () => new Promise<never>(() => {});

Deno.test("stage() of one copy belongs to the pipeline of another copy", async () => {
  const { one, two } = await loadTwo();
  const options = { registry: new Registry(), lane: "test", onIssue() {} };
  const metrics = one.createStageMetrics(options);
  const run = metrics.pipeline("p", { timeout: 20 }, async () => {
    assertEquals(two.currentPipeline()?.name, "p");
    await two.stage("quick", () => Promise.resolve());
    two.recordStageMetrics({
      stageName: "recorded",
      durationSec: 1,
      outcome: "success",
    });
    const tokens = two.stageStream(
      "stream",
      { firstChunk: "first" },
      async function* () {
        yield await one.stage("token", () => "token");
      }(),
    );
    for await (const _ of tokens) { /* Read to the end. */ }
    await Promise.all([
      two.stage("slow", { timeout: 60_000 }, never),
      two.stage("asks for its signal", ({ signal }) => {
        assertEquals(signal.aborted, false);
        return one.stage("inner", () => two.stage("innermost", never));
      }),
    ]);
  });
  await assertRejects(() => run, DOMException, 'Pipeline "p" timed out');
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "timeout")]: 1,
    [stageTotal("p", "quick", "success")]: 1,
    [stageTotal("p", "recorded", "success")]: 1,
    [stageTotal("p", "stream", "success")]: 1,
    [stageTotal("p", "first", "success")]: 1,
    [stageTotal("p", "token", "success")]: 1,
    [stageTotal("p", "slow", "timeout")]: 1,
    [stageTotal("p", "asks for its signal", "timeout")]: 1,
    [stageTotal("p", "inner", "timeout")]: 1,
    [stageTotal("p", "innermost", "timeout")]: 1,
  });
});

Deno.test("stage() of one copy has a span below the pipeline of another copy", async () => {
  const { one, two } = await loadTwo();
  using sdk = registerSdk();
  const registry = new Registry();
  const { pipeline } = one.createStageMetrics({ registry, lane: "test" });
  const error = new Error("No");
  await assertRejects(() =>
    pipeline("p", async ({ stage }) => {
      await two.stage("outer", () => stage("inner", () => Promise.resolve()));
      await two.stage("failing", () => Promise.reject(error));
    })
  );
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) failure ERROR "No"
  stage failing (p, test, failing) failure ERROR "No" !Error: No
  stage outer (p, test, outer) success
    stage inner (p, test, inner) success`,
  );
});

Deno.test("copies of the module on one registry share their metrics", async () => {
  const { one, two } = await loadTwo();
  const registry = new Registry();
  const metrics = [one, two].map(({ createStageMetrics }) =>
    createStageMetrics({ registry, lane: "test", onIssue() {} })
  );
  for (const { pipeline, stage } of metrics) {
    pipeline("p", () => stage("s", () => {}));
    stage("orphan", () => {});
  }
  for (const each of metrics) {
    assertEquals(await samplesOf(each), {
      [pipelineTotal("p", "success")]: 2,
      [stageTotal("p", "s", "success")]: 2,
      [stageTotal("unknown", "orphan", "success")]: 2,
      [issuesTotal("orphan_stage")]: 2,
    });
  }
  assertThrows(
    () => two.createStageMetrics({ registry, cardinalityLimit: 1 }),
    RangeError,
    "Cannot share the metrics",
  );
});

Deno.test("metricsHandler() of one copy shows another copy's metrics after collection", async () => {
  const { one, two } = await loadTwo();
  const registry = new Registry();
  const { pipeline } = one.createStageMetrics({ registry, lane: "test" });
  new Gauge({
    name: "slow",
    help: "Help",
    registers: [registry],
    async collect() {
      await Promise.resolve();
      pipeline("meanwhile", () => {});
    },
  });
  const metrics = two.createStageMetrics({ registry });
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("meanwhile", "success")]: 1,
  });
});

Deno.test("captureMetrics() of one copy captures the metrics of another copy", async () => {
  const { one, two } = await loadTwo();
  const { captureMetrics } = one.testing;
  await captureMetrics({ lane: "test" }, async (metrics) => {
    two.pipeline("p", () => two.stage("s", () => {}));
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("configure() works after a hot reload, which keeps the counts", async () => {
  assertEquals(
    await runFixture("reloaded", ["--allow-all"]),
    "5 runs, 0 open\n5 runs, 0 open\n",
  );
});

Deno.test("configure() changes options in use only after a hot reload", async () => {
  const late =
    "Error: Cannot configure the default instance: it is already in use, call configure() before the first scope, record or scrape\n";
  assertEquals(
    await runFixture("reconfigured", ["--allow-all"]),
    `reported to the hook of blue
  blue 1
reported to the hook of green
  blue 1
  green 1
configured
${late}${late}  blue 1
  green 2
  red 2
${late}`,
  );
});

function useClients(scenario: string): Promise<string> {
  const environment = { SCENARIO: scenario };
  return runFixture("several_clients", ["--allow-all"], environment);
}

/** The counters of three pipelines and two kinds of issues. */
const COUNTS = [
  'pipeline_total{lane="canary",pipeline_name="declared",status="success"} 0',
  'pipeline_total{lane="canary",pipeline_name="p",status="success"} 2',
  'pipeline_total{lane="canary",pipeline_name="unknown",status="success"} 1',
  'instrumentation_issues_total{issue="invalid_name"} 1',
  'instrumentation_issues_total{issue="registry_conflict"} 1',
].map((line) => `  lukhas_orchestration_${line}\n`).join("");

Deno.test("copies with different prom-clients share the default instance", async () => {
  assertEquals(
    await useClients("one default instance"),
    `issue: A pipeline name must not be empty
issue: Several copies of prom-client are loaded, and metrics are split among their registries
first
${COUNTS}  of_one 1
second
${COUNTS}  of_one 1
  of_two 2
workers
${COUNTS}  of_one 1
  of_two 2
own instance
${COUNTS}  of_one 1
true
`,
  );
});

Deno.test("copies with different prom-clients serve only a configured registry", async () => {
  assertEquals(
    await useClients("a chosen registry"),
    `second
  lukhas_orchestration_pipeline_total{lane="production",pipeline_name="p",status="success"} 1
  of_one 1
`,
  );
});

Deno.test("copies of incompatible versions are reported as registry_conflict", async () => {
  const issue = "issue: Incompatible versions of this library are loaded\n";
  assertEquals(
    await useClients("incompatible versions"),
    `${issue}${issue}first
  lukhas_orchestration_pipeline_total{lane="production",pipeline_name="p",status="success"} 1
  lukhas_orchestration_instrumentation_issues_total{issue="registry_conflict"} 1
`,
  );
});
