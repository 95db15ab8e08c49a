/** Tests users' objects that throw while a scope starts, runs or ends. */
import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Readable } from "node:stream";
import {
  definePipeline,
  openPipeline,
  pipeline,
  stage,
  stageStream,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { issuesTotal, samplesOf } from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

const BROKEN = new Error("Broken");

function broken(): never {
  throw BROKEN;
}

/** Returns the numbers of running and ended scopes, without issues. */
async function countScopes(
  metrics: Parameters<typeof samplesOf>[0],
): Promise<{ running: number; ended: number; hookErrors: number }> {
  const samples = await samplesOf(metrics, /_in_progress$|_total$/);
  const sum = (pattern: RegExp) =>
    Object.entries(samples).filter(([name]) => pattern.test(name))
      .reduce((total, [, value]) => total + value, 0);
  return {
    running: sum(/_in_progress/),
    ended: sum(/^(?:pipeline|stage)_total/),
    hookErrors: samples[issuesTotal("hook_error")] ?? 0,
  };
}

/** Describes how a promise settles. */
function settled(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => ({ value }),
    (error) => ({ error: error instanceof TypeError ? "TypeError" : error }),
  );
}

/** Promises and similar objects that throw when they are read. */
const PROMISES: Readonly<Record<string, () => unknown>> = {
  "a proxy of a promise": () => new Proxy(Promise.resolve(1), {}),
  "a proxy with bound methods": () => {
    const target = Promise.resolve(1);
    return new Proxy(target, {
      get(_, key) {
        const value: unknown = Reflect.get(target, key);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  },
  "a proxy of a rejected promise": () => {
    const target = Promise.reject(BROKEN);
    target.catch(() => {});
    return new Proxy(target, {});
  },
  "a promise whose constructor throws": () =>
    Object.defineProperty(Promise.resolve(1), "constructor", { get: broken }),
  "a promise whose species throws": () => {
    class Species extends Promise<unknown> {
      static override get [Symbol.species](): PromiseConstructor {
        return broken();
      }
    }
    return new Species((resolve) => resolve(1));
  },
  "a promise without a constructor": () =>
    Object.defineProperty(Promise.resolve(1), "constructor", {
      value: undefined,
    }),
  "a thenable that throws": () => ({ then: broken }),
  "a thenable that throws after it called back": () => ({
    then(resolve: (value: unknown) => void) {
      resolve(1);
      broken();
    },
  }),
  "a thenable that calls back twice": () => ({
    then(resolve: (value: unknown) => void, reject: (error: unknown) => void) {
      reject(BROKEN);
      resolve(1);
    },
  }),
  "a thenable that rejects with itself": () => {
    const thenable = {
      then(_: unknown, reject: (error: unknown) => void) {
        reject(BROKEN);
      },
    };
    return thenable;
  },
  "a thenable for a proxy of a promise": () => ({
    then(resolve: (value: unknown) => void) {
      resolve(new Proxy(Promise.resolve(1), {}));
    },
  }),
};

for (const [name, make] of Object.entries(PROMISES)) {
  Deno.test(`pipeline() and stage() settle like ${name}`, async () => {
    for (const options of [undefined, { timeout: 60_000 }]) {
      await captureMetrics(OPTIONS, async (metrics) => {
        const expected = await settled((async () => await make())());
        const run = () => pipeline("p", options, () => make() as Promise<1>);
        assertEquals(await settled((async () => await run())()), expected);
        const inner = () => stage("s", options, () => make() as Promise<1>);
        assertEquals(
          await settled(pipeline("p", async () => await inner())),
          expected,
        );
        const { running, ended } = await countScopes(metrics);
        assertEquals({ running, ended }, { running: 0, ended: 3 });
      });
    }
  });
}

Deno.test("pipeline() rejects if a promise's constructor throws later", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const options of [undefined, { timeout: 60_000 }]) {
      const promise = Object.defineProperty(
        Promise.resolve(1),
        "constructor",
        // The engine's `then` reads the constructor again.
        { get: onceThenBroken(Promise) },
      );
      const result = pipeline("p", options, () => promise);
      assertEquals(await settled(result), { error: BROKEN });
    }
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 2 });
  });
});

Deno.test("pipeline() returns a value whose then cannot be read", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const value = Object.defineProperty({}, "then", { get: broken });
    assertStrictEquals(pipeline("p", () => value), value);
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    assertStrictEquals(pipeline("p", { timeout: 9_000 }, () => proxy), proxy);
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 2 });
  });
});

/** Returns a signal with replaced properties. */
function signalWith(properties: PropertyDescriptorMap): AbortSignal {
  return Object.defineProperties(new AbortController().signal, properties);
}

