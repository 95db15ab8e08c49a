import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  definePipeline,
  openPipeline,
  type Outcome,
  pipeline,
  stage,
  stageStream,
} from "../../mod.ts";
import { captureMetrics, manualClock } from "../../src/testing.ts";
import { runFixture } from "../support/process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

/** Calls a function, and returns the value that it throws. */
function thrownBy(fn: () => unknown): unknown {
  try {
    fn();
  } catch (error) {
    return error;
  }
  throw new Error("Nothing was thrown");
}

Deno.test("stage() records success and returns the value unchanged", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const value = { a: 1 };
    assertStrictEquals(pipeline("p", () => stage("s", () => value)), value);
    assertStrictEquals(pipeline("p", () => undefined), undefined);
    assertStrictEquals(pipeline("p", () => null), null);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 3,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stage() records success when its promise resolves", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    const result = pipeline("p", () => stage("s", () => promise));
    assert(result instanceof Promise);
    assertEquals(await samplesOf(metrics), {});
    resolve("value");
    assertEquals(await result, "value");
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stage() classifies an error, and rethrows the same value", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const frozen = Object.freeze(new Error("Frozen"));
    for (const error of [frozen, undefined, null, "text", 0, Symbol("s")]) {
      const thrown = thrownBy(() =>
        pipeline("sync", () => {
          throw error;
        })
      );
      assertStrictEquals(thrown, error);
      const rejected = await pipeline("async", () => Promise.reject(error))
        .then(() => "resolved", (error) => error);
      assertStrictEquals(rejected, error);
    }
    const late = new DOMException("Too late", "TimeoutError");
    assertStrictEquals(
      await pipeline("async", () => Promise.reject(late)).catch((e) => e),
      late,
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("sync", "failure")]: 6,
      [pipelineTotal("async", "failure")]: 6,
      [pipelineTotal("async", "timeout")]: 1,
    });
  });
});

Deno.test("setOutcome() sets the outcome by its last call, in sync and async code", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    stage("sync", ({ setOutcome }) => {
      setOutcome("timeout");
      setOutcome("failure");
    });
    await stage("async", async (scope) => {
      await Promise.resolve();
      scope.setOutcome("timeout");
    });
    pipeline("p", { classifyResult: () => "timeout" }, ({ setOutcome }) => {
      setOutcome("failure");
    });
    assertEquals(await samplesOf(metrics), {
      [stageTotal("unknown", "sync", "failure")]: 1,
      [stageTotal("unknown", "async", "timeout")]: 1,
      [pipelineTotal("p", "failure")]: 1,
      [issuesTotal("orphan_stage")]: 2,
    });
  });
});

Deno.test("setOutcome() is ignored if the code throws later", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    thrownBy(() =>
      pipeline("p", ({ setOutcome }) => {
        setOutcome("success");
        throw new DOMException("Too late", "TimeoutError");
      })
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "timeout")]: 1,
    });
  });
});

Deno.test("setOutcome() is ignored once the scope is settled", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const setOutcome = pipeline("p", ({ setOutcome }) => setOutcome);
    setOutcome("failure");
    setOutcome("nonsense" as Outcome);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
    });
  });
});

Deno.test("setOutcome() records an invalid outcome as unknown, with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    pipeline("p", ({ setOutcome }) => setOutcome("cancelled" as Outcome));
    pipeline("p", ({ setOutcome }) => setOutcome("error" as Outcome));
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "unknown")]: 1,
      [pipelineTotal("p", "failure")]: 1,
      [issuesTotal("invalid_value")]: 1,
    });
  });
});

Deno.test("classifyResult() sets the outcome of a returned value, unless undefined", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const options = {
      classifyResult: (response: Response) =>
        response.ok ? undefined : "failure" as const,
    };
    await pipeline("p", async () => {
      await stage("s", options, () => Promise.resolve(new Response("yes")));
      stage("s", options, () => new Response("no", { status: 500 }));
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("classifyResult() of a call takes precedence over the instance's", async () => {
  const options = {
    ...OPTIONS,
    classifyResult: (value: unknown) =>
      value === undefined ? undefined : "failure" as const,
  };
  const call = {
    classifyResult: (value: unknown) =>
      value === "call" ? "timeout" as const : undefined,
  };
  await captureMetrics(options, async (metrics) => {
    for (const value of ["call", "instance", undefined]) {
      pipeline(`p ${value}`, call, () => value);
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p call", "timeout")]: 1,
      [pipelineTotal("p instance", "failure")]: 1,
      [pipelineTotal("p undefined", "success")]: 1,
    });
  });
});

Deno.test("classifyError() of a call takes precedence over the instance's", async () => {
  const options = {
    ...OPTIONS,
    classifyError: (error: unknown) =>
      error === "instance" ? "timeout" as const : undefined,
  };
  const call = {
    classifyError: (error: unknown) =>
      error === "call" ? "success" as const : undefined,
  };
  await captureMetrics(options, async (metrics) => {
    const timeout = new DOMException("Too late", "TimeoutError");
    for (const error of ["call", "instance", timeout, "other"]) {
      thrownBy(() =>
        pipeline(`p ${error}`, call, () => {
          throw error;
        })
      );
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p call", "success")]: 1,
      [pipelineTotal("p instance", "timeout")]: 1,
      [pipelineTotal("p TimeoutError: Too late", "timeout")]: 1,
      [pipelineTotal("p other", "failure")]: 1,
    });
  });
});

Deno.test("classifyError() that throws is an issue, and the next classifier is called", async () => {
  const messages: string[] = [];
  const fail = () => {
    throw new Error("Broken classifier");
  };
  const options = {
    lane: "test",
    classifyError: () => "timeout" as const,
    onIssue: ({ message }: { message: string }) => messages.push(message),
  };
  const call = { classifyError: fail, classifyResult: fail };
  await captureMetrics(options, async (metrics) => {
    assertEquals(pipeline("p", call, () => 1), 1);
    const error = new Error("Mine");
    assertStrictEquals(
      thrownBy(() =>
        pipeline("p", call, () => {
          throw error;
        })
      ),
      error,
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("p", "timeout")]: 1,
      [issuesTotal("hook_error")]: 2,
    });
    assertEquals(messages, [
      "classifyResult threw Error: Broken classifier",
      "classifyError threw Error: Broken classifier",
    ]);
  });
});

