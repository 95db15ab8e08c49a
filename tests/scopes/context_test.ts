/**
 * Tests contexts that outlive their pipeline, lost contexts, and promises shared by
 * several pipelines.
 */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Registry } from "prom-client";
import {
  createStageMetrics,
  type PipelineOptions,
  type StageMetrics,
  type StageMetricsOptions,
} from "../../mod.ts";
import { runFixture } from "../support/process.ts";
import {
  cancelledTotal,
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";
import { registerSdk } from "../support/sdk.ts";

const HOST = "127.0.0.1";

const DETACHED: PipelineOptions & { readonly detached: true } = {
  detached: true,
};

function create(options: StageMetricsOptions = {}): StageMetrics {
  return createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue() {},
    ...options,
  });
}

/** The `bind` of a scope or a handle, destructured. */
function bindOf(scope: object) {
  const { bind } = scope as {
    bind<F extends (...args: never[]) => unknown>(fn: F): F;
  };
  return bind;
}

/** Calls a function later, in the context in which it was created. */
interface Caller {
  /** Triggers the call, unless it happens automatically. */
  readonly fire?: () => unknown;
  readonly stop?: () => unknown;
}

const CALLERS: Record<string, (fn: () => void) => Caller | Promise<Caller>> = {
  "a timer"(fn) {
    setTimeout(fn, 1);
    return {};
  },
  "an interval"(fn) {
    const timer = setInterval(fn, 1);
    return { stop: () => clearInterval(timer) };
  },
  "an emitter"(fn) {
    const emitter = new EventEmitter();
    emitter.on("job", fn);
    setTimeout(() => emitter.emit("job"), 1);
    return {};
  },
  "an EventTarget"(fn) {
    const target = new EventTarget();
    target.addEventListener("job", fn);
    setTimeout(() => target.dispatchEvent(new Event("job")), 1);
    return {};
  },
  "an AsyncResource"(fn) {
    return { fire: AsyncResource.bind(fn) };
  },
  "a promise"(fn) {
    const { promise, resolve } = Promise.withResolvers<void>();
    promise.then(fn);
    return { fire: resolve };
  },
  "a queue's worker"(fn) {
    let jobs: ReadableStreamDefaultController<number>;
    const queue = new ReadableStream<number>({
      start(controller) {
        jobs = controller;
      },
    });
    async function work(): Promise<void> {
      for await (const _ of queue) fn();
    }
    work();
    return { fire: () => jobs.enqueue(1), stop: () => jobs.close() };
  },
  async "a server"(fn) {
    const server = createServer((_, response) => {
      fn();
      response.setHeader("connection", "close").end();
    });
    await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
    const { port } = server.address() as AddressInfo;
    return {
      fire: async () => {
        const response = await fetch(`http://${HOST}:${port}/`);
        await response.text();
      },
      stop: () => new Promise((resolve) => server.close(resolve)),
    };
  },
};

/** Callers for which the runtime decides whether the context is kept. */
const MAY_LOSE_CONTEXT = ["a server"];

for (const [caller, make] of Object.entries(CALLERS)) {
  for (const end of ["returned", "threw"] as const) {
    Deno.test(`pipeline() is a root when called by ${caller} of a pipeline that ${end}`, async () => {
      const metrics = create();
      const { pipeline, stage } = metrics;
      const called = Promise.withResolvers<unknown>();
      let calls = 0;
      const callback = () => {
        if (++calls > 1) return;
        const result = pipeline("late", ({ lane, signal }) => {
          stage("s", () => {});
          return { lane, isAborted: signal.aborted };
        });
        called.resolve(result);
      };
      const made = Promise.withResolvers<Caller>();
      await pipeline("boot", { lane: "boot" }, async () => {
        made.resolve(await make(callback));
        if (end === "threw") throw new Error("Boot failed");
      }).catch(() => {});
      const { fire, stop } = await made.promise;
      await fire?.();
      const seen = await called.promise;
      await stop?.();
      assertEquals(seen, { lane: "test", isAborted: false });
      const samples = await samplesOf(metrics);
      const { [issuesTotal("late_pipeline")]: issues, ...totals } = samples;
      if (!MAY_LOSE_CONTEXT.includes(caller)) assertEquals(issues, 1);
      const status = end === "returned" ? "success" : "failure";
      assertEquals(totals, {
        [pipelineTotal("boot", status, "boot")]: 1,
        [pipelineTotal("late", "success")]: 1,
        [stageTotal("late", "s", "success")]: 1,
      });
    });
  }
}

