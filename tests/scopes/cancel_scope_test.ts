import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  currentPipeline,
  openPipeline,
  pipeline,
  type PipelineOptions,
  type PipelineScope,
  stage,
  type StageScope,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { loadCopy } from "../support/copies.ts";
import {
  cancelledTotal,
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

/** Matches the totals, including those of cancelled scopes. */
const TOTALS = /_total$/;

/** Returns a promise that never settles, without a timer. */
function never(): Promise<never> {
  return new Promise(() => {});
}

/** Returns a promise that rejects when its signal aborts, like `fetch`. */
function until({ signal }: { readonly signal: AbortSignal }): Promise<never> {
  return new Promise((_, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Returns a signal that counts its listeners. */
function countedSignal() {
  const { signal } = new AbortController();
  const listeners = { now: 0, most: 0 };
  const { addEventListener, removeEventListener } = signal;
  Object.assign(signal, {
    addEventListener(...args: unknown[]) {
      listeners.most = Math.max(listeners.most, ++listeners.now);
      Reflect.apply(addEventListener, signal, args);
    },
    removeEventListener(...args: unknown[]) {
      listeners.now--;
      Reflect.apply(removeEventListener, signal, args);
    },
  });
  return { signal, listeners };
}

Deno.test("timeout rejects with a TimeoutError, and aborts the signal with it", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let scope: StageScope | undefined;
    const error = await assertRejects(
      () =>
        pipeline("p", () =>
          stage("s", { timeout: 5 }, (stage) => {
            scope = stage;
            assertEquals(stage.signal.aborted, false);
            return never();
          })),
      DOMException,
      'Stage "s" of pipeline "p" timed out after 5 ms',
    );
    assertEquals(error.name, "TimeoutError");
    assertStrictEquals(scope?.signal.reason, error);
    const late = await assertRejects(
      () => pipeline("p", { timeout: 5 }, never),
      DOMException,
      'Pipeline "p" timed out after 5 ms',
    );
    assertEquals(late.name, "TimeoutError");
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 2,
      [stageTotal("p", "s", "timeout")]: 1,
    });
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});

Deno.test("timeout ignores the result of the abandoned callback", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let isClassified = false;
    const work = Promise.withResolvers<string>();
    const failing = Promise.withResolvers<string>();
    await pipeline("p", async () => {
      const options = {
        timeout: 1,
        classifyResult: () => (isClassified = true, undefined),
      };
      await assertRejects(() => stage("a", options, () => work.promise));
      await assertRejects(() =>
        stage("b", { timeout: 1 }, ({ setOutcome }) => {
          return failing.promise.finally(() => setOutcome("success"));
        })
      );
    });
    work.resolve("too late");
    failing.reject(new Error("Handled"));
    await sleep(0);
    assertEquals(isClassified, false);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "a", "timeout")]: 1,
      [stageTotal("p", "b", "timeout")]: 1,
    });
  });
});

Deno.test("timeout that does not pass leaves the value and the error unchanged", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("Mine");
    await pipeline("p", { timeout: 60_000 }, async () => {
      assertEquals(stage("s", { timeout: 60_000 }, () => 1), 1);
      assertEquals(
        await stage("s", { timeout: Infinity }, () => Promise.resolve(2)),
        2,
      );
      assertStrictEquals(
        await stage("s", () => Promise.reject(error)).catch((e) => e),
        error,
      );
    });
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 2,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("timeout does not interrupt synchronous code", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const busy = () => {
      for (const start = performance.now(); performance.now() - start < 5;);
      return "done";
    };
    await pipeline("p", async () => {
      assertEquals(stage("s", { timeout: 1 }, busy), "done");
      await sleep(2);
    });
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("timeout of 0 or less settles in the next turn of the event loop", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const timeout of [0, -1, -Infinity]) {
      assertEquals(
        await pipeline("p", { timeout }, () => Promise.resolve("quick")),
        "quick",
      );
      await assertRejects(
        () => pipeline("p", { timeout }, never),
        DOMException,
        `timed out after ${timeout} ms`,
      );
    }
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 3,
      [pipelineTotal("p", "timeout")]: 3,
    });
  });
});

