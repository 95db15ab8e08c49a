import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import { runInNewContext } from "node:vm";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  definePipeline,
  type IssueReport,
  pipeline,
  recordStageMetrics,
  stage,
  type StageMetricsOptions,
  stageStream,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { loadCopy } from "../support/copies.ts";
import { installFakeTimers } from "../support/fake_timers.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";
import { registerSdk } from "../support/sdk.ts";

function create(onIssue?: (report: IssueReport) => void) {
  return createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue,
  });
}

Deno.test("onIssue() receives the kind, the cause and the remedy of an issue", () => {
  const reports: Omit<IssueReport, "stack">[] = [];
  const { stage } = create(({ issue, message }) =>
    reports.push({ issue, message })
  );
  stage("one", () => {});
  stage("two", () => {});
  assertEquals(
    reports,
    ["one", "two"].map((name) => ({
      issue: "orphan_stage",
      message:
        `Stage "${name}" ran outside a pipeline: run it inside pipeline(), or call the stage() of the pipeline's scope`,
    })),
  );
});

/** Runs code, and returns its warnings, with the URL of this file replaced by its name. */
async function warningsOf(fn: () => unknown): Promise<string[]> {
  const warnings: string[] = [];
  const { warn } = console;
  console.warn = (message) => {
    warnings.push(
      message.replace(/, at \S+issues_test[.][jt]s:/, ", at HERE:"),
    );
  };
  try {
    await fn();
  } finally {
    console.warn = warn;
  }
  return warnings;
}

/** Returns the line of its caller. */
function lineOfCaller(): number {
  const lines = new Error().stack!.split("\n")
    .filter((line) => line.includes("issues_test"));
  return Number(/:(\d+):\d+[)]?$/.exec(lines[1]!)![1]);
}

/** Asserts that there is one warning, with a line of this file. */
function assertPlace(warnings: readonly string[], line: number): void {
  assertEquals(warnings.length, 1, warnings.join("\n"));
  assertMatch(
    warnings[0]!,
    new RegExp(`, at HERE:${line}:\\d+; later occurrences`),
  );
}

/** Asserts that there is one warning, without a place. */
function assertNoPlace(warnings: readonly string[]): void {
  assertEquals(warnings.length, 1, warnings.join("\n"));
  assertMatch(warnings[0]!, /[(]\w+; later occurrences are only counted[)]$/);
}

Deno.test("onIssue() defaults to one warning per kind", async () => {
  const metrics = create();
  const warnings = await warningsOf(() => {
    for (const name of ["one", "two", ""]) metrics.stage(name, () => {});
  });
  assertEquals(
    warnings.map((warning) => warning.replace(/:\d+:\d+;/, ":LINE;")),
    [
      `stage-metrics: Stage "one" ran outside a pipeline: run it inside pipeline(), or call the stage() of the pipeline's scope (orphan_stage, at HERE:LINE; later occurrences are only counted)`,
      `stage-metrics: A stage name must not be empty: recorded as "unknown" (invalid_name, at HERE:LINE; later occurrences are only counted)`,
    ],
  );
  const issues = await samplesOf(metrics, /issues_total$/);
  assertEquals(issues, {
    [issuesTotal("orphan_stage")]: 3,
    [issuesTotal("invalid_name")]: 1,
  });
});

Deno.test("onIssue() defaults to a warning with the user's line", async () => {
  const place = create();
  let line = 0;
  const warnings = await warningsOf(() => {
    line = lineOfCaller();
    place.stage("s", () => {});
  });
  assertPlace(warnings, line + 1);
  // Inside a pipeline, whose frames are on the stack as well.
  const inner = create();
  const innerWarnings = await warningsOf(() => {
    inner.pipeline("p", () => {
      line = lineOfCaller();
      inner.pipeline("", () => {});
    });
  });
  assertPlace(innerWarnings, line + 1);
  // In a wrapper of an instance, called elsewhere.
  const wrapping = create();
  const wrapped = wrapping.stage("s")(() => {});
  const wrappedWarnings = await warningsOf(() => {
    line = lineOfCaller();
    wrapped();
  });
  assertPlace(wrappedWarnings, line + 1);
});