/** Returns a getter that throws from its second call on. */
function onceThenBroken<T>(value: T): () => T {
  let reads = 0;
  return () => reads++ === 0 ? value : broken();
}

/** Signals that are faulty only after the options have been checked. */
const SIGNALS: Readonly<Record<string, () => AbortSignal>> = {
  "addEventListener throws": () =>
    signalWith({ addEventListener: { value: broken } }),
  "addEventListener calls back and throws": () =>
    signalWith({
      addEventListener: {
        value(_: string, listener: () => void) {
          listener();
          broken();
        },
      },
    }),
  "removeEventListener throws": () =>
    signalWith({ removeEventListener: { value: broken } }),
  "removeEventListener throws on its second read": () =>
    signalWith({
      removeEventListener: { get: onceThenBroken(() => {}) },
    }),
  "aborted throws the second time": () =>
    signalWith({ aborted: { get: onceThenBroken(false) } }),
  "reason throws": () => signalWith({ reason: { get: broken } }),
};

for (const [name, make] of Object.entries(SIGNALS)) {
  Deno.test(`signal: a scope ends when ${name}`, async () => {
    await captureMetrics(OPTIONS, async (metrics) => {
      const callsBack = name.includes("calls back");
      const options = () => ({ signal: make() });
      const chunks = async function* () {
        yield 1;
      };
      const results = [
        pipeline("p", options(), () => 1),
        pipeline("p", options(), () => Promise.resolve(1)),
        pipeline("p", () => stage("s", options(), () => Promise.resolve(1))),
        pipeline("p", async () => {
          const stream = stageStream("s", options(), chunks());
          return (await Array.fromAsync(stream))[0];
        }),
      ].map((result) => settled(Promise.resolve(result)));
      openPipeline("p", options()).close();
      const [first, ...others] = await Promise.all(results);
      assertEquals(first, { value: 1 });
      // A signal that calls its listener cancels them.
      const expected = callsBack ? { error: undefined } : { value: 1 };
      assertEquals(others, others.map(() => expected));
      const { running } = await countScopes(metrics);
      assertEquals(running, 0);
    });
  });
}

Deno.test("signal: pipeline() throws for an invalid signal before it starts", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const refused: unknown[] = [
      signalWith({ aborted: { get: broken } }),
      signalWith({ addEventListener: { value: undefined } }),
      signalWith({ removeEventListener: { value: undefined } }),
    ];
    for (const each of refused) {
      const options = { signal: each as AbortSignal };
      assertThrows(
        () => pipeline("p", options, () => 1),
        TypeError,
        "Cannot run a pipeline: signal must be an AbortSignal, got object",
      );
    }
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 0 });
  });
});

Deno.test("signal: a frozen signal is observed, or is an issue in Deno", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const signal = Object.freeze(new AbortController().signal);
    const run = (fn: () => unknown) => pipeline("p", { signal }, fn);
    assertEquals(run(() => 1), 1);
    assertEquals(await run(() => Promise.resolve(1)), 1);
    const { running, ended, hookErrors } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 2 });
    assert(hookErrors === 0 || hookErrors === 2);
  });
});

Deno.test("signal: an aborted signal rejects with the error of reading its reason", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const signal = Object.defineProperty(AbortSignal.abort(), "reason", {
      get: broken,
    });
    const result = pipeline("p", { signal }, () => Promise.resolve(1));
    assertEquals(await settled(result), { error: BROKEN });
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 1 });
  });
});

Deno.test("signal: a signal whose reason throws cancels all its scopes", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    Object.defineProperty(signal, "reason", { get: broken });
    const results = ["a", "b"].map((name) =>
      settled(pipeline(name, { signal }, () => new Promise(() => {})))
    );
    caller.abort();
    assertEquals(await Promise.all(results), [
      { error: BROKEN },
      { error: BROKEN },
    ]);
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 2 });
  });
});

Deno.test("signal: a signal that refused a listener is observed later", async () => {
  await captureMetrics(OPTIONS, async () => {
    const caller = new AbortController();
    const { signal } = caller;
    const addEventListener = signal.addEventListener;
    Object.assign(signal, { addEventListener: broken });
    pipeline("p", { signal }, () => {});
    Object.assign(signal, { addEventListener });
    const result = settled(
      pipeline("p", { signal }, () => new Promise(() => {})),
    );
    caller.abort(BROKEN);
    assertEquals(await result, { error: BROKEN });
  });
});