Deno.test("timeout longer than a timer's range passes in full", async () => {
  const { setTimeout: platform } = globalThis;
  const waits: number[] = [];
  const timers: (() => void)[] = [];
  try {
    Object.assign(globalThis, {
      setTimeout<A extends unknown[]>(
        fn: (...args: A) => void,
        ms: number,
        ...args: A
      ) {
        waits.push(ms);
        timers.push(() => fn(...args));
        return 0;
      },
    });
    await captureMetrics(OPTIONS, async (metrics) => {
      const result = pipeline("p", { timeout: 2 ** 32 }, never);
      while (timers.length > 0) timers.shift()!();
      await assertRejects(
        () => result,
        DOMException,
        "timed out after 4294967296 ms",
      );
      assertEquals(waits, [2 ** 31 - 1, 2 ** 31 - 1, 2]);
      assertEquals(await samplesOf(metrics, TOTALS), {
        [pipelineTotal("p", "timeout")]: 1,
      });
    });
  } finally {
    Object.assign(globalThis, { setTimeout: platform });
  }
});

Deno.test("timeout and signal throw if they are invalid", () => {
  const call = (options: object) => () =>
    pipeline("p", options as PipelineOptions, () => {});
  assertThrows(call({ timeout: NaN }), RangeError, "timeout must not be NaN");
  assertThrows(
    call({ timeout: "5" }),
    TypeError,
    "Cannot run a pipeline: timeout must be a number of milliseconds, got string",
  );
  for (const signal of [null, {}, "abort", new AbortController()]) {
    assertThrows(
      call({ signal }),
      TypeError,
      "Cannot run a pipeline: signal must be an AbortSignal",
    );
  }
});

Deno.test("timeout of a pipeline records open scopes innermost first, then aborts", async () => {
  const order: string[] = [];
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise: work, resolve } = Promise.withResolvers<string>();
    const note = (name: string, promise: Promise<unknown>) =>
      promise.then((value) => {
        order.push(`${name}: ${value}`);
        return value;
      });
    let recorded: Promise<Record<string, number>> | undefined;
    let outer: Promise<unknown> | undefined;
    const result = pipeline("p", { timeout: 5 }, (scope) => {
      scope.signal.addEventListener("abort", () => {
        order.push("signal");
        recorded = samplesOf(metrics, TOTALS);
      });
      return outer = note(
        "outer",
        stage("outer", async () => {
          await Promise.all([
            note("inner stage", stage("inner", () => work)),
            note(
              "pipeline",
              pipeline("q", () => note("own", stage("own", () => work))),
            ),
          ]);
          return "done";
        }),
      );
    });
    await assertRejects(
      () => result,
      DOMException,
      'Pipeline "p" timed out after 5 ms',
    );
    const expected = {
      [pipelineTotal("p", "timeout")]: 1,
      [pipelineTotal("q", "timeout")]: 1,
      [stageTotal("p", "outer", "timeout")]: 1,
      [stageTotal("p", "inner", "timeout")]: 1,
      [stageTotal("q", "own", "timeout")]: 1,
    };
    assertEquals(await recorded, expected);
    assertEquals(await samplesOf(metrics, TOTALS), expected);
    resolve("late");
    await outer;
    assertEquals(order, [
      "signal",
      "inner stage: late",
      "own: late",
      "pipeline: late",
      "outer: done",
    ]);
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});

Deno.test("timeout of a pipeline causes no unhandled rejection of an unawaited stage", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await assertRejects(() =>
      pipeline("p", { timeout: 5 }, async () => {
        const forgotten = stage("s", never);
        await never();
        await forgotten;
      })
    );
    await sleep(0);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
    });
  });
});

Deno.test("timeout of a pipeline ends the open scopes of a settled inner pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let inner: PipelineScope | undefined;
    await assertRejects(() =>
      pipeline("outer", { timeout: 5 }, async () => {
        pipeline("inner", (scope) => {
          inner = scope;
          stage("left", never);
        });
        await never();
      })
    );
    // The abandoned code of the inner pipeline may start this stage.
    inner?.stage("late", () => {});
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("outer", "timeout")]: 1,
      [pipelineTotal("inner", "success")]: 1,
      [stageTotal("inner", "left", "timeout")]: 1,
      [stageTotal("inner", "late", "success")]: 1,
      [issuesTotal("unawaited_stage")]: 1,
    });
  });
});

