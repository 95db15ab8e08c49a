import {
  context,
  type ContextManager,
  ROOT_CONTEXT,
  trace,
} from "@opentelemetry/api";
import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  pipeline,
  stage,
  type StageMetrics,
  type StageMetricsOptions,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { issuesTotal, pipelineTotal, samplesOf } from "../support/samples.ts";
import { createSdk, registerSdk } from "../support/sdk.ts";

function create(options: StageMetricsOptions = {}): StageMetrics {
  return createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue() {},
    ...options,
  });
}

function soon(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

/** Returns a promise that never settles. */
function forever(): Promise<never> {
  return new Promise(() => {});
}

/** Starts a span like a user's code or an instrumented `fetch`. */
function ownSpan(name: string): void {
  trace.getTracer("own").startSpan(name).end();
}

Deno.test("tracing: pipelines and stages are nested spans", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  await pipeline("answer", async () => {
    stage("parse", () => {});
    await Promise.all([
      stage("facts", async () => {
        await soon();
        await Promise.all([stage("read", soon), stage("rank", soon)]);
      }),
      stage("maths", async () => {
        await soon();
        await pipeline("solve", { lane: "batch" }, async () => {
          await stage("add", soon);
        });
        stage("round", () => {});
      }),
    ]);
    await stage("write", soon);
  });
  await pipeline("other", soon);
  assertEquals(
    sdk.draw(),
    `pipeline answer (answer, test) success
  stage facts (answer, test, facts) success
    stage rank (answer, test, rank) success
    stage read (answer, test, read) success
  stage maths (answer, test, maths) success
    pipeline solve (solve, batch) success
      stage add (solve, batch, add) success
    stage round (answer, test, round) success
  stage parse (answer, test, parse) success
  stage write (answer, test, write) success
pipeline other (other, test) success`,
  );
});

Deno.test("tracing: users' spans are children and parents of scopes' spans", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const tracer = trace.getTracer("own");
  await tracer.startActiveSpan("request", async (request) => {
    await pipeline("p", async () => {
      ownSpan("of the pipeline");
      await stage("s", async () => {
        await soon();
        ownSpan("of the stage");
        await tracer.startActiveSpan("around a stage", async (around) => {
          await stage("inner", soon);
          around.end();
        });
      });
      ownSpan("of the pipeline, later");
    });
    ownSpan("of the request");
    request.end();
  });
  assertEquals(
    sdk.draw(),
    `request
  of the request
  pipeline p (p, test) success
    of the pipeline
    of the pipeline, later
    stage s (p, test, s) success
      around a stage
        stage inner (p, test, inner) success
      of the stage`,
  );
});

Deno.test("tracing: a request served in a pipeline's context has its own trace", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const tracer = trace.getTracer("own");
  await pipeline("boot", async () => {
    // Like instrumentations of servers, with a new context.
    const request = tracer.startSpan("request", {}, ROOT_CONTEXT);
    await context.with(trace.setSpan(ROOT_CONTEXT, request), async () => {
      await pipeline("answer", () => stage("read", soon));
    });
    request.end();
    await stage("listen", soon);
  });
  assertEquals(
    sdk.draw(),
    `pipeline boot (boot, test) success
  stage listen (boot, test, listen) success
request
  pipeline answer (answer, test) success
    stage read (answer, test, read) success`,
  );
});

Deno.test("tracing: spans are active in wrappers, decorated methods and declared pipelines", async () => {
  using sdk = registerSdk();
  const { definePipeline, pipeline, stage } = create();
  class Shop {
    @pipeline("checkout")
    async checkout() {
      await soon();
      await this.price();
    }

    @stage("price")
    async price() {
      await soon();
      ownSpan("of the price");
    }
  }
  await new Shop().checkout();
  const declared = definePipeline("declared", { stages: { a: {}, b: {} } });
  declared.run(() => {
    declared.stage("a", () => ownSpan("of a"));
    stage("b", () => ownSpan("of b"));
  });
  assertEquals(
    sdk.draw(),
    `pipeline checkout (checkout, test) success
  stage price (checkout, test, price) success
    of the price
pipeline declared (declared, test) success
  stage a (declared, test, a) success
    of a
  stage b (declared, test, b) success
    of b`,
  );
});