Deno.test("pipeline() is a root in each turn of a poll loop after a failed turn", async () => {
  const metrics = create();
  const seen: unknown[] = [];
  const done = Promise.withResolvers<void>();
  const poll = (turn: number): Promise<void> =>
    metrics.pipeline(
      "poll",
      turn === 0 ? { lane: "first" } : {},
      async ({ signal, lane }) => {
        seen.push([lane, signal.aborted]);
        try {
          await delay(1, undefined, { signal });
          if (turn === 1) throw new Error("Not reached");
        } finally {
          if (turn < 4) setTimeout(() => poll(turn + 1).catch(() => {}), 1);
          else setTimeout(done.resolve);
        }
      },
    );
  await poll(0);
  await done.promise;
  assertEquals(seen, [
    ["first", false],
    ["test", false],
    ["test", false],
    ["test", false],
    ["test", false],
  ]);
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("poll", "success", "first")]: 1,
    [pipelineTotal("poll", "failure")]: 1,
    [pipelineTotal("poll", "success")]: 3,
    [issuesTotal("late_pipeline")]: 4,
  });
});

Deno.test("pipeline() is a root in an ended pipeline nested in an open one", async () => {
  const metrics = create();
  const { pipeline } = metrics;
  await pipeline("outer", { lane: "outer" }, async () => {
    const late = await pipeline("inner", () => {
      const later = Promise.withResolvers<string>();
      setTimeout(() => later.resolve(pipeline("late", ({ lane }) => lane)), 1);
      // A promise would keep the inner pipeline open.
      return () => later.promise;
    })();
    assertEquals(late, "test");
  });
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("outer", "success", "outer")]: 1,
    [pipelineTotal("inner", "success", "outer")]: 1,
    [pipelineTotal("late", "success")]: 1,
    [issuesTotal("late_pipeline")]: 1,
  });
});

Deno.test("pipeline() is a root after the outer pipeline timed out and its code ended", async () => {
  const metrics = create();
  const { pipeline } = metrics;
  const seen: boolean[] = [];
  const done = Promise.withResolvers<void>();
  await assertRejects(
    () =>
      pipeline("slow", { timeout: 1 }, async () => {
        await delay(20);
        // The abandoned code belongs to the pipeline while it is running.
        pipeline("inside", ({ signal }) => seen.push(signal.aborted));
        setTimeout(() => {
          pipeline("late", ({ signal }) => seen.push(signal.aborted));
          done.resolve();
        }, 1);
      }),
    DOMException,
  );
  await done.promise;
  assertEquals(seen, [true, false]);
  const { [issuesTotal("late_pipeline")]: issues } = await samplesOf(metrics);
  assertEquals(issues, 1);
});

Deno.test("pipeline() is a root in an ended pipeline, in every form of the call", async () => {
  const metrics = create();
  const declared = metrics.definePipeline("declared", { stages: { s: {} } });
  const lanes = await metrics.pipeline("boot", { lane: "boot" }, () => {
    const later = Promise.withResolvers<string[]>();
    setTimeout(() => {
      const handle = metrics.openPipeline("opened");
      const declaredHandle = declared.open();
      const lanes = [
        handle.lane,
        declaredHandle.lane,
        declared.run(({ lane }) => lane),
        metrics.pipeline("wrapped")(() => metrics.currentPipeline()!.lane)(),
      ];
      handle.close();
      declaredHandle.close();
      metrics.recordPipelineMetrics({
        pipelineName: "recorded",
        durationSec: 1,
        status: "success",
      });
      later.resolve(lanes);
    }, 1);
    return () => later.promise;
  })();
  assertEquals(lanes, ["test", "test", "test", "test"]);
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("boot", "success", "boot")]: 1,
    [pipelineTotal("opened", "success")]: 1,
    [pipelineTotal("declared", "success")]: 2,
    [pipelineTotal("wrapped", "success")]: 1,
    [pipelineTotal("recorded", "success")]: 1,
    [issuesTotal("late_pipeline")]: 4,
  });
});