/** Every order in which three stages can end. */
const ORDERS = ["abc", "acb", "bac", "bca", "cab", "cba"];

/** Runs a pipeline of three stages, `a`, `b` and `c`, that the test ends. */
function openStages() {
  const ends = new Map<string, () => void>();
  let signal: AbortSignal;
  const ended = pipeline("inner", async (scope) => {
    ({ signal } = scope);
    await Promise.all(
      [..."abc"].map((name) =>
        stage(
          name,
          () => new Promise<void>((resolve) => ends.set(name, resolve)),
        )
      ),
    );
  });
  return {
    signal: signal!,
    ended,
    async end(names: string) {
      for (const name of names) {
        ends.get(name)!();
        await sleep(0);
      }
    },
  };
}

Deno.test("signal of a pipeline ends the open stages, in any order of the ended ones", async () => {
  // Each stage may end before, between or after its siblings.
  for (const order of ORDERS) {
    for (let ended = 0; ended < 3; ended++) {
      await captureMetrics(OPTIONS, async (metrics) => {
        const outer = new AbortController();
        const { signal } = outer;
        let inner: AbortSignal | undefined;
        const result = pipeline("outer", { signal }, async () => {
          const open = openStages();
          inner = open.signal;
          await open.end(order.slice(0, ended));
          outer.abort();
          await open.ended;
        });
        await assertRejects(() => result, DOMException, "abort");
        assertEquals(inner!.aborted, true);
        const totals = await samplesOf(metrics, TOTALS);
        for (const name of "abc") {
          const hasEnded = order.slice(0, ended).includes(name);
          assertEquals(
            totals[stageTotal("inner", name, hasEnded ? "success" : "failure")],
            1,
            `${name} of ${order}, after ${ended}`,
          );
        }
      });
    }
  }
});

Deno.test("signal of an ended pipeline is not aborted by a later abort of the outer one", async () => {
  for (const order of ORDERS) {
    await captureMetrics(OPTIONS, async () => {
      const outer = new AbortController();
      const { signal } = outer;
      let inner: AbortSignal | undefined;
      const result = pipeline("outer", { signal }, async () => {
        const open = openStages();
        inner = open.signal;
        await open.end(order);
        await open.ended;
        outer.abort();
        await never();
      });
      await assertRejects(() => result, DOMException, "abort");
      assertEquals(inner!.aborted, false, order);
    });
  }
});

Deno.test("timeout of a stage ends that stage only, and aborts its signal", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("p", async () => {
      let nested: Promise<unknown> | undefined;
      await assertRejects(() =>
        stage("outer", { timeout: 5 }, ({ signal }) => {
          nested = stage("nested", () => until({ signal })).catch(() => {});
          stage("ignores the signal", never);
          return never();
        })
      );
      await nested;
    });
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "outer", "timeout")]: 1,
      [stageTotal("p", "nested", "timeout")]: 1,
    });
    assertEquals(await samplesOf(metrics, /_in_progress$/), {
      'stage_in_progress{lane="test",pipeline_name="p",stage_name="ignores the signal"}':
        1,
    });
  });
});

Deno.test("signal ends the scope as a failure with its reason, counted as cancelled", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    let scope: PipelineScope | undefined;
    const result = pipeline("p", { signal: caller.signal }, (pipeline) => {
      scope = pipeline;
      return stage("s", until);
    });
    const reason = new Error("Tab closed");
    caller.abort(reason);
    assertStrictEquals(await result.catch((error) => error), reason);
    assertStrictEquals(scope?.signal.reason, reason);

    const alone = new AbortController();
    await pipeline("q", async () => {
      const result = stage("s", { signal: alone.signal }, never);
      alone.abort(reason);
      assertStrictEquals(await result.catch((error) => error), reason);
    });
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "failure")]: 1,
      [cancelledTotal(pipelineTotal("p", "failure"))]: 1,
      [stageTotal("p", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("p", "s", "failure"))]: 1,
      [pipelineTotal("q", "success")]: 1,
      [stageTotal("q", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("q", "s", "failure"))]: 1,
    });
  });
});