Deno.test("tracing: a handle's stages are children of its span everywhere", async () => {
  using sdk = registerSdk();
  const { openPipeline, pipeline, stage } = create();
  const handle = openPipeline("open");
  await pipeline("elsewhere", async () => {
    await handle.stage("lost", async () => {
      await soon();
      ownSpan("of the lost one");
    });
    await stage("here", soon);
    await handle.run(async () => {
      await soon();
      ownSpan("of the handle");
      await stage("inside", () => handle.stage("deeper", soon));
    });
  });
  assertEquals(sdk.spans().some(({ name }) => name === "pipeline open"), false);
  handle.close();
  assertEquals(
    sdk.draw(),
    `pipeline elsewhere (elsewhere, test) success
  stage here (elsewhere, test, here) success
pipeline open (open, test) success
  of the handle
  stage inside (open, test, inside) success
    stage deeper (open, test, deeper) success
  stage lost (open, test, lost) success
    of the lost one`,
  );
});

Deno.test("tracing: a scope's stage() is a child of its pipeline without a context", () => {
  using sdk = registerSdk();
  const { pipeline } = create();
  pipeline("p", ({ stage }) => {
    context.with(context.active(), () => {
      pipeline("another", () => stage("s", () => {}));
    });
  });
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  pipeline another (another, test) success
  stage s (p, test, s) success`,
  );
});

Deno.test("tracing: a stream's span ends with the stream, and is active in its source", async () => {
  using sdk = registerSdk();
  const { pipeline, stageStream } = create();
  const options = { firstChunk: "first" };
  async function* source() {
    ownSpan("before the first");
    yield 1;
    await soon();
    ownSpan("after the first");
    yield 2;
  }
  const chunks = await pipeline("p", () => {
    const read = stageStream("read", new ReadableStream());
    return [read.cancel(), stageStream("generate", options, source())] as const;
  })[1];
  const ended = () => sdk.spans().map(({ name }) => name);
  assertEquals(ended(), ["stage read"]);
  const iterator = chunks[Symbol.asyncIterator]();
  await iterator.next();
  assertEquals(ended().includes("stage first"), true);
  assertEquals(ended().includes("stage generate"), false);
  await iterator.next();
  await iterator.next();
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  stage first (p, test, first) success
  stage generate (p, test, generate) success
    after the first
    before the first
  stage read (p, test, read) success`,
  );
});

Deno.test("tracing: a lazy query starts inside its stage's span", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const query = {
    then(resolve: (value: number) => void) {
      ownSpan("query");
      resolve(1);
    },
  } as PromiseLike<number>;
  assertEquals(await pipeline("p", () => stage("s", () => query)), 1);
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  stage s (p, test, s) success
    query`,
  );
});

Deno.test("tracing: an error is recorded by the innermost scope, and sets all statuses", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const error = new RangeError("There is no gold");
  await assertRejects(() =>
    pipeline("p", async () => {
      await Promise.allSettled([
        stage("caught", () => Promise.reject(new TypeError("Not that"))),
      ]);
      stage("fine", () => {});
      await stage("outer", async () => {
        await soon();
        await stage("inner", () => Promise.reject(error));
      });
    })
  );
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) failure ERROR "There is no gold"
  stage caught (p, test, caught) failure ERROR "Not that" !TypeError: Not that
  stage fine (p, test, fine) success
  stage outer (p, test, outer) failure ERROR "There is no gold"
    stage inner (p, test, inner) failure ERROR "There is no gold" !RangeError: There is no gold`,
  );
  const [exception] = sdk.spans().find(({ name }) => name === "stage inner")!
    .exceptions;
  assertEquals(exception!["exception.stacktrace"], error.stack);
});

Deno.test("tracing: an error is recorded once without a traced pipeline", () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const untraced = create({ tracing: false });
  const fail = () => {
    throw new Error("No");
  };
  assertThrows(() => stage("outer", () => stage("inner", fail)));
  assertThrows(() =>
    pipeline(
      "p",
      () => untraced.pipeline("untraced", () => pipeline("q", fail)),
    )
  );
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) failure ERROR "No"
  pipeline q (q, test) failure ERROR "No" !Error: No