Deno.test("options: getters that throw later do not affect the caller", async () => {
  for (const key of ["timeout", "signal"]) {
    await captureMetrics(OPTIONS, async (metrics) => {
      const options = Object.defineProperty({}, key, {
        get: onceThenBroken(undefined),
      });
      const run = () => pipeline("p", options, () => 1);
      assertEquals(
        await settled((async () => await run())()),
        { error: BROKEN },
      );
      const { running } = await countScopes(metrics);
      assertEquals(running, 0);
    });
  }
  for (const key of ["classifyError", "classifyResult"]) {
    await captureMetrics(OPTIONS, async (metrics) => {
      const options = () =>
        Object.defineProperty({}, key, { get: onceThenBroken(undefined) });
      assertEquals(pipeline("p", options(), () => 1), 1);
      const fail = () => pipeline("p", options(), broken);
      assertEquals(
        await settled((async () => await fail())()),
        { error: BROKEN },
      );
      const { running, ended, hookErrors } = await countScopes(metrics);
      assertEquals({ running, ended, hookErrors }, {
        running: 0,
        ended: 2,
        hookErrors: 1,
      });
    });
  }
});

Deno.test("timeout: a scope has no timeout if setTimeout() throws", async () => {
  const { setTimeout, clearTimeout } = globalThis;
  await captureMetrics(OPTIONS, async (metrics) => {
    try {
      globalThis.setTimeout = broken as unknown as typeof setTimeout;
      assertEquals(pipeline("p", { timeout: 9_000 }, () => 1), 1);
      globalThis.setTimeout = setTimeout;
      let timer: ReturnType<typeof setTimeout> | undefined;
      globalThis.clearTimeout = (id) => {
        timer = id as unknown as typeof timer;
        broken();
      };
      assertEquals(pipeline("p", { timeout: 9_000 }, () => 1), 1);
      clearTimeout(timer);
    } finally {
      Object.assign(globalThis, { setTimeout, clearTimeout });
    }
    const { running, ended, hookErrors } = await countScopes(metrics);
    assertEquals({ running, ended, hookErrors }, {
      running: 0,
      ended: 2,
      hookErrors: 2,
    });
  });
});

Deno.test("options: getters of declared options may throw and change", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const options: { signal?: AbortSignal } = {};
    const { run } = definePipeline("p", { stages: { s: options } });
    options.signal = "not a signal" as unknown as AbortSignal;
    assertEquals(run(() => stage("s", () => 1)), 1);
    Object.defineProperty(options, "signal", { get: broken });
    const failing = () => run(() => stage("s", () => 1));
    assertEquals(
      await settled((async () => await failing())()),
      { error: BROKEN },
    );
    const { running } = await countScopes(metrics);
    assertEquals(running, 0);
  });
});

Deno.test("tracing: a global that throws is not a provider", async () => {
  const key = Symbol.for("opentelemetry.js.api.1");
  const realm = globalThis as Record<symbol, unknown>;
  const before = Object.getOwnPropertyDescriptor(realm, key);
  await captureMetrics(OPTIONS, async (metrics) => {
    try {
      Object.defineProperty(realm, key, { get: broken, configurable: true });
      assertEquals(pipeline("p", () => stage("s", () => 1)), 1);
      assertEquals(stage("orphan", () => 1), 1);
      metrics.recordPipelineMetrics({
        pipelineName: "p",
        durationSec: 1,
        status: "success",
      });
    } finally {
      if (before === undefined) delete realm[key];
      else Object.defineProperty(realm, key, before);
    }
    const { running, ended } = await countScopes(metrics);
    assertEquals({ running, ended }, { running: 0, ended: 4 });
  });
});