Deno.test("signal ends the scope as a timeout if its reason is one, not as cancelled", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const signal = AbortSignal.timeout(5);
    const error = await pipeline(
      "p",
      { signal },
      () => Promise.all([stage("s", until), sleep(20)]),
    ).catch((error) => error);
    assertStrictEquals(error, signal.reason);
    assertEquals(error.name, "TimeoutError");
    await sleep(20);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
    });
  });
});

Deno.test("signal that is already aborted prevents the call of the function", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const reason = new Error("Gone");
    const signal = AbortSignal.abort(reason);
    let runs = 0;
    const run = () => runs++;
    assertStrictEquals(
      await Promise.resolve(pipeline("p", { signal }, run)).catch((e) => e),
      reason,
    );
    await pipeline("q", async () => {
      const result = stage("s", { signal }, () => Promise.resolve(run()));
      assertStrictEquals(await result.catch((error) => error), reason);
    });
    assertEquals(runs, 0);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "failure")]: 1,
      [cancelledTotal(pipelineTotal("p", "failure"))]: 1,
      [pipelineTotal("q", "success")]: 1,
      [stageTotal("q", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("q", "s", "failure"))]: 1,
    });
  });
});

Deno.test("signal that aborts during synchronous code leaves the return value", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    assertEquals(
      pipeline("sync", { signal }, () => {
        caller.abort(new Error("Gone"));
        return stage("s", () => "value");
      }),
      "value",
    );
    const other = new AbortController();
    const result = pipeline("async", { signal: other.signal }, async () => {
      const first = stage("s", never);
      other.abort(new Error("Gone"));
      await first;
    });
    await assertRejects(() => result, Error, "Gone");
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("sync", "success")]: 1,
      [stageTotal("sync", "s", "success")]: 1,
      [pipelineTotal("async", "failure")]: 1,
      [cancelledTotal(pipelineTotal("async", "failure"))]: 1,
      [stageTotal("async", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("async", "s", "failure"))]: 1,
    });
  });
});

Deno.test("signal of many scopes has one listener, and none once they are settled", async () => {
  const { signal, listeners } = countedSignal();
  await captureMetrics(OPTIONS, async () => {
    await Promise.all(
      Array.from(
        { length: 50 },
        (_, i) =>
          pipeline("p", { signal }, async () => {
            stage("sync", { signal }, () => {});
            await stage("s", { signal }, () => Promise.resolve());
            if (i % 2) throw new Error("No");
          }).catch(() => {}),
      ),
    );
  });
  assertEquals(listeners, { now: 0, most: 1 });
});

Deno.test("signal of many scopes ends the open ones, innermost first", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    const order: string[] = [];
    const note = (name: string, promise: Promise<unknown>) =>
      promise.catch(() => order.push(name));
    await pipeline("p", async () => {
      const all = note(
        "outer",
        stage("outer", { signal }, async () => {
          await stage("done", { signal }, () => Promise.resolve());
          await note("inner", stage("inner", { signal }, never));
        }),
      );
      await sleep(1);
      caller.abort(new Error("Gone"));
      await all;
    });
    assertEquals(order, ["inner", "outer"]);
    assertEquals(await samplesOf(metrics, /stage_total$/), {
      [stageTotal("p", "outer", "failure")]: 1,
      [stageTotal("p", "done", "success")]: 1,
      [stageTotal("p", "inner", "failure")]: 1,
    });
  });
});

Deno.test("pipeline() that throws aborts its signal, and open stages end later", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("First to fail");
    const open: Promise<unknown>[] = [];
    const reasons: unknown[] = [];
    const result = pipeline("p", () => {
      open.push(
        stage("shared", (scope) => until(scope)).catch((e) => reasons.push(e)),
        stage("own", { timeout: 60_000 }, (scope) => until(scope))
          .catch((e) => reasons.push(e)),
        pipeline("inner", (scope) => until(scope))
          .catch((e) => reasons.push(e)),
        stage("ignores the signal", () => sleep(5)),
      );
      return Promise.race([...open, Promise.reject(error)]);
    });
    assertStrictEquals(await result.catch((error) => error), error);
    await Promise.all(open);
    assertEquals(reasons, [error, error, error]);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "failure")]: 1,
      [pipelineTotal("inner", "failure")]: 1,
      [stageTotal("p", "shared", "failure")]: 1,
      [stageTotal("p", "own", "failure")]: 1,
      [stageTotal("p", "ignores the signal", "success")]: 1,
    });
  });
});

