/** Tests that failing hooks and unusual values do not affect callers. */
import { assertEquals, assertStrictEquals } from "@std/assert";
import type { Outcome, StageMetrics, StageMetricsOptions } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { pipelineTotal, samplesOf } from "../support/samples.ts";

const broken = () => {
  throw new Error("Broken");
};
const brokenLater = () => Promise.reject(new Error("Broken")) as never;

/** Calls every function of the library, and checks the results. */
async function work(metrics: StageMetrics): Promise<void> {
  const { pipeline, stage, stageStream, openPipeline, definePipeline } =
    metrics;
  const value = { value: true };
  const error = Object.freeze(new Error("Mine"));
  const fail = () => {
    throw error;
  };
  const thrown = async (fn: () => unknown) => {
    try {
      await fn();
    } catch (error) {
      return error;
    }
    return "nothing";
  };
  assertStrictEquals(pipeline("p", () => stage("s", () => value)), value);
  assertStrictEquals(await thrown(() => pipeline("p", fail)), error);
  const nested = () => stage("s", async () => await Promise.resolve(value));
  assertStrictEquals(await pipeline("p", { timeout: 1e6 }, nested), value);
  const failing = pipeline("p", async () => await stage("s", fail));
  assertStrictEquals(await thrown(() => failing), error);
  const never = () => new Promise(() => {});
  const late = await thrown(() => pipeline("p", { timeout: 1 }, never));
  assertEquals((late as Error).name, "TimeoutError");
  assertStrictEquals(stage("orphan", () => value), value);
  const stream = ReadableStream.from([1, 2]);
  const measured = pipeline("p", () => stageStream("s", stream));
  assertEquals(await Array.fromAsync(measured), [1, 2]);
  const handle = openPipeline("p");
  assertStrictEquals(handle.run(() => stage("s", () => value)), value);
  handle.close();
  const declared = definePipeline("declared", { stages: { s: {} } });
  assertStrictEquals(declared.run(() => stage("other", () => value)), value);
  const durationSec = 1;
  const status = "success" as Outcome;
  metrics.recordPipelineMetrics({ pipelineName: "p", durationSec, status });
}

/** The numbers of pipelines, classified results and classified errors of the work. */
const PIPELINES = 8;
const RESULTS = 9;
const ERRORS = 3;

interface Fault {
  readonly options: StageMetricsOptions;
  /** The expected counts of issues, besides the issues of the work itself. */
  readonly issues: Readonly<Record<string, number>>;
}

const FAULTS: Readonly<Record<string, Fault>> = {
  "nothing fails": { options: {}, issues: {} },
  "classifyError throws": {
    options: { classifyError: broken },
    issues: { hook_error: ERRORS },
  },
  "classifyError throws an unprintable value": {
    options: {
      classifyError() {
        throw { toString: broken };
      },
    },
    issues: { hook_error: ERRORS },
  },
  "classifyError is async and rejects": {
    options: { classifyError: brokenLater },
    issues: { hook_error: ERRORS, invalid_value: ERRORS },
  },
  "classifyError returns an invalid outcome": {
    options: { classifyError: () => ({}) as never },
    issues: { invalid_value: ERRORS },
  },
  "classifyResult throws": {
    options: { classifyResult: broken },
    issues: { hook_error: RESULTS },
  },
  "classifyResult is async and rejects": {
    options: { classifyResult: brokenLater },
    issues: { hook_error: RESULTS, invalid_value: RESULTS },
  },
  "onIssue throws": {
    options: { onIssue: broken },
    issues: { hook_error: 2 },
  },
  "onIssue is async and rejects": {
    options: { onIssue: brokenLater },
    issues: { hook_error: 2 },
  },
};

for (const [fault, { options, issues }] of Object.entries(FAULTS)) {
  Deno.test(`pipeline() and stage() work when ${fault}`, async () => {
    await captureMetrics(
      { lane: "test", onIssue() {}, ...options },
      async (metrics) => {
        await work(metrics);
        const samples = await samplesOf(metrics, /_(total|in_progress)$/);
        const actual: Record<string, number> = {};
        let pipelines = 0;
        for (const [series, value] of Object.entries(samples)) {
          const issue = /issue="(.*)"/.exec(series)?.[1];
          if (issue !== undefined) actual[issue] = value;
          if (/^pipeline_total.*name="p"/.test(series)) pipelines += value;
          assertEquals(/in_progress/.test(series), false, series);
        }
        assertEquals(actual, {
          orphan_stage: 1,
          undeclared_stage: 1,
          ...issues,
        });
        assertEquals(pipelines, PIPELINES);
      },
    );
  });
}

Deno.test("stage() returns and rethrows unusual values and errors unchanged", async () => {
  const throwing = new Proxy({}, {
    get: broken,
    has: broken,
    getPrototypeOf: broken,
    ownKeys: broken,
  });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const circular = new Error("Mine");
  circular.cause = circular;
  const odd: readonly unknown[] = [
    undefined,
    null,
    0,
    NaN,
    5n,
    "",
    Symbol("odd"),
    broken,
    Object.freeze(new Error("Frozen")),
    Object.create(null),
    throwing,
    revoked.proxy,
    circular,
    {
      get name() {
        return broken();
      },
    },
    {
      get then() {
        return broken();
      },
    },
    new Proxy(() => {}, { get: broken }),
  ];
  await captureMetrics({ lane: "test", onIssue() {} }, async (metrics) => {
    const { pipeline } = metrics;
    for (const each of odd) {
      for (const options of [undefined, { timeout: 1e6 }]) {
        let caught: unknown = "nothing";
        try {
          pipeline("threw", options, () => {
            throw each;
          });
        } catch (error) {
          caught = error;
        }
        assertStrictEquals(caught, each);
        const rejected = pipeline(
          "rejected",
          options,
          () => Promise.reject(each),
        );
        await rejected.catch((error) => {
          caught = error;
        });
        assertStrictEquals(caught, each);
        assertStrictEquals(pipeline("returned", options, () => each), each);
      }
    }
    const each = 2 * odd.length;
    assertEquals(await samplesOf(metrics, /_(total|in_progress)$/), {
      [pipelineTotal("threw", "failure")]: each,
      [pipelineTotal("rejected", "failure")]: each,
      [pipelineTotal("returned", "success")]: each,
    });
  });
});