Deno.test("onIssue() defaults to a warning with the awaiting line", async () => {
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    classifyResult() {
      throw new Error("Broken hook");
    },
  });
  let line = 0;
  const warnings = await warningsOf(async () => {
    await Promise.resolve();
    line = lineOfCaller();
    await metrics.pipeline("p", () => Promise.resolve());
    await Promise.resolve();
  });
  // Bun's stacks have no async frames.
  if ("Bun" in globalThis) assertNoPlace(warnings);
  else assertPlace(warnings, line + 1);
});

Deno.test("onIssue() defaults to a warning without a place if no frame has one", async () => {
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    classifyResult() {
      throw new Error("Broken hook");
    },
  });
  const warnings = await warningsOf(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    metrics.pipeline("p", () => promise);
    setTimeout(resolve);
    await new Promise((resolve) => setTimeout(resolve, 5));
  });
  assertNoPlace(warnings);
});

Deno.test("onIssue() defaults to a warning whose place no message can forge", async () => {
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    classifyResult() {
      throw new Error(
        "Broken\n    at f (/forged.ts:1:1)\n    at f (/main.ts:1:1)",
      );
    },
  });
  let line = 0;
  const warnings = await warningsOf(() => {
    line = lineOfCaller();
    metrics.pipeline("p", () => {});
  });
  assertPlace(warnings, line + 1);
});

Deno.test("onIssue() defaults to a warning without frames of OpenTelemetry", async () => {
  using _sdk = registerSdk();
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    classifyResult() {
      throw new Error("Broken hook");
    },
  });
  let line = 0;
  const warnings = await warningsOf(() => {
    line = lineOfCaller();
    metrics.pipeline("p", () => {});
  });
  assertPlace(warnings, line + 1);
});

Deno.test("onIssue() defaults to a warning with a custom prepareStackTrace", async () => {
  const { prepareStackTrace, stackTraceLimit } = Error;
  try {
    Error.prepareStackTrace = (_, sites) => sites;
    const prepared = create();
    assertNoPlace(await warningsOf(() => prepared.stage("s", () => {})));
    Error.prepareStackTrace = prepareStackTrace!;
    Error.stackTraceLimit = 0;
    const limited = create();
    assertNoPlace(await warningsOf(() => limited.stage("s", () => {})));
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit });
  }
});

Deno.test("onIssue() defaults to a warning without frames of another copy", async () => {
  const copy = await loadCopy();
  let line = 0;
  const warnings = await warningsOf(() =>
    captureMetrics({ lane: "test" }, () => {
      line = lineOfCaller();
      copy.stage("s", () => {});
    })
  );
  assertPlace(warnings, line + 1);
});

Deno.test("onIssue() captures one stack per kind by default", async () => {
  const metrics = create();
  await warningsOf(() => metrics.stage("s", () => {}));
  const { prepareStackTrace } = Error;
  let stacks = 0;
  Error.prepareStackTrace = () => String(++stacks);
  try {
    assertEquals(metrics.stage("s", () => 1), 1);
  } finally {
    Object.assign(Error, { prepareStackTrace });
  }
  assertEquals(stacks, 0);
});

Deno.test("onIssue() that throws or rejects is counted, and does not affect the work", async () => {
  for (
    const onIssue of [
      () => {
        throw new Error("Broken hook");
      },
      () => Promise.reject(new Error("Broken hook")),
      // A promise of another realm: in Jest, each test file has its own.
      runInNewContext("() => Promise.reject(new Error('Broken hook'))"),
    ]
  ) {
    const metrics = create(onIssue);
    assertEquals(metrics.stage("s", () => 1), 1);
    await Promise.resolve();
    assertEquals(await samplesOf(metrics, /issues_total$/), {
      [issuesTotal("orphan_stage")]: 1,
      [issuesTotal("hook_error")]: 1,
    });
  }
});