Deno.test("pipeline() that throws aborts the signals of nested and later scopes", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("No");
    const signals: AbortSignal[] = [];
    const { promise: held, resolve: release } = Promise.withResolvers<void>();
    let inner: Promise<unknown> | undefined;
    const outer = pipeline("outer", async () => {
      inner = pipeline("middle", () =>
        pipeline("inner", async (scope) => {
          signals.push(scope.signal);
          await stage("s", { timeout: 60_000 }, async ({ signal }) => {
            signals.push(signal);
            await held;
            pipeline("later", ({ signal }) => signals.push(signal));
          });
        }));
      await Promise.resolve();
      throw error;
    });
    await assertRejects(() => outer, Error, "No");
    release();
    await inner;
    assertEquals(
      signals.map(({ aborted, reason }) => [aborted, reason]),
      Array(3).fill([true, error]),
    );
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("outer", "failure")]: 1,
      [pipelineTotal("middle", "success")]: 1,
      [pipelineTotal("inner", "success")]: 1,
      [pipelineTotal("later", "success")]: 1,
      [stageTotal("inner", "s", "success")]: 1,
    });
  });
});

Deno.test("signal of a pipeline ends scopes nested deeper than the stack allows", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const nest = async (levels: number): Promise<void> => {
      await Promise.resolve();
      if (levels === 0) return await never();
      await pipeline("inner", () => nest(levels - 1));
    };
    const controller = new AbortController();
    const { signal } = controller;
    const outer = pipeline("outer", { signal }, () => nest(20_000));
    // All scopes have started by then.
    setTimeout(() => controller.abort(new Error("No")), 0);
    await assertRejects(() => outer, Error, "No");
    assertEquals(await samplesOf(metrics, /_(total|in_progress)$/), {
      [pipelineTotal("outer", "failure")]: 1,
      [cancelledTotal(pipelineTotal("outer", "failure"))]: 1,
      [pipelineTotal("inner", "failure")]: 20_000,
      [cancelledTotal(pipelineTotal("inner", "failure"))]: 20_000,
    });
  });
});

Deno.test("signal replaced in the options later keeps no listener", async () => {
  const { signal, listeners } = countedSignal();
  await captureMetrics(OPTIONS, async () => {
    const options: PipelineOptions = { signal };
    await pipeline("p", options, () => {
      assertEquals(listeners.now, 1);
      options.signal = undefined;
      return Promise.resolve();
    });
    assertEquals(listeners.now, 0);
  });
});

Deno.test("stage() started after its pipeline timed out runs with an aborted signal", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise: done, resolve } = Promise.withResolvers<void>();
    await assertRejects(() =>
      pipeline("p", { timeout: 5 }, async (scope) => {
        await stage("work", until).catch(() => {});
        assertEquals(scope.signal.aborted, true);
        await stage("clean up", async ({ signal }) => {
          assert(signal.aborted);
          await sleep(1);
        });
        await stage("limited", { timeout: 60_000 }, ({ signal }) => {
          assert(signal.aborted);
          return sleep(1);
        });
        await pipeline("inner", async ({ signal }) => {
          assert(signal.aborted);
          await stage("own", () => sleep(1));
        });
        resolve();
      })
    );
    await done;
    await sleep(0);
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 1,
      [pipelineTotal("inner", "success")]: 1,
      [stageTotal("p", "work", "timeout")]: 1,
      [stageTotal("p", "clean up", "success")]: 1,
      [stageTotal("p", "limited", "success")]: 1,
      [stageTotal("inner", "own", "success")]: 1,
    });
  });
});

Deno.test("timeout of an outer pipeline limits an inner one, but not the reverse", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("outer", { timeout: 60_000 }, async () => {
      await assertRejects(
        () => pipeline("short", { timeout: 1 }, () => stage("s", never)),
        DOMException,
        'Pipeline "short" timed out after 1 ms',
      );
      assertEquals(currentPipeline()?.name, "outer");
    });
    await assertRejects(
      () =>
        pipeline(
          "outer",
          { timeout: 5 },
          () => pipeline("long", { timeout: 60_000 }, () => stage("s", never)),
        ),
      DOMException,
      'Pipeline "outer" timed out after 5 ms',
    );
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("outer", "success")]: 1,
      [pipelineTotal("outer", "timeout")]: 1,
      [pipelineTotal("short", "timeout")]: 1,
      [pipelineTotal("long", "timeout")]: 1,
      [stageTotal("short", "s", "timeout")]: 1,
      [stageTotal("long", "s", "timeout")]: 1,
    });
  });
});

