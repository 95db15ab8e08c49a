import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import {
  currentPipeline,
  openPipeline,
  type Outcome,
  stage,
} from "../../mod.ts";
import { captureMetrics, manualClock } from "../../src/testing.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

Deno.test("openPipeline() measures until its handle is closed", async () => {
  const clock = manualClock();
  await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
    const handle = openPipeline("p", { lane: "Batch" });
    assertEquals([handle.name, handle.lane], ["p", "batch"]);
    clock.advance(2);
    assertEquals(await samplesOf(metrics, /_in_progress$/), {
      'pipeline_in_progress{lane="batch",pipeline_name="p"}': 1,
    });
    handle.close();
    assertEquals(await samplesOf(metrics, /_total$|_sum$|_in_progress$/), {
      [pipelineTotal("p", "success", "batch")]: 1,
      'pipeline_duration_seconds_sum{lane="batch",pipeline_name="p",status="success"}':
        2,
    });
  });
});

Deno.test("openPipeline() owns its stage(), and plain stages only inside run()", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { stage: ownStage, run, close } = openPipeline("p");
    ownStage("own", () => {});
    stage("outside", () => {});
    const value = run(({ name }) => {
      assertEquals(currentPipeline()?.name, "p");
      stage("inside", () => {});
      return name;
    });
    assertEquals(value, "p");
    assertEquals(await run(() => stage("async", () => Promise.resolve(1))), 1);
    assertEquals(currentPipeline(), undefined);
    close();
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "own", "success")]: 1,
      [stageTotal("p", "inside", "success")]: 1,
      [stageTotal("p", "async", "success")]: 1,
      [stageTotal("unknown", "outside", "success")]: 1,
      [issuesTotal("orphan_stage")]: 1,
    });
  });
});

Deno.test("openPipeline().run() rethrows errors without recording them", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const handle = openPipeline("p");
    assertThrows(
      () =>
        handle.run(() => {
          throw new RangeError("Mine");
        }),
      RangeError,
      "Mine",
    );
    assertEquals(await samplesOf(metrics), {});
    handle.close();
  });
});

Deno.test("openPipeline().close() records its outcome or that of setOutcome()", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    openPipeline("given").close("timeout");
    openPipeline("nonsense").close("done" as Outcome);
    const set = openPipeline("set");
    set.run(({ setOutcome }) => setOutcome("failure"));
    set.close();
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("given", "timeout")]: 1,
      [pipelineTotal("nonsense", "unknown")]: 1,
      [pipelineTotal("set", "failure")]: 1,
      [issuesTotal("invalid_value")]: 1,
    });
  });
});

Deno.test("openPipeline().fail() classifies its error and aborts the signal", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const late = new DOMException("Too late", "TimeoutError");
    const handle = openPipeline("p");
    const { signal } = handle;
    handle.fail(late);
    assertStrictEquals(signal.reason, late);
    openPipeline("q").fail(new Error("No"));
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "timeout")]: 1,
      [pipelineTotal("q", "failure")]: 1,
    });
  });
});

Deno.test("openPipeline().close() counts once, and a second call is an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const handle = openPipeline("p");
    handle.close();
    handle.close("failure");
    handle.fail(new Error("No"));
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [issuesTotal("already_closed")]: 2,
    });
  });
});

Deno.test("openPipeline() records failure when disposed of before it is closed", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    {
      using _unclosed = openPipeline("unclosed");
      using closed = openPipeline("closed");
      closed.close();
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("unclosed", "failure")]: 1,
      [pipelineTotal("closed", "success")]: 1,
    });
  });
});

Deno.test("openPipeline() ends when its signal aborts, or was aborted before", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const handle = openPipeline("p", { signal: caller.signal });
    handle.stage("s", () => new Promise(() => {}));
    caller.abort(new Error("Gone"));
    assertEquals(handle.signal.reason, caller.signal.reason);
    handle.close();

    const gone = openPipeline("gone", { signal: caller.signal });
    assertEquals(gone.signal.reason, caller.signal.reason);
    gone.close();
    const status = 'lane="test",pipeline_name="p",status="failure"';
    assertEquals(await samplesOf(metrics, /pipeline_.*total$/), {
      [`pipeline_total{${status}}`]: 1,
      [`pipeline_cancelled_total{${status}}`]: 1,
      [pipelineTotal("gone", "failure")]: 1,
      [`pipeline_cancelled_total{${status.replace('"p"', '"gone"')}}`]: 1,
    });
  });
});

Deno.test("openPipeline() throws for invalid options", () => {
  assertThrows(
    () => openPipeline("p", { timeout: NaN }),
    RangeError,
    "Cannot open a pipeline: timeout must not be NaN",
  );
});