Deno.test("onIssue() does not recurse when it causes an issue", async () => {
  const metrics = create(() => metrics.stage("reported", () => {}));
  metrics.stage("s", () => {});
  assertEquals(await samplesOf(metrics, /issues_total$/), {
    [issuesTotal("orphan_stage")]: 2,
  });
});

Deno.test("onIssue() receives the stack of the issue", () => {
  const stacks: string[] = [];
  const metrics = create(({ stack }) => stacks.push(stack));
  function thePlace() {
    metrics.stage("s", () => {});
  }
  thePlace();
  assertEquals(stacks.length, 1);
  assertMatch(stacks[0]!, /thePlace/);
});

Deno.test("onIssue() is called ten times per second and kind, and all are counted", async () => {
  const reported: string[] = [];
  const metrics = create(({ issue }) => reported.push(issue));
  const flood = () => {
    for (let i = 0; i < 100; i++) metrics.stage("s", () => {});
    metrics.pipeline("", () => {});
  };
  const timers = installFakeTimers({ hasClock: true, date: true });
  try {
    flood();
    flood();
    assertEquals(
      reported.filter((issue) => issue === "orphan_stage").length,
      10,
    );
    assertEquals(
      reported.filter((issue) => issue === "invalid_name").length,
      2,
    );
    timers.advance(1000);
    flood();
    assertEquals(
      reported.filter((issue) => issue === "orphan_stage").length,
      20,
    );
  } finally {
    timers.uninstall();
  }
  assertEquals(await samplesOf(metrics, /issues_total$/), {
    [issuesTotal("orphan_stage")]: 300,
    [issuesTotal("invalid_name")]: 3,
  });
});

const STRICT = { lane: "test", strict: true, onIssue() {} };

Deno.test("strict: stage() outside a pipeline throws, and does not run", async () => {
  await captureMetrics(STRICT, async (metrics) => {
    const fail = () => {
      throw new Error("It ran");
    };
    assertThrows(
      () => stage("s", fail),
      Error,
      `Stage "s" ran outside a pipeline: run it inside pipeline(), or call the stage() of the pipeline's scope`,
    );
    assertThrows(
      () => {
        recordStageMetrics({
          stageName: "recorded",
          durationSec: 1,
          outcome: "success",
        });
      },
      Error,
      `Stage "recorded" was recorded outside a pipeline: pass its pipelineName, or record it inside pipeline()`,
    );
    assertEquals(await samplesOf(metrics), {
      [issuesTotal("orphan_stage")]: 2,
    });
  });
});

Deno.test("strict: stage() throws after its pipeline ended, and names both", async () => {
  await captureMetrics(STRICT, async (metrics) => {
    let late = () => {};
    pipeline("p", (scope) => {
      late = () => scope.stage("late", () => {});
    });
    assertThrows(
      late,
      Error,
      `Stage "late" started after its pipeline "p" had ended: await the code that starts it inside the pipeline`,
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [issuesTotal("late_stage")]: 1,
    });
  });
});

Deno.test("strict: stage() throws if undeclared, and its pipeline fails", async () => {
  await captureMetrics(STRICT, async (metrics) => {
    const declared = definePipeline("p", { stages: { s: {} } });
    assertThrows(
      () => declared.run(() => stage("plian", () => {})),
      Error,
      `Stage "plian" is not declared by pipeline "p": add it to its definePipeline()`,
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
      [issuesTotal("undeclared_stage")]: 1,
    });
  });
});