Deno.test("pipeline() starts its own trace when the outer pipeline has ended", async () => {
  using sdk = registerSdk();
  const { pipeline, stage } = create();
  await pipeline("boot", () => {
    const later = Promise.withResolvers<void>();
    setTimeout(() => {
      pipeline("late", () => stage("s", () => {}));
      later.resolve();
    }, 1);
    return () => later.promise;
  })();
  assertEquals(
    sdk.draw(),
    `pipeline boot (boot, test) success
pipeline late (late, test) success
  stage s (late, test, s) success`,
  );
});

Deno.test("strict: pipeline() throws in an ended pipeline, unless detached", async () => {
  const { pipeline } = create({ strict: true });
  await pipeline("boot", () => {
    const later = Promise.withResolvers<void>();
    setTimeout(() => {
      try {
        assertThrows(() => pipeline("late", () => {}), Error, `"late"`);
        pipeline("detached", DETACHED, () => {});
        later.resolve();
      } catch (error) {
        later.reject(error);
      }
    }, 1);
    return () => later.promise;
  })();
});

Deno.test("pipeline() inherits nothing from an open pipeline when detached", async () => {
  using sdk = registerSdk();
  const metrics = create();
  const { pipeline, stage } = metrics;
  const caller = new AbortController();
  let detached: Promise<unknown> | undefined;
  await assertRejects(() =>
    pipeline("outer", { lane: "outer", signal: caller.signal }, async () => {
      detached = pipeline("detached", DETACHED, async ({ lane, signal }) => {
        const value = await stage("s", () => delay(20, "value"));
        return { lane, isAborted: signal.aborted, value };
      });
      await delay(1);
      caller.abort();
      await delay(1);
    })
  );
  assertEquals(await detached, {
    lane: "test",
    isAborted: false,
    value: "value",
  });
  assertEquals(
    sdk.draw(),
    `pipeline detached (detached, test) success
  stage s (detached, test, s) success
pipeline outer (outer, outer) failure ERROR "This operation was aborted" !AbortError: This operation was aborted`
      .replaceAll("This operation was aborted", caller.signal.reason.message),
  );
  assertEquals(await samplesOf(metrics, /pipeline_total$|_issues_total$/), {
    [pipelineTotal("outer", "failure", "outer")]: 1,
    [pipelineTotal("detached", "success")]: 1,
  });
});

Deno.test("pipeline() causes no issue in an ended pipeline when detached", async () => {
  const metrics = create();
  const { pipeline, openPipeline } = metrics;
  await pipeline("boot", { lane: "boot" }, () => {
    const later = Promise.withResolvers<void>();
    setTimeout(() => {
      pipeline("detached", DETACHED, () => {});
      openPipeline("opened", DETACHED).close();
      later.resolve();
    }, 1);
    return () => later.promise;
  })();
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("boot", "success", "boot")]: 1,
    [pipelineTotal("detached", "success")]: 1,
    [pipelineTotal("opened", "success")]: 1,
  });
});

Deno.test("stage() of a scope has the scope's context when the current one is lost", async () => {
  const metrics = create();
  const { pipeline, stage, openPipeline } = metrics;
  const emitter = new EventEmitter();
  const result = pipeline("p", { lane: "p" }, (scope) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    emitter.once("message", () =>
      resolve(scope.stage("listener", async () => {
        stage("sync", () => {});
        await delay(1);
        await stage("async", () => pipeline("inner", () => delay(1)));
      })));
    return promise;
  });
  emitter.emit("message");
  await result;
  const handle = openPipeline("h", { lane: "h" });
  await handle.stage("receive", async () => {
    await delay(1);
    stage("parse", () => {});
  });
  handle.close();
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success", "p")]: 1,
    [stageTotal("p", "listener", "success", "p")]: 1,
    [stageTotal("p", "sync", "success", "p")]: 1,
    [stageTotal("p", "async", "success", "p")]: 1,
    [pipelineTotal("inner", "success", "p")]: 1,
    [pipelineTotal("h", "success", "h")]: 1,
    [stageTotal("h", "receive", "success", "h")]: 1,
    [stageTotal("h", "parse", "success", "h")]: 1,
  });
});

Deno.test("stage() of a scope has the scope's context inside another pipeline", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  await pipeline("a", (a) =>
    pipeline("b", async () => {
      await a.stage("outer", async () => {
        stage("inner", () => {});
        await delay(1);
        stage("later", () => {});
      });
      a.stage("wrapped")(() => stage("called", () => {}))();
      // The caller's context is unchanged.
      stage("own", () => {});
    }));
  assertEquals(await samplesOf(metrics, /stage_total$|_issues_total$/), {
    [stageTotal("a", "outer", "success")]: 1,
    [stageTotal("a", "inner", "success")]: 1,
    [stageTotal("a", "later", "success")]: 1,
    [stageTotal("a", "wrapped", "success")]: 1,
    [stageTotal("a", "called", "success")]: 1,
    [stageTotal("b", "own", "success")]: 1,
  });
});

