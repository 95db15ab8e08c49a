import { assert, assertEquals } from "@std/assert";
import {
  pipeline,
  type PipelineRecord,
  recordPipelineMetrics,
  recordStageMetrics,
  type StageRecord,
} from "../../mod.ts";
import { captureMetrics, sampleValue } from "../../src/testing.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

Deno.test("recordPipelineMetrics() records a given run", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const status of ["success", "failure", "timeout", "error"] as const) {
      recordPipelineMetrics({ pipelineName: "p", durationSec: 0.75, status });
    }
    const labels = 'lane="test",pipeline_name="p"';
    assertEquals(await samplesOf(metrics, /_total$|_sum$|_in_progress$/), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("p", "failure")]: 2,
      [pipelineTotal("p", "timeout")]: 1,
      [`pipeline_duration_seconds_sum{${labels},status="success"}`]: 0.75,
      [`pipeline_duration_seconds_sum{${labels},status="failure"}`]: 1.5,
      [`pipeline_duration_seconds_sum{${labels},status="timeout"}`]: 0.75,
    });
    const lastEnd = await sampleValue(
      metrics.registry,
      "lukhas_orchestration_pipeline_last_end_timestamp_seconds",
      { lane: "test", pipeline_name: "p", status: "timeout" },
    );
    // The system clock may be set in the meantime. A wrong unit or epoch is years off.
    assert(Math.abs(lastEnd! - Date.now() / 1000) < 3600, `${lastEnd}`);
  });
});

Deno.test("recordStageMetrics() records a given run", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    recordStageMetrics({
      pipelineName: "p",
      stageName: "s",
      durationSec: 0.75,
      outcome: "error",
      lane: " Canary ",
    });
    assertEquals(await samplesOf(metrics, /_total$|_sum$/), {
      [stageTotal("p", "s", "failure", "canary")]: 1,
      'stage_duration_seconds_sum{lane="canary",pipeline_name="p",stage_name="s",outcome="failure"}':
        0.75,
    });
  });
});

Deno.test("recordStageMetrics() does not record a run of its pipeline", async () => {
  await captureMetrics(OPTIONS, async ({ registry }) => {
    recordStageMetrics({
      pipelineName: "p",
      stageName: "s",
      durationSec: 1,
      outcome: "success",
    });
    const labels = { lane: "test", pipeline_name: "p", status: "success" };
    assertEquals(
      await sampleValue(
        registry,
        "lukhas_orchestration_pipeline_total",
        labels,
      ),
      undefined,
    );
  });
});

Deno.test("recorders default to the lane and name of the enclosing pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("ambient", { lane: "canary" }, async () => {
      await Promise.resolve();
      const measured = { durationSec: 1, outcome: "success" } as const;
      recordStageMetrics({ stageName: "both", ...measured });
      recordStageMetrics({ stageName: "lane", lane: "batch", ...measured });
      recordStageMetrics({ stageName: "s", pipelineName: "p", ...measured });
      recordPipelineMetrics({
        pipelineName: "p",
        durationSec: 1,
        status: "success",
      });
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("ambient", "success", "canary")]: 1,
      [pipelineTotal("p", "success", "canary")]: 1,
      [stageTotal("ambient", "both", "success", "canary")]: 1,
      [stageTotal("ambient", "lane", "success", "batch")]: 1,
      [stageTotal("p", "s", "success", "canary")]: 1,
    });
  });
});

Deno.test("recordStageMetrics() outside a pipeline records unknown with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    recordStageMetrics({ stageName: "s", durationSec: 1, outcome: "success" });
    assertEquals(await samplesOf(metrics), {
      [stageTotal("unknown", "s", "success")]: 1,
      [issuesTotal("orphan_stage")]: 1,
    });
  });
});