stage outer (unknown, test, outer) failure ERROR "No"
  stage inner (unknown, test, inner) failure ERROR "No" !Error: No`,
  );
});

Deno.test("tracing: a pipeline has the status of its last stream's error", async () => {
  using sdk = registerSdk();
  const { pipeline, stageStream } = create();
  async function* broken() {
    yield 1;
    throw new Error("Broken");
  }
  const chunks = pipeline("p", () => stageStream("s", broken()));
  await assertRejects(() => Array.fromAsync(chunks));
  const options = { timeout: 1 };
  const hanging = pipeline(
    "late",
    options,
    () => stageStream("s", new ReadableStream()),
  );
  await assertRejects(() => hanging.getReader().read());
  const late = 'Pipeline "late" timed out after 1 ms';
  assertEquals(
    sdk.draw(),
    `pipeline late (late, test) timeout ERROR ${JSON.stringify(late)}
  stage s (late, test, s) timeout ERROR ${
      JSON.stringify(late)
    } !TimeoutError: ${late}
pipeline p (p, test) failure ERROR "Broken"
  stage s (p, test, s) failure ERROR "Broken" !Error: Broken`,
  );
});

Deno.test("tracing: a thrown value that is not an error is recorded once", () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  for (const thrown of ["a text", undefined, null, NaN, {}, Symbol("s")]) {
    try {
      pipeline("p", () =>
        stage("s", () => {
          throw thrown;
        }));
    } catch (error) {
      assertStrictEquals(Object.is(error, thrown), true);
    }
  }
  const messages = [
    "NaN",
    "Symbol(s)",
    "[object Object]",
    "a text",
    "null",
    "undefined",
  ];
  assertEquals(
    sdk.draw(),
    messages.map((message) =>
      `pipeline p (p, test) failure ERROR ${JSON.stringify(message)}
  stage s (p, test, s) failure ERROR ${JSON.stringify(message)} !${message}`
    ).join("\n"),
  );
});

Deno.test("tracing: two different thrown strings are both recorded", () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const fail = (text: string) => {
    assertThrowsText(text, () =>
      stage(text, () => {
        throw text;
      }));
  };
  pipeline("p", () => {
    fail("one");
    fail("other");
    fail("one");
  });
  assertEquals(
    sdk.spans().flatMap(({ exceptions }) => exceptions)
      .map((each) => each["exception.message"]),
    ["one", "other", "one"],
  );
});

function assertThrowsText(text: string, fn: () => unknown): void {
  let thrown: unknown;
  try {
    fn();
  } catch (error) {
    thrown = error;
  }
  assertEquals(thrown, text);
}

Deno.test("tracing: the span's status depends on the outcome", () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  pipeline("set", ({ setOutcome }) => setOutcome("timeout"));
  pipeline("read", { classifyResult: () => "failure" }, () => {});
  pipeline("no outcome", ({ setOutcome }) => setOutcome("odd" as "success"));
  assertThrows(() =>
    pipeline("expected", { classifyError: () => "success" }, () => {
      throw new Error("Not found");
    })
  );
  stage("orphan", () => {});
  assertEquals(
    sdk.draw(),
    `pipeline expected (expected, test) success !Error: Not found
pipeline no outcome (no outcome, test) unknown
pipeline read (read, test) failure ERROR
pipeline set (set, test) timeout ERROR
stage orphan (unknown, test, orphan) success`,
  );
});

Deno.test("tracing: a stage's timeout ends only the stage's span, immediately", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const { promise, reject } = Promise.withResolvers<never>();
  await pipeline("p", async () => {
    await Promise.allSettled([stage("slow", { timeout: 1 }, () => promise)]);
    assertEquals(sdk.spans().map(({ name }) => name), ["stage slow"]);
    reject(new Error("Rejected after the timeout"));
    await stage("next", soon);
  });
  const message = 'Stage "slow" of pipeline "p" timed out after 1 ms';
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  stage next (p, test, next) success
  stage slow (p, test, slow) timeout ERROR ${
      JSON.stringify(message)
    } !TimeoutError: ${message}`,
  );
});