Deno.test("stageStream() of a scope calls its source in the scope's context", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  async function* tokens() {
    stage("first", () => {});
    yield await stage("model", () => delay(1, "token"));
  }
  type StreamOf = (
    name: string,
    source: (scope: object) => AsyncIterable<string>,
  ) => AsyncIterable<string>;
  await pipeline("a", (a) =>
    pipeline("b", async () => {
      const stageStream = a.stageStream as unknown as StreamOf;
      const stream = stageStream("stream", () => {
        stage("source", () => {});
        return tokens();
      });
      for await (const _ of stream) stage("consumer", () => {});
    }));
  assertEquals(await samplesOf(metrics, /stage_total$|_issues_total$/), {
    [stageTotal("a", "stream", "success")]: 1,
    [stageTotal("a", "source", "success")]: 1,
    [stageTotal("a", "first", "success")]: 1,
    [stageTotal("a", "model", "success")]: 1,
    [stageTotal("b", "consumer", "success")]: 1,
  });
});

Deno.test("bind() calls a function in the context of its scope, from any context", async () => {
  const metrics = create();
  const { pipeline, stage, openPipeline } = metrics;
  const record = (name: string) => stage(name, () => {});
  const handle = openPipeline("h");
  const pending = Promise.withResolvers<void>();
  const bound: ((name: string) => void)[] = [bindOf(handle)(record)];
  const running = pipeline("p", (scope) => {
    bound.push(bindOf(scope)(record));
    return stage("s", (inner) => {
      bound.push(bindOf(inner)(record));
      return pending.promise;
    });
  });
  for (const each of bound) each("nowhere");
  await pipeline("other", async () => {
    await delay(1);
    for (const each of bound) each("other");
    record("own");
  });
  pending.resolve();
  await running;
  handle.close();
  assertEquals(await samplesOf(metrics, /stage_total$|_issues_total$/), {
    [stageTotal("h", "nowhere", "success")]: 1,
    [stageTotal("h", "other", "success")]: 1,
    [stageTotal("p", "nowhere", "success")]: 2,
    [stageTotal("p", "other", "success")]: 2,
    [stageTotal("p", "s", "success")]: 1,
    [stageTotal("other", "own", "success")]: 1,
  });
});

Deno.test("bind() keeps this, arguments, the result and the error", () => {
  const { pipeline } = create();
  const error = new Error("No");
  pipeline("p", (scope) => {
    const bind = bindOf(scope);
    const object = {
      value: 1,
      add: bind(function (this: { value: number }, ...more: number[]) {
        return more.reduce((sum, each) => sum + each, this.value);
      }),
    };
    assertEquals(object.add(2, 3), 6);
    const thrower = bind(() => {
      throw error;
    });
    assertEquals(assertThrows(thrower), error);
  });
});

Deno.test("bind() does not keep a pipeline open, and its later stages are late", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const late = pipeline("p", { lane: "p" }, (scope) =>
    bindOf(scope)(() => {
      stage("s", () => {});
      return pipeline("late", ({ lane }) => lane);
    }));
  assertEquals(late(), "test");
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success", "p")]: 1,
    [stageTotal("p", "s", "success", "p")]: 1,
    [pipelineTotal("late", "success")]: 1,
    [issuesTotal("late_stage")]: 1,
    [issuesTotal("late_pipeline")]: 1,
  });
});

Deno.test("stage() is not late in code abandoned by a stage's timeout", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const done = Promise.withResolvers<void>();
  await assertRejects(() =>
    pipeline("p", () =>
      stage("slow", { timeout: 1 }, async () => {
        await delay(20);
        await stage("after", () => delay(1));
        stage("last", () => {});
        // The abandoned code does not await its timers.
        setTimeout(() => {
          stage("late", () => {});
          done.resolve();
        }, 1);
      }))
  );
  await done.promise;
  assertEquals(await samplesOf(metrics, /_total$/), {
    [pipelineTotal("p", "timeout")]: 1,
    [stageTotal("p", "slow", "timeout")]: 1,
    [stageTotal("p", "after", "success")]: 1,
    [stageTotal("p", "last", "success")]: 1,
    [stageTotal("p", "late", "success")]: 1,
    [issuesTotal("late_stage")]: 1,
  });
});