Deno.test("timeout followed by a fallback causes no issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const answer = await pipeline("p", async () => {
      return await stage("model", { timeout: 1 }, never)
        .catch(() => stage("fallback", () => "cached"));
    });
    assertEquals(answer, "cached");
    assertEquals(await samplesOf(metrics, /_issues_total$/), {});
  });
});

Deno.test("scope.signal is the pipeline's unless the stage has limits of its own", async () => {
  await captureMetrics(OPTIONS, async () => {
    await pipeline("p", async (scope) => {
      const shared = stage("s", ({ signal }) => signal);
      assertStrictEquals(shared, scope.signal);
      const own = stage("s", { timeout: 60_000 }, ({ signal }) => signal);
      assert(own !== scope.signal);
      assertEquals(own.aborted, false);
      await Promise.resolve();
    });
    assertEquals(stage("orphan", ({ signal }) => signal.aborted), false);
  });
});

Deno.test("timeout of a wrapper applies to each call", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const run = pipeline("p", { timeout: 5 })((ms: number) =>
      ms === 0 ? Promise.resolve("quick") : never()
    );
    assertEquals(await run(0), "quick");
    await assertRejects(() => run(1), DOMException, "timed out after 5 ms");
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("p", "timeout")]: 1,
    });
  });
});

Deno.test("timeout of a handle makes a later close() a no-op without an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const handle = openPipeline("p", { timeout: 5 });
    const open = handle.stage("s", () => until(handle));
    await assertRejects(
      () => open,
      DOMException,
      'Pipeline "p" timed out after 5 ms',
    );
    assertEquals(handle.signal.aborted, true);
    handle.close();
    handle.fail(new Error("Too late"));
    handle[Symbol.dispose]();
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
    });
  });
});