/** Sources of streams that throw when they are read. */
const SOURCES: Readonly<Record<string, () => unknown>> = {
  "a ReadableStream whose getReader throws": () =>
    Object.assign(new ReadableStream(), { getReader: broken }),
  "a ReadableStream whose reader throws": () =>
    Object.assign(new ReadableStream(), {
      getReader: () => ({ read: broken, cancel: broken, releaseLock() {} }),
    }),
  "a ReadableStream whose results throw": () =>
    Object.assign(new ReadableStream(), {
      getReader: () => ({
        read: () =>
          Promise.resolve({
            get done() {
              return broken();
            },
          }),
        cancel: broken,
        releaseLock() {},
        get closed() {
          return broken();
        },
      }),
    }),
  "a ReadableStream whose reader returns nothing": () =>
    Object.assign(new ReadableStream(), {
      getReader: () => ({ read() {}, cancel() {}, releaseLock() {} }),
    }),
  "a byte stream of text": () =>
    Object.assign(new ReadableStream({ type: "bytes" }), {
      getReader: () => ({
        read: () => Promise.resolve({ done: false, value: "text" }),
        cancel: () => Promise.resolve(),
        releaseLock() {},
      }),
    }),
  "an iterable whose iterator throws": () => ({
    [Symbol.asyncIterator]: broken,
  }),
  "an iterable without an iterator": () => ({ [Symbol.asyncIterator]() {} }),
  "an iterator whose next throws": () => ({
    [Symbol.asyncIterator]: () => ({ next: broken }),
  }),
  "an iterator whose next cannot be read": () => ({
    [Symbol.asyncIterator]: () => ({
      get next() {
        return broken();
      },
    }),
  }),
  "an iterator whose results throw": () => ({
    [Symbol.asyncIterator]: () => ({
      next: () => ({
        get done() {
          return broken();
        },
      }),
    }),
  }),
  "an iterable whose tag throws": () => ({
    get [Symbol.toStringTag]() {
      return broken();
    },
    [Symbol.asyncIterator]: () => ({ next: () => ({ done: true }) }),
  }),
  "a proxy whose has() throws": () =>
    new Proxy({
      [Symbol.asyncIterator]: () => ({ next: () => ({ done: true }) }),
    }, { has: broken }),
  "a Readable that throws when it is listened to": () =>
    Object.assign(Readable.from([1]), { on: broken }),
  "a Readable that throws when it is read": () =>
    Object.assign(Readable.from([1]), { resume: broken }),
  "a Readable that throws when it is destroyed": () =>
    Object.assign(
      new Readable({
        read() {
          this.push("chunk");
        },
      }),
      { destroy: broken },
    ),
};

for (const [name, make] of Object.entries(SOURCES)) {
  Deno.test(`stageStream() ends with ${name}`, async () => {
    await captureMetrics(OPTIONS, async (metrics) => {
      const read = async (source: unknown, options?: object) => {
        const stream = pipeline(
          "p",
          () => stageStream("s", options, source as AsyncIterable<unknown>),
        );
        for await (const _ of stream) break;
      };
      const signal = AbortSignal.abort(BROKEN);
      await settled(read(make()));
      await settled(read(make));
      await settled(read(make(), { firstChunk: "first" }));
      await settled(read(make(), { signal }));
      const { running, ended } = await countScopes(metrics);
      assertEquals(running, 0);
      // A source may throw before its stage starts.
      assert(ended >= 4, `${ended} scopes`);
    });
  });
}

/** Wraps objects, and throws at the n-th operation on them. */
class FaultInjector {
  #left: number;

  constructor(operation: number) {
    this.#left = operation;
  }

  /** Whether there were too few operations to throw. */
  get hasNotThrown(): boolean {
    return this.#left >= 0;
  }

  /** Wraps an object, and every object reached from it. */
  wrap<T>(value: T): T {
    if (Object(value) !== value) return value;
    const target = value as object;
    return new Proxy(target, {
      get: (_, key) => {
        this.#operate();
        const found: unknown = Reflect.get(target, key);
        const own = Reflect.getOwnPropertyDescriptor(target, key);
        const isFixed = own?.configurable === false && own.writable === false;
        if (isFixed) return found;
        return typeof found === "function" && key !== "constructor"
          ? this.#wrapMethod(found, target)
          : this.wrap(found);
      },
      has: (_, key) => {
        this.#operate();
        return Reflect.has(target, key);
      },
      getPrototypeOf: () => {
        this.#operate();
        return Reflect.getPrototypeOf(target);
      },
    }) as T;
  }

  #wrapMethod(method: CallableFunction, target: object): unknown {
    return (...args: unknown[]) => {
      this.#operate();
      return this.wrap(Reflect.apply(method, target, args));
    };
  }

  #operate(): void {
    if (this.#left-- === 0) broken();
  }
}

async function* numbers() {
  yield 1;
  yield 2;
}

/** Reads one chunk of a stream, then stops it. */
async function readOne(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stageStream("s", { firstChunk: "f" }, source)) break;
}

/** Reads a stream to its end. */
async function readAll(source: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stageStream("s", { firstChunk: "f" }, source));
}