/** Ways in which pipelines share the work of the first one. */
const SHARERS: Record<string, <T>(load: () => Promise<T>) => () => Promise<T>> =
  {
    "memoized load"(load) {
      let memo: ReturnType<typeof load> | undefined;
      return () => memo ??= load();
    },
    "batch"<T>(load: () => Promise<T>) {
      const waiting: PromiseWithResolvers<T>[] = [];
      return () => {
        const one = Promise.withResolvers<T>();
        if (waiting.push(one) === 1) {
          setTimeout(() =>
            load().then(
              (value) => waiting.forEach(({ resolve }) => resolve(value)),
              (error) => waiting.forEach(({ reject }) => reject(error)),
            )
          );
        }
        return one.promise;
      };
    },
    "queue"<T>(load: () => Promise<T>) {
      let last: Promise<unknown> = Promise.resolve();
      let value: Promise<T> | undefined;
      return () => {
        const result = last.then(() => value ??= load());
        last = result.catch(() => {});
        return result;
      };
    },
  };

for (const [sharer, share] of Object.entries(SHARERS)) {
  for (const end of ["timeout passes", "caller aborts"] as const) {
    Deno.test(`pipeline() does not stop a shared ${sharer} when its ${end}`, async () => {
      const metrics = create();
      const { pipeline, stage } = metrics;
      const get = share(() =>
        stage("load", () => pipeline("db", () => delay(60, "value")))
      );
      const caller = new AbortController();
      const limits = end === "timeout passes"
        ? { timeout: 20 }
        : { signal: caller.signal };
      const first = pipeline("a", limits, () => stage("get", get));
      const second = pipeline("b", () => stage("get", get));
      setTimeout(() => caller.abort(), 20);
      const outcomes = await Promise.all([
        first.catch((error: Error) => error.name),
        second,
      ]);
      const [name, outcome] = end === "timeout passes"
        ? ["TimeoutError", "timeout"]
        : ["AbortError", "failure"];
      assertEquals(outcomes, [name, "value"]);
      // The load belongs to the first pipeline, and is recorded with its outcome.
      assertEquals(await samplesOf(metrics, /_total$/), {
        [pipelineTotal("a", outcome)]: 1,
        [stageTotal("a", "get", outcome)]: 1,
        [stageTotal("a", "load", outcome)]: 1,
        [pipelineTotal("db", outcome)]: 1,
        [pipelineTotal("b", "success")]: 1,
        [stageTotal("b", "get", "success")]: 1,
        ...(end === "caller aborts"
          ? {
            [cancelledTotal(pipelineTotal("a", outcome))]: 1,
            [cancelledTotal(pipelineTotal("db", outcome))]: 1,
            [cancelledTotal(stageTotal("a", "get", outcome))]: 1,
            [cancelledTotal(stageTotal("a", "load", outcome))]: 1,
          }
          : {}),
      });
    });
  }
}

Deno.test("stage() settles as its code does after its pipeline timed out", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const error = new Error("Later");
  const stages: Promise<unknown>[] = [];
  const result = pipeline("p", { timeout: 10 }, () => {
    stages.push(
      stage("resolves", () => delay(30, "value")),
      stage("rejects", () => delay(30).then(() => Promise.reject(error))),
      // Its own timeout is cleared with it.
      stage("limited", { timeout: 20 }, () => delay(30, "value")),
    );
    return Promise.allSettled(stages);
  });
  await assertRejects(() => result, DOMException, "timed out");
  assertEquals(
    await samplesOf(metrics, /stage_total$/),
    Object.fromEntries(
      ["resolves", "rejects", "limited"].map((
        name,
      ) => [stageTotal("p", name, "timeout"), 1]),
    ),
  );
  const [resolved, rejected, limited] = await Promise.allSettled(stages);
  assertEquals(resolved, { status: "fulfilled", value: "value" });
  assertEquals(rejected, { status: "rejected", reason: error });
  assertEquals(limited, { status: "fulfilled", value: "value" });
});