Deno.test("pipeline() records success if it catches the error of a stage", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("p", async () => {
      await stage("s", () => Promise.reject(new Error("No"))).catch(() => {});
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("stage() subscribes to a lazy thenable once, inside the pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let runs = 0;
    const query: PromiseLike<string> = {
      then(resolve, reject) {
        runs++;
        return stage("execute", () => Promise.resolve("rows"))
          .then(resolve, reject);
      },
    };
    const result = pipeline("p", () => stage("query", () => query));
    assert(result instanceof Promise);
    assertEquals(await result, "rows");
    assertEquals(await pipeline("direct", () => query), "rows");
    assertEquals(runs, 2);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("direct", "success")]: 1,
      [stageTotal("p", "query", "success")]: 1,
      [stageTotal("p", "execute", "success")]: 1,
      [stageTotal("direct", "execute", "success")]: 1,
    });
  });
});

Deno.test("pipeline() fails with the error of a thenable that throws in then()", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("No connection");
    const query: PromiseLike<never> = {
      then() {
        throw error;
      },
    };
    const result = pipeline("p", () => query);
    assertStrictEquals(await result.catch((error) => error), error);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
    });
  });
});

Deno.test("pipeline() returns a native promise for a promise of a subclass", async () => {
  class Lazy<T> extends Promise<T> {}
  await captureMetrics(OPTIONS, async () => {
    const result = pipeline("p", () => Lazy.resolve(1));
    assertStrictEquals(Object.getPrototypeOf(result), Promise.prototype);
    assertEquals(await result, 1);
  });
});

Deno.test("pipeline() returns a value unchanged if its then is not a readable function", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const odd = Object.defineProperty({}, "then", {
      get() {
        throw new Error("Not to be touched");
      },
    });
    const plain = { then: 1 };
    assertStrictEquals(pipeline("p", () => odd), odd);
    assertStrictEquals(pipeline("p", () => plain), plain);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 2,
    });
  });
});

Deno.test("pipeline() leaves an unhandled rejection unhandled", async () => {
  assertEquals(
    await runFixture("unhandled_rejection", []),
    "unhandled: Error: Not handled, itself: true\n",
  );
});

Deno.test("clock measures the duration between start and end, in seconds", async () => {
  const clock = manualClock();
  await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
    await pipeline("p", async () => {
      clock.advance(0.25);
      await stage("s", async () => {
        await Promise.resolve();
        clock.advance(0.125);
      });
    });
    assertEquals(await samplesOf(metrics, /_sum$/), {
      'pipeline_duration_seconds_sum{lane="test",pipeline_name="p",status="success"}':
        0.375,
      'stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="s",outcome="success"}':
        0.125,
    });
  });
});

Deno.test("clock that throws or runs backwards does not affect the work", async () => {
  const readings = [
    () => 10,
    () => {
      throw new Error("Broken clock");
    },
    () => NaN,
    () => 5,
    () => 6,
  ];
  const clock = () => readings.shift()!();
  await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
    const { pipeline } = metrics;
    assertEquals(pipeline("p", () => "threw"), "threw");
    assertEquals(pipeline("p", () => "backwards"), "backwards");
    readings.push(() => 7, () => 7, () => 7, () => 7);
    assertEquals(await samplesOf(metrics, /_total$|_sum$/), {
      [pipelineTotal("p", "success")]: 2,
      [issuesTotal("hook_error")]: 2,
      [issuesTotal("invalid_value")]: 1,
    });
  });
});