Deno.test("tracing: a pipeline's timeout ends all open spans, and is recorded once", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  await assertRejects(() =>
    pipeline("p", { timeout: 5 }, async () => {
      stage("done", () => {});
      await Promise.all([
        stage("first", forever),
        stage("second", () => pipeline("inner", () => stage("third", forever))),
      ]);
    })
  );
  const message = 'Pipeline "p" timed out after 5 ms';
  const ended = `timeout ERROR ${JSON.stringify(message)}`;
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) ${ended}
  stage done (p, test, done) success
  stage first (p, test, first) ${ended}
  stage second (p, test, second) ${ended}
    pipeline inner (inner, test) ${ended}
      stage third (inner, test, third) ${ended} !TimeoutError: ${message}`,
  );
});

Deno.test("tracing: cleanup after a timeout is a child of the ended pipeline", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  const { promise: cleaned, resolve } = Promise.withResolvers<void>();
  await assertRejects(() =>
    pipeline("p", { timeout: 1 }, async ({ signal }) => {
      await new Promise((end) => signal.addEventListener("abort", end));
      await stage("clean", soon);
      resolve();
    })
  );
  await cleaned;
  const message = 'Pipeline "p" timed out after 1 ms';
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) timeout ERROR ${
      JSON.stringify(message)
    } !TimeoutError: ${message}
  stage clean (p, test, clean) success`,
  );
});

Deno.test("tracing: a signal's reason is recorded, a consumer's stop is not", async () => {
  using sdk = registerSdk();
  const { openPipeline, pipeline, stageStream } = create();
  const signal = AbortSignal.abort(new Error("Gone"));
  await assertRejects(() => pipeline("before", { signal }, forever));
  const controller = new AbortController();
  const running = pipeline("while", { signal: controller.signal }, forever);
  controller.abort(new Error("Going"));
  await assertRejects(() => running);
  await pipeline("stream", () => stageStream("s", new ReadableStream()))
    .cancel();
  openPipeline("handle").fail(new Error("No"));
  openPipeline("dropped")[Symbol.dispose]();
  assertEquals(
    sdk.draw(),
    `pipeline before (before, test) failure ERROR "Gone" !Error: Gone
pipeline dropped (dropped, test) failure ERROR
pipeline handle (handle, test) failure ERROR "No" !Error: No
pipeline stream (stream, test) success
  stage s (stream, test, s) success
pipeline while (while, test) failure ERROR "Going" !Error: Going`,
  );
});

Deno.test("tracing: an instance can have its own provider, or none", async () => {
  using registered = registerSdk();
  using own = createSdk();
  const run = ({ pipeline, stage }: StageMetrics, name: string) =>
    pipeline(name, async () => {
      await stage("outer", () => stage("inner", soon));
    });
  await run(create({ tracing: own.provider }), "own");
  await run(create({ tracing: false }), "none");
  await run(create({ tracing: "auto" }), "registered");
  const draw = (name: string) =>
    `pipeline ${name} (${name}, test) success
  stage outer (${name}, test, outer) success
    stage inner (${name}, test, inner) success`;
  assertEquals(own.draw(), draw("own"));
  assertEquals(registered.draw(), draw("registered"));
});

Deno.test("tracing: without a context manager, spans are children of their pipeline", async () => {
  using sdk = createSdk();
  const { pipeline, stage } = create({ tracing: sdk.provider });
  await pipeline("p", async () => {
    await stage("outer", async () => {
      await soon();
      await stage("inner", soon);
      await pipeline("q", soon);
    });
  });
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  pipeline q (q, test) success
  stage inner (p, test, inner) success
  stage outer (p, test, outer) success`,
  );
});

Deno.test("tracing: an instance with tracing false has no spans", () => {
  using sdk = registerSdk();
  const untraced = create({ tracing: false });
  const { pipeline } = create();
  pipeline("p", () =>
    untraced.pipeline("untraced", () => {
      untraced.stage("untraced", () => {});
      pipeline("inner", () => {});
    }));
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  pipeline inner (inner, test) success`,
  );
});