Deno.test("pipeline() never causes an unhandled rejection by an abort", async () => {
  const printed = await runFixture("aborted_siblings", []);
  assertEquals(JSON.parse(printed), {
    aborted: [
      "the stage",
      "the pipeline",
      "the pipeline, before it starts",
      "an outer pipeline",
      "a handle",
      "the stage of a handle",
      "an inner pipeline",
      "a deadline",
      "a caller",
      "a stage's own deadline, after the pipeline has thrown",
      "an inner pipeline's own deadline, after the outer one has thrown",
      "code that a deadline abandoned, by an outer signal",
      "a signal option that is aborted beforehand",
      "a detached pipeline with the signal as an option",
      "an unread Readable, by a deadline",
      "a Readable whose source is aborted",
      "a pending chunk of a stream",
      "a pending chunk of a stream, by a deadline",
    ],
    unhandled: ["control"],
  });
});

Deno.test("unawaited_stage counts a pipeline that returns before its stage ends", async () => {
  for (
    const [strict, isAsync] of [[false, false], [false, true], [true, true]]
  ) {
    const metrics = create({ strict });
    const { pipeline, stage } = metrics;
    let forgotten: Promise<void> | undefined;
    const start = () => {
      forgotten = stage("s", () => delay(5));
    };
    if (isAsync) {
      await pipeline("p", async () => {
        start();
        await delay(1);
      });
    } else pipeline("p", start);
    await forgotten;
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [issuesTotal("unawaited_stage")]: 1,
    });
  }
});

Deno.test("unawaited_stage does not count awaited or abandoned stages", async () => {
  const metrics = create();
  const { pipeline, stage, stageStream } = metrics;
  const fails = () => Promise.reject(new Error("No"));
  const never = () => new Promise(() => {});
  const forgotten: Promise<unknown>[] = [];
  const forget = () => forgotten.push(stage("s", () => delay(20)));

  await pipeline("returned", () => stage("s", () => delay(1)));
  await pipeline("throws", () => {
    forget();
    return stage("fails", fails);
  }).catch(() => {});
  await pipeline("times out", { timeout: 1 }, () => {
    forget();
    return never();
  }).catch(() => {});
  // A stage has ended when its own timeout passes, even if its code is running.
  await pipeline("limited", async () => {
    await stage("s", { timeout: 1 }, never).catch(() => {});
  });
  const { body } = new Response("text");
  await new Response(pipeline("streams", () => stageStream("s", body))).text();
  // A stage of an inner pipeline does not belong to the outer one.
  await pipeline("outer", async () => {
    await pipeline("inner", () => stage("s", () => delay(1)));
  });
  await Promise.all(forgotten);
  assertEquals(await samplesOf(metrics, /_issues_total$/), {});
});

Deno.test("unawaited_stage does not count a stage that abandoned code awaits", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const done = Promise.withResolvers<void>();
  await pipeline("p", async () => {
    const slow = stage("slow", { timeout: 1 }, async () => {
      await stage("inner", () => delay(20));
      done.resolve();
    });
    await slow.catch(() => {});
  });
  await done.promise;
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success")]: 1,
    [stageTotal("p", "slow", "timeout")]: 1,
    [stageTotal("p", "inner", "success")]: 1,
  });
});

Deno.test("stage() does not start aborted when it is late in a failed pipeline", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const done = Promise.withResolvers<boolean>();
  const result = pipeline("boot", async () => {
    // A subscriber that stays subscribed.
    stage("subscribe", () => new Promise(() => {}));
    setTimeout(() => {
      stage("message", ({ signal }) => done.resolve(signal.aborted));
    }, 5);
    await delay(1);
    throw new Error("No");
  });
  await assertRejects(() => result, Error, "No");
  assertEquals(await done.promise, false);
  assertEquals(await samplesOf(metrics, /_issues_total$/), {
    [issuesTotal("late_stage")]: 1,
  });
});

Deno.test("stage() is not late when a stage times out after the pipeline threw", async () => {
  const metrics = create();
  const { pipeline, stage } = metrics;
  const done = Promise.withResolvers<void>();
  const result = pipeline("p", async () => {
    const slow = stage("slow", { timeout: 10 }, async () => {
      await delay(20);
      stage("inner", () => {});
      done.resolve();
    });
    slow.catch(() => {});
    await delay(1);
    throw new Error("No");
  });
  await assertRejects(() => result, Error, "No");
  await done.promise;
  assertEquals(await samplesOf(metrics, /_issues_total$/), {});
});