/** Uses of objects that throw at some operation. */
const USES: Readonly<Record<string, (faults: FaultInjector) => unknown>> = {
  "a promise": (each) => pipeline("p", () => each.wrap(Promise.resolve(1))),
  "a thenable": (each) =>
    pipeline("p", { timeout: 60_000 }, () =>
      stage("s", () =>
        each.wrap({
          then: (resolve: (value: unknown) => void) => resolve(1),
        }))),
  "a value": (each) =>
    pipeline(
      "p",
      {
        classifyResult: (value: { ok: boolean }) =>
          value.ok ? "success" : "failure",
      },
      () => each.wrap({ ok: true }),
    ),
  "an error": (each) =>
    pipeline("p", () =>
      stage("s", () => {
        throw each.wrap(new Error("E", { cause: new Error("C") }));
      })),
  "a rejection": (each) =>
    pipeline(
      "p",
      () => Promise.reject(each.wrap(new AggregateError([BROKEN]))),
    ),
  "options": (each) =>
    pipeline(
      "p",
      each.wrap({ timeout: 60_000, lane: "l", detached: false }),
      () => stage("s", each.wrap({ classifyError() {} }), broken),
    ),
  "a signal": (each) => {
    const { signal } = new AbortController();
    return pipeline("p", { signal: each.wrap(signal) }, async () => {
      await stage("s", { signal: each.wrap(signal) }, () => Promise.resolve());
    });
  },
  "a signal that aborts": (each) => {
    const caller = new AbortController();
    const signal = each.wrap(caller.signal);
    // Ends the pipeline if the signal cannot be observed.
    let stop = () => {};
    const result = pipeline(
      "p",
      { signal },
      () =>
        new Promise<void>((resolve) => {
          stop = resolve;
        }),
    );
    caller.abort();
    stop();
    return result;
  },
  "an aborted signal": (each) =>
    pipeline(
      "p",
      () => stage("s", { signal: each.wrap(AbortSignal.abort()) }, () => 1),
    ),
  "a signal's reason": (each) => {
    const signal = AbortSignal.abort(each.wrap(new Error("R")));
    const { close } = openPipeline("p", { signal });
    close();
    return pipeline(
      "p",
      () => readAll(stageStream("s", { signal }, numbers())),
    );
  },
  "a generator": (each) => pipeline("p", () => readAll(each.wrap(numbers()))),
  "a stopped generator": (each) =>
    pipeline("p", () => readOne(each.wrap(numbers()))),
  "a ReadableStream": (each) =>
    pipeline("p", () => readAll(each.wrap(ReadableStream.from([1, 2])))),
  "a stopped ReadableStream": (each) =>
    pipeline("p", () => readOne(each.wrap(ReadableStream.from([1, 2])))),
  "a declaration": (each) =>
    definePipeline(
      "p",
      each.wrap({ timeout: 60_000, stages: { s: { timeout: 60_000 } } }),
    ).run(() => stage("s", () => 1)),
};

for (const [name, use] of Object.entries(USES)) {
  Deno.test(`scope ends if any operation on ${name} throws`, async () => {
    let operations = 0;
    for (let isOver = false; !isOver; operations++) {
      const faults = new FaultInjector(operations);
      await captureMetrics(OPTIONS, async (metrics) => {
        // Without reading the error, which may throw.
        await (async () => await use(faults))().then(() => {}, () => {});
        const { running } = await countScopes(metrics);
        assertEquals(running, 0, `operation ${operations}`);
      });
      isOver = faults.hasNotThrown;
    }
    assert(operations > 2, `${operations} runs`);
  });
}

Deno.test("scope ends if any operation on a tracer throws", async () => {
  const context = { traceId: "1", spanId: "2", traceFlags: 1 };
  const span = {
    spanContext: () => context,
    setAttribute() {},
    setStatus() {},
    recordException() {},
    end() {},
  };
  const provider = { getTracer: () => ({ startSpan: () => span }) };
  // The first operation is the check of the option.
  let operations = 1;
  for (let isOver = false; !isOver; operations++) {
    const faults = new FaultInjector(operations);
    const options = { ...OPTIONS, tracing: faults.wrap(provider) };
    await captureMetrics(options, async (metrics) => {
      const run = pipeline("p", async () => {
        await stage("s", () => Promise.resolve(1));
        await readAll(numbers());
        stage("s", broken);
      });
      assertEquals(await settled(run), { error: BROKEN });
      const { running, ended } = await countScopes(metrics);
      assertEquals({ running, ended }, { running: 0, ended: 5 });
    });
    isOver = faults.hasNotThrown;
  }
  assert(operations > 10, `${operations} runs`);
});

Deno.test("scope ends if any reading of a clock throws", async () => {
  for (let reading = 0; reading < 12; reading++) {
    let readings = 0;
    const clock = () => readings++ === reading ? broken() : readings;
    await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
      await pipeline("p", async () => {
        await stage("s", () => Promise.resolve(1));
        await readAll(numbers());
      });
      const { running, ended } = await countScopes(metrics);
      assertEquals({ running, ended }, { running: 0, ended: 4 });
    });
  }
});