Deno.test("signal's reason is classified by the call, then by the instance", async () => {
  const metricsOptions = {
    ...OPTIONS,
    classifyError: (error: unknown) =>
      error === "shutdown" ? "timeout" as const : undefined,
  };
  await captureMetrics(metricsOptions, async (metrics) => {
    const runs = [
      // First the call's classifier, then the instance's, then the library's.
      ["budget", () => "timeout" as const],
      ["shutdown", () => undefined],
      ["shutdown", () => "failure" as const],
      ["tab closed", undefined],
    ] as const;
    for (const [reason, classifyError] of runs) {
      for (const isBeforehand of [true, false]) {
        const caller = new AbortController();
        if (isBeforehand) caller.abort(reason);
        const result = pipeline(
          "p",
          { signal: caller.signal, classifyError },
          () => stage("s", never),
        );
        caller.abort(reason);
        assertEquals(await result.catch((error) => error), reason);
      }
    }
    assertEquals(await samplesOf(metrics, TOTALS), {
      [pipelineTotal("p", "timeout")]: 4,
      [pipelineTotal("p", "failure")]: 4,
      [cancelledTotal(pipelineTotal("p", "failure"))]: 4,
      [stageTotal("p", "s", "timeout")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
      [cancelledTotal(stageTotal("p", "s", "failure"))]: 2,
    });
  });
});

Deno.test("timeout does not change an error's stack", async () => {
  const fail = async () => {
    await sleep(1);
    throw new Error("Deep inside");
  };
  async function stackOf(run: () => Promise<unknown>): Promise<string> {
    async function caller() {
      await run();
    }
    return await caller().catch((error) => error.stack);
  }
  // Bun's stacks do not cross a `then`, with or without limits.
  const isFollowed = /\bcaller\b/.test(
    await stackOf(() => Promise.resolve().then(fail).then((value) => value)),
  );
  await captureMetrics(OPTIONS, async () => {
    const { signal } = new AbortController();
    for (const options of [{}, { timeout: 60_000 }, { signal }]) {
      const stack = await stackOf(() =>
        pipeline("p", options, () => stage("s", options, fail))
      );
      assertEquals(/\bcaller\b/.test(stack), isFollowed, stack);
    }
  });
});

Deno.test("signal aborted by a classifier does not record the scope twice", async () => {
  const caller = new AbortController();
  const gone = new Error("Gone");
  // Classifiers are called after the code has ended, and before it is recorded.
  const hook = () => {
    caller.abort(gone);
    return undefined;
  };
  for (
    const run of [
      () =>
        pipeline(
          "p",
          { signal: caller.signal, classifyResult: hook },
          () => Promise.resolve(),
        ),
      () =>
        pipeline(
          "p",
          { signal: caller.signal, classifyError: hook },
          () => Promise.reject(new Error("No")),
        ),
      () =>
        pipeline("p", { signal: caller.signal }, async ({ setOutcome }) => {
          await Promise.resolve();
          setOutcome("nonsense" as "failure");
        }),
    ]
  ) {
    await captureMetrics({ ...OPTIONS, onIssue: hook }, async (metrics) => {
      await run().catch(() => {});
      const samples = await samplesOf(metrics, /pipeline_(total|in_progress)$/);
      assertEquals(Object.values(samples), [1]);
    });
  }
});

Deno.test("stage() started by an abort listener has an aborted signal", async () => {
  await captureMetrics(OPTIONS, async () => {
    const reasons: unknown[] = [];
    const limits = { timeout: 60_000 };
    const result = pipeline(
      "p",
      { timeout: 5 },
      () =>
        stage("a", limits, ({ signal }) => {
          signal.addEventListener("abort", () => {
            stage("b", limits, ({ signal }) => reasons.push(signal.reason));
          });
          return never();
        }),
    );
    const error = await result.catch((error) => error);
    assertEquals(error.name, "TimeoutError");
    assertStrictEquals(reasons[0], error);
  });
});

Deno.test("signal does not cancel a handle that another listener has closed", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    const handle = openPipeline("p", { signal });
    const first = handle.stage("first", { signal }, ({ signal }) => {
      signal.addEventListener("abort", () => handle.close());
      return never();
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    const second = handle.stage("second", () => promise);
    caller.abort(new Error("Gone"));
    await assertRejects(() => first, Error, "Gone");
    resolve();
    await second;
    assertEquals(await samplesOf(metrics, /(pipeline|stage)_total$/), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "first", "failure")]: 1,
      [stageTotal("p", "second", "success")]: 1,
    });
  });
});

Deno.test("scope.signal first read after its stage returned is still the pipeline's", async () => {
  await captureMetrics(OPTIONS, async () => {
    let late: AbortSignal | undefined;
    const result = pipeline("p", { timeout: 5 }, async () => {
      const scope = await stage("s", (scope) => Promise.resolve(scope));
      late = scope.signal;
      await never();
    });
    await assertRejects(() => result, DOMException, "timed out");
    assertEquals(late?.aborted, true);
  });
});

Deno.test("scope.signal of an ended pipeline aborts with the outer pipeline", async () => {
  await captureMetrics(OPTIONS, async () => {
    const signals: AbortSignal[] = [];
    const error = new Error("No");
    const outer = pipeline("outer", async () => {
      pipeline("middle", ({ signal }) => {
        signals.push(signal);
        pipeline("inner", () => {
          stage("left", ({ signal }) => {
            signals.push(signal);
            return never();
          });
        });
      });
      await Promise.resolve();
      throw error;
    });
    await assertRejects(() => outer, Error, "No");
    assertEquals(signals.map(({ reason }) => reason), [error, error]);
  });
});

Deno.test("pipeline() returns while a stage of another copy is still running", async () => {
  const copy = await loadCopy();
  await captureMetrics(OPTIONS, async () => {
    const signals: AbortSignal[] = [];
    const error = new Error("No");
    const outer = pipeline("outer", async () => {
      const result = pipeline("middle", ({ signal }) => {
        signals.push(signal);
        copy.stage("left", ({ signal }) => {
          signals.push(signal);
          return never();
        });
        return "value";
      });
      assertEquals(result, "value");
      await Promise.resolve();
      throw error;
    });
    await assertRejects(() => outer, Error, "No");
    assertEquals(signals.map(({ reason }) => reason), [error, error]);
  });
});