Deno.test("tracing: a provider is used while it is registered", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const run = (name: string) => pipeline(name, () => stage("s", () => {}));
  run("before");
  {
    using sdk = registerSdk();
    run("first");
    assertEquals(sdk.spans().length, 2);
  }
  run("between");
  {
    using sdk = registerSdk();
    const { promise, resolve } = Promise.withResolvers<void>();
    const open = pipeline("open", async () => {
      await promise;
      stage("late", () => {});
    });
    assertEquals(sdk.spans().length, 0);
    sdk[Symbol.dispose]();
    run("after");
    resolve();
    await open;
    // No provider starts a span for "late", but started spans end.
    assertEquals(sdk.draw(), "pipeline open (open, test) success");
  }
  assertEquals(
    (await samplesOf(metrics))[issuesTotal("hook_error")],
    undefined,
  );
});

Deno.test("tracing: a pipeline is traced as a whole, or not at all", () => {
  const { pipeline, stage } = create();
  using sdk = createSdk();
  pipeline("p", () => {
    stage("before", () => {});
    sdk.register();
    stage("after", () => {});
  });
  assertEquals(sdk.draw(), "");
  pipeline("p", () => stage("s", () => {}));
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  stage s (p, test, s) success`,
  );
});

Deno.test("tracing: the imported functions are traced, too", () => {
  using sdk = registerSdk();
  captureMetrics(
    { lane: "test" },
    () => pipeline("p", () => stage("s", () => {})),
  );
  assertEquals(
    sdk.draw(),
    `pipeline p (p, test) success
  stage s (p, test, s) success`,
  );
});

/** Counts the calls of the API while `fn` is running. */
async function countCalls(fn: () => Promise<unknown>): Promise<number> {
  let calls = 0;
  const restore: (() => void)[] = [];
  for (const api of [trace, context] as unknown as Record<string, unknown>[]) {
    const names = new Set([
      ...Object.keys(api),
      ...Object.getOwnPropertyNames(Object.getPrototypeOf(api)),
    ]);
    for (const name of names) {
      const original = api[name];
      if (typeof original !== "function") continue;
      const own = Object.getOwnPropertyDescriptor(api, name);
      api[name] = (...args: unknown[]) => {
        calls++;
        return original.apply(api, args);
      };
      restore.push(() => {
        delete api[name];
        if (own !== undefined) Object.defineProperty(api, name, own);
      });
    }
  }
  try {
    await fn();
  } finally {
    for (const each of restore) each();
  }
  return calls;
}

Deno.test("tracing: the API is not called without a provider", async () => {
  const { openPipeline, pipeline, recordStageMetrics, stage, stageStream } =
    create();
  const runAll = async () => {
    await pipeline("p", async () => {
      await stage("s", soon);
      await stageStream("stream", new ReadableStream()).cancel();
      recordStageMetrics({
        stageName: "s",
        durationSec: 1,
        outcome: "success",
      });
    });
    stage("orphan", () => {});
    openPipeline("open").close();
    await pipeline("failing", () => Promise.reject(new Error("No")))
      .catch(() => {});
  };
  assertEquals(await countCalls(runAll), 0);
  using _sdk = registerSdk();
  assertEquals(await countCalls(runAll) > 0, true);
});

/** Returns a provider that throws in one method. */
function faultyProvider(fault: string) {
  const ends: string[] = [];
  const fail = (name: string) => {
    if (name === fault) throw new Error(`${name} fails`);
  };
  const span = {
    spanContext() {
      fail("spanContext");
      return { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags: 1 };
    },
    setAttribute: () => fail("setAttribute"),
    setStatus: () => fail("setStatus"),
    recordException: () => fail("recordException"),
    end() {
      ends.push("end");
      fail("end");
    },
  };
  return {
    ends,
    getTracer() {
      fail("getTracer");
      return {
        startSpan() {
          fail("startSpan");
          return span;
        },
      };
    },
  };
}

for (
  const fault of [
    "getTracer",
    "startSpan",
    "spanContext",
    "setAttribute",
    "setStatus",
    "recordException",
    "end",
  ]
) {
  Deno.test(`tracing: a provider whose ${fault} throws is an issue`, async () => {
    const reports: string[] = [];
    const provider = faultyProvider(fault);
    const metrics = create({
      tracing: provider,
      onIssue: ({ issue, message }) =>
        void reports.push(`${issue}: ${message}`),
    });
    const error = new Error("No");
    const thrown = await assertRejects(() =>
      metrics.pipeline("p", async () => {
        assertEquals(await metrics.stage("s", () => Promise.resolve(1)), 1);
        throw error;
      })
    );
    assertStrictEquals(thrown, error);
    const samples = await samplesOf(metrics);
    assertEquals(samples[pipelineTotal("p", "failure")], 1);
    assertEquals(samples[issuesTotal("hook_error")]! > 0, true);
    assertEquals(
      reports[0],
      `hook_error: tracing threw Error: ${fault} fails`,
    );
    const isStarted = !["getTracer", "startSpan", "spanContext"].includes(
      fault,
    );
    assertEquals(provider.ends.length, isStarted ? 2 : 0);
  });
}

for (const when of ["before", "after"]) {
  Deno.test(`tracing: a context manager that throws ${when} the code is an issue`, async () => {
    using sdk = createSdk();
    const metrics = create({ tracing: sdk.provider });
    const manager = {
      active: () => ROOT_CONTEXT,
      with(_: unknown, fn: () => unknown) {
        if (when === "after") fn();
        throw new Error("It fails");
      },
      disable() {},
    };
    context.setGlobalContextManager(manager as unknown as ContextManager);
    const error = new TypeError("Mine");
    let times = 0;
    const value = metrics.pipeline(
      "p",
      () => metrics.stage("s", () => ++times),
    );
    assertEquals(value, 1);
    const thrown = assertThrows(() =>
      metrics.pipeline("p", () => {
        throw error;
      })
    );
    assertStrictEquals(thrown, error);
    const samples = await samplesOf(metrics);
    assertEquals(samples[issuesTotal("hook_error")], 3);
    assertEquals(samples[pipelineTotal("p", "success")], 1);
    assertEquals(samples[pipelineTotal("p", "failure")], 1);
  });
}

Deno.test("tracing: an unreadable error is recorded if possible, and rethrown unchanged", async () => {
  using sdk = registerSdk();
  const metrics = create();
  const frozen = Object.freeze(new TypeError("Frozen"));
  const stackless = new Error("Stackless");
  delete stackless.stack;
  const unreadable = new Map<unknown, Record<string, unknown>>([
    [frozen, {
      message: "Frozen",
      type: "TypeError",
      stacktrace: frozen.stack,
    }],
    [
      new Proxy({}, {
        get() {
          throw new Error("Not to be read");
        },
      }),
      { message: "a value of type object that cannot be shown" },
    ],
    [{
      get message(): string {
        throw new Error("Not to be read");
      },
    }, { message: "[object Object]" }],
    [{ message: 5 }, { message: "[object Object]" }],
    [{ message: "No row", code: "PGRST116" }, { message: "No row" }],
    [stackless, { message: "Stackless", type: "Error" }],
  ]);
  for (const error of unreadable.keys()) {
    let thrown: unknown;
    try {
      metrics.pipeline("p", () => {
        throw error;
      });
    } catch (caught) {
      thrown = caught;
    }
    assertStrictEquals(thrown, error);
  }
  assertEquals(
    sdk.spans().map(({ exceptions }) =>
      Object.fromEntries(
        Object.entries(exceptions[0]!).map(([key, value]) => [
          key.replace("exception.", ""),
          value,
        ]),
      )
    ),
    [...unreadable.values()],
  );
  assertEquals(
    (await samplesOf(metrics))[issuesTotal("hook_error")],
    undefined,
  );
});

Deno.test("createStageMetrics() throws for invalid tracing", () => {
  for (const tracing of [true, "on", null, {}, 5]) {
    assertThrows(
      () => create({ tracing: tracing as false }),
      TypeError,
      'Cannot create stage metrics: tracing must be "auto", false or a TracerProvider with a method getTracer(), got ',
    );
  }
});