Deno.test("recorders record invalid durations as 0, and keep Infinity out of the sum", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const durationSec of [-1, NaN, "1" as unknown as number, Infinity]) {
      recordPipelineMetrics({
        pipelineName: "p",
        durationSec,
        status: "success",
      });
    }
    const labels = 'lane="test",pipeline_name="p",status="success"';
    assertEquals(
      await samplesOf(metrics, /_issues_total$|_sum$|_count$|_bucket$/),
      {
        ...Object.fromEntries(
          ["0.01", "0.05", "0.1", "0.15", "0.2", "0.25", "0.35", "0.5"].concat(
            "1.0",
            "2.5",
            "5.0",
          ).map((le) => [
            `pipeline_duration_seconds_bucket{${labels},le="${le}"}`,
            3,
          ]),
        ),
        [`pipeline_duration_seconds_bucket{${labels},le="+Inf"}`]: 4,
        [`pipeline_duration_seconds_count{${labels}}`]: 4,
        [issuesTotal("invalid_value")]: 3,
      },
    );
  });
});

Deno.test("recorders record an invalid outcome as unknown with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const status of ["Success", "cancelled", undefined, {}]) {
      recordPipelineMetrics(
        { pipelineName: "p", durationSec: 1, status } as PipelineRecord,
      );
    }
    recordStageMetrics(
      {
        pipelineName: "p",
        stageName: "s",
        durationSec: 1,
        outcome: "ok",
      } as unknown as StageRecord,
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "unknown")]: 4,
      [stageTotal("p", "s", "unknown")]: 1,
      [issuesTotal("invalid_value")]: 5,
    });
  });
});

Deno.test("recorders record invalid names as unknown with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const name of ["", 7, null, Symbol("p")]) {
      recordPipelineMetrics(
        {
          pipelineName: name,
          durationSec: 1,
          status: "success",
        } as unknown as PipelineRecord,
      );
      recordStageMetrics(
        {
          pipelineName: name,
          stageName: name,
          durationSec: 1,
          outcome: "success",
        } as unknown as StageRecord,
      );
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("unknown", "success")]: 4,
      [stageTotal("unknown", "unknown", "success")]: 4,
      [issuesTotal("invalid_name")]: 12,
    });
  });
});

Deno.test("recorders ignore an invalid record with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const record of [undefined, null, "success"]) {
      recordPipelineMetrics(record as unknown as PipelineRecord);
      recordStageMetrics(record as unknown as StageRecord);
    }
    assertEquals(await samplesOf(metrics), {
      [issuesTotal("invalid_value")]: 6,
    });
  });
});

Deno.test("recorders report a record whose getters throw", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const fields = {
      pipelineName: "p",
      stageName: "s",
      durationSec: 1,
      status: "success",
      outcome: "success",
    };
    for (const key of Object.keys(fields)) {
      const record = Object.defineProperty({ ...fields }, key, {
        get() {
          throw new Error("Not to be read");
        },
      });
      if (key !== "stageName" && key !== "outcome") {
        recordPipelineMetrics(record as PipelineRecord);
      }
      if (key !== "status") recordStageMetrics(record as StageRecord);
    }
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    recordPipelineMetrics(proxy as PipelineRecord);
    recordStageMetrics(proxy as StageRecord);
    assertEquals(await samplesOf(metrics), {
      [issuesTotal("invalid_value")]: 9,
    });
  });
});

Deno.test("recorders record fields that cannot be converted as unknown or 0", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    for (const field of [proxy, Symbol("p"), 5n, Object.create(null)]) {
      recordPipelineMetrics(
        { pipelineName: field, durationSec: field, status: field } as never,
      );
      recordStageMetrics(
        {
          pipelineName: "p",
          stageName: field,
          durationSec: field,
          outcome: field,
        } as never,
      );
    }
    assertEquals(await samplesOf(metrics, /_total$|_sum$/), {
      [pipelineTotal("unknown", "unknown")]: 4,
      [stageTotal("p", "unknown", "unknown")]: 4,
      [issuesTotal("invalid_name")]: 8,
      [issuesTotal("invalid_value")]: 16,
    });
  });
});

Deno.test("recorders read each getter of a record once", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let reads = 0;
    class Job {
      readonly durationSec = 1;
      readonly status = "success";
      get pipelineName(): string {
        return `p${reads++}`;
      }
    }
    recordPipelineMetrics(new Job() as PipelineRecord);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p0", "success")]: 1,
    });
  });
});

Deno.test("recorders copy the record", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const record: { -readonly [K in keyof PipelineRecord]: PipelineRecord[K] } =
      {
        pipelineName: "p",
        durationSec: 1,
        status: "success",
      };
    recordPipelineMetrics(record);
    record.pipelineName = "q";
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
    });
  });
});