Deno.test("stage() throws for options of the wrong type", async () => {
  const call = stage as (...args: unknown[]) => unknown;
  assertThrows(
    () => call("s", null, () => {}),
    TypeError,
    "Cannot run a stage: options must be an object, got null",
  );
  assertThrows(() => call("s", "fast"), TypeError, "got string");
  assertThrows(
    () => call("s", { classifyError: "failure" }, () => {}),
    TypeError,
    "Cannot run a stage: classifyError must be a function, got string",
  );
  await assertRejects(
    async () => await call("s", { classifyResult: 1 }),
    TypeError,
    "classifyResult must be a function, got number",
  );
});

/** Calls without a function, and the start of their error messages. */
const MISSING: readonly [args: unknown[], message: string][] = [
  [["s", undefined], 'a function after the name "s", got undefined'],
  [["s", {}, undefined], 'a function after the options of "s", got undefined'],
  [
    ["s", undefined, undefined],
    'a function after the options of "s", got undefined',
  ],
  [["s", undefined, null], 'a function after the options of "s", got null'],
  [["s", { timeout: 1 }, "fn"], 'after the options of "s", got string'],
  [[Symbol("s"), undefined], 'after the name "Symbol(s)", got undefined'],
  [[Object.create(null), undefined], "after the name object, got undefined"],
  [[() => {}], "a name before the function, got a function"],
  [[async () => {}], "a name before the function, got a function"],
  [[() => {}, { timeout: 1 }], "a name before the function, got a function"],
  [[class {}, () => {}], "a name before the function, got a function"],
  [[() => {}, {}, () => {}], "a name before the function, got a function"],
];

Deno.test("pipeline() and every stage() throw when the function is missing", async () => {
  const declared = definePipeline("declared", { stages: { s: {} } });
  const handle = openPipeline("open");
  await captureMetrics(OPTIONS, async (metrics) => {
    const starts: readonly [kind: string, start: unknown][] = [
      ["pipeline", pipeline],
      ["pipeline", metrics.pipeline],
      ["stage", stage],
      ["stage", metrics.stage],
      ["stage", pipeline("p", (scope) => scope.stage)],
      ["stage", declared.stage],
      ["stage", declared.run((scope) => scope.stage)],
      ["stage", handle.stage],
    ];
    for (const [kind, start] of starts) {
      for (const [args, message] of MISSING) {
        const call = start as (...args: unknown[]) => unknown;
        const error = assertThrows(() => call(...args), TypeError, message);
        assertStringIncludes(error.message, `Cannot run a ${kind}: expected `);
      }
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("declared", "success")]: 1,
    });
  });
  handle.close();
});

Deno.test("stageStream() throws when the stream is missing", () => {
  const call = stageStream as (...args: unknown[]) => unknown;
  for (const args of [["s"], ["s", undefined], ["s", {}, undefined]]) {
    assertThrows(
      () => call(...args),
      TypeError,
      "Cannot measure a stream: expected a ",
    );
  }
});

Deno.test("pipeline() runs a function given after undefined options", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    assertEquals(pipeline("p", undefined, () => 1), 1);
    assertEquals(pipeline("w")(() => 2)(), 2);
    assertEquals(pipeline("w", {})(() => 3)(), 3);
    // A user's function that forwards its parameters.
    const call = pipeline as (...args: unknown[]) => unknown;
    assertEquals(call("p", () => 4, undefined), 4);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 2,
      [pipelineTotal("w", "success")]: 2,
    });
  });
});

Deno.test("pipeline() records names of other invalid types with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const call = pipeline as (...args: unknown[]) => unknown;
    assertEquals(call(1, () => "ran"), "ran");
    assertEquals(call({}, () => "ran"), "ran");
    const { [issuesTotal("invalid_name")]: issues } = await samplesOf(metrics);
    assertEquals(issues, 2);
  });
});

Deno.test("pipeline() ignores unknown options, and checks detached", () => {
  const call = pipeline as (...args: unknown[]) => unknown;
  assertEquals(call("p", { timout: 5 }, () => 1), 1);
  assertEquals(call("p", { detached: undefined }, () => 1), 1);
  assertThrows(
    () => call("p", { detached: "yes" }, () => 1),
    TypeError,
    "Cannot run a pipeline: detached must be a boolean, got string",
  );
});

Deno.test("JSON.stringify() of a scope returns its labels", async () => {
  const registry = new Registry();
  const { pipeline } = createStageMetrics({ registry, lane: "test" });
  const written = await pipeline("p", async (scope) => [
    JSON.stringify(scope),
    await scope.stage("s", (stage) => JSON.stringify({ stage })),
  ]);
  assertEquals(written, [
    '{"lane":"test","pipeline_name":"p"}',
    '{"stage":{"lane":"test","pipeline_name":"p","stage_name":"s"}}',
  ]);
  const { _metrics: metrics } = JSON.parse(JSON.stringify(registry));
  assertEquals(metrics.lukhas_orchestration_stage_total, {
    name: "lukhas_orchestration_stage_total",
    help: "The total number of stage executions.",
    type: "counter",
    aggregator: "sum",
  });
});