Deno.test("strict: stageStream() leaves the stream unread if it throws, and nothing open", async () => {
  await captureMetrics(STRICT, async (metrics) => {
    const source = new ReadableStream();
    assertThrows(
      () => stageStream("orphan", source),
      Error,
      "outside a pipeline",
    );
    assertEquals(source.locked, false);
    const declared = definePipeline("p", { stages: { s: {} } });
    const options = { firstChunk: "first" };
    assertThrows(
      () => declared.run(() => stageStream("s", options, source)),
      Error,
      `Stage "first" is not declared`,
    );
    assertEquals(source.locked, false);
    assertEquals(await samplesOf(metrics, /_(total|in_progress)$/), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
      [issuesTotal("orphan_stage")]: 1,
      [issuesTotal("undeclared_stage")]: 1,
    });
  });
});

Deno.test("strict: pipeline() does not throw if a stage is still running", async () => {
  const messages: string[] = [];
  const options = {
    ...STRICT,
    onIssue: ({ message }: { message: string }) => messages.push(message),
  };
  await captureMetrics(options, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    // It may be intended, as in a race.
    const winner = await pipeline("p", () =>
      Promise.race([
        stage("fast", () => Promise.resolve("fast")),
        stage("slow", () => promise),
      ]));
    assertEquals(winner, "fast");
    assertEquals(messages, [
      'Pipeline "p" returned while its stage "slow" was still running: await it, or start it in a pipeline of its own with detached: true',
    ]);
    resolve();
    await promise;
    assertEquals(await samplesOf(metrics, /_total$/), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "fast", "success")]: 1,
      [stageTotal("p", "slow", "success")]: 1,
      [issuesTotal("unawaited_stage")]: 1,
    });
  });
});

Deno.test("createStageMetrics() throws for an invalid strict", () => {
  const options = { strict: "yes" } as unknown as StageMetricsOptions;
  assertThrows(
    () => createStageMetrics(options),
    TypeError,
    "Cannot create stage metrics: strict must be a boolean, got string",
  );
});

Deno.test("strict: correct code does not throw, and causes no issue", async () => {
  const sleep = (ms: number) =>
    new Promise<string>((resolve) => setTimeout(resolve, ms, "slept"));
  await captureMetrics(STRICT, async (metrics) => {
    // Stages that are open when the first one fails are not late.
    await pipeline("all", async () => {
      const [a, b] = await Promise.all([
        stage("a", () => sleep(1)),
        stage("b", () => stage("inner", () => sleep(2))),
      ]);
      return a + b;
    });
    const failing = pipeline("all failing", () =>
      Promise.all([
        stage("failing", () => Promise.reject(new Error("No"))),
        stage("slow", () => sleep(5)),
      ]));
    await assertRejects(() => failing, Error, "No");
    // The abandoned stage cleans up in an open pipeline.
    await pipeline("fallback", async () => {
      const { promise: cleanedUp, resolve } = Promise.withResolvers<void>();
      const answer = await stage("primary", { timeout: 1 }, async () => {
        await sleep(5);
        stage("clean up", () => resolve());
      }).catch(() => stage("fallback", () => "answer"));
      await cleanedUp;
      return answer;
    });
    // The stage of an abandoned pipeline may clean up after that has ended.
    const { promise: cleanedUp, resolve } = Promise.withResolvers<void>();
    const late = pipeline("deadline", { timeout: 1 }, async () => {
      await sleep(5);
      stage("clean up", () => resolve());
    });
    await assertRejects(() => late, DOMException, "timed out after 1 ms");
    await cleanedUp;
    // The pipeline stays open for a stream that it returns.
    async function* chunks() {
      yield await stage("render", () => sleep(1));
      await sleep(1);
      yield stage("render", () => "sync");
    }
    const response = await pipeline("stream", async () => {
      await sleep(1);
      const body = stageStream("body", { firstChunk: "first" }, chunks());
      return new Response(
        ReadableStream.from(body).pipeThrough(new TextEncoderStream()),
      );
    });
    assertEquals(await response.text(), "sleptsync");
    await sleep(10);
    assertEquals(await samplesOf(metrics, /issues_total|in_progress/), {});
    assertEquals(
      (await samplesOf(metrics))[
        stageTotal("deadline", "clean up", "success")
      ],
      1,
    );
  });
});
