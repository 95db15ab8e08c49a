import {
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import {
  currentPipeline,
  openPipeline,
  pipeline,
  recordStageMetrics,
  stage,
  stageStream,
} from "../../mod.ts";
import { captureMetrics, manualClock } from "../../src/testing.ts";
import {
  cancelledTotal,
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 1; i <= count; i++) {
    await Promise.resolve();
    yield i;
  }
}

/** Returns a stream that pulls no chunk before it is read. */
function readableOf(
  chunks: unknown[],
  hooks: { onPull?(): void; onCancel?(reason: unknown): void } = {},
): ReadableStream {
  const left = [...chunks];
  return new ReadableStream({
    pull(controller) {
      hooks.onPull?.();
      if (left.length > 0) controller.enqueue(left.shift());
      else controller.close();
    },
    cancel(reason) {
      hooks.onCancel?.(reason);
    },
  }, { highWaterMark: 0 });
}

Deno.test("stageStream() of an async iterable yields its chunks, and is recorded once", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const stream = pipeline("p", () => stageStream("s", numbers(3)));
    assertEquals(await samplesOf(metrics), {});
    assertEquals(await Array.fromAsync(stream), [1, 2, 3]);
    assertEquals(await Array.fromAsync(stream), []);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stageStream() accepts the body of a Response", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const response = pipeline("p", () => {
      const { body } = new Response("Hello, Ada!");
      return new Response(stageStream("s", body));
    });
    assertEquals(await samplesOf(metrics), {});
    assertEquals(await response.text(), "Hello, Ada!");
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stageStream() returns null for null, and records nothing", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const empty = pipeline(
      "p",
      () => stageStream("s", new Response(null).body),
    );
    assertEquals(empty, null);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
    });
  });
});

Deno.test("stageStream() of a byte stream is a byte stream", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const source = () => {
      let left = 3;
      return new ReadableStream({
        type: "bytes",
        pull(controller) {
          if (left-- > 0) controller.enqueue(new Uint8Array([left, left]));
          else {
            controller.close();
            controller.byobRequest?.respond(0);
          }
        },
      });
    };
    const reader = pipeline("p", () => stageStream("s", source()))
      .getReader({ mode: "byob" });
    const read: number[] = [];
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(1));
      if (done) break;
      read.push(...value);
    }
    assertEquals(read, [2, 2, 1, 1, 0, 0]);

    const plain = pipeline("p", () => stageStream("s", source()));
    assertEquals(
      (await Array.fromAsync(plain)).map((chunk) => [...chunk]),
      [[2, 2], [1, 1], [0, 0]],
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 2,
      [stageTotal("p", "s", "success")]: 2,
    });
    const text = pipeline("p", () => stageStream("s", readableOf(["a"])));
    assertThrows(() => text.getReader({ mode: "byob" }), TypeError);
    await text.cancel();
  });
});

Deno.test("stageStream() keeps backpressure, and pulls nothing ahead", async () => {
  await captureMetrics(OPTIONS, async () => {
    let pulls = 0;
    const stream = pipeline(
      "p",
      () => stageStream("s", readableOf([1, 2, 3], { onPull: () => pulls++ })),
    );
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(pulls, 0);
    const reader = stream.getReader();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(pulls, 1);
    await reader.cancel();
  });
});

Deno.test("stageStream() passes on an error of the source, and classifies it", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("Broken source");
    const late = new DOMException("Too late", "TimeoutError");
    async function* broken(error: unknown) {
      yield 1;
      await Promise.resolve();
      throw error;
    }
    const readable = (error: unknown) =>
      readableOf([1]).pipeThrough(
        new TransformStream({
          flush() {
            throw error;
          },
        }),
      );
    for (
      const [source, expected] of [
        [broken(error), error],
        [readable(error), error],
        [broken(late), late],
      ] as const
    ) {
      const stream = pipeline("p", () => stageStream("s", source));
      const thrown = await Array.fromAsync(stream).catch((error) => error);
      assertStrictEquals(thrown, expected);
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
    });
  });
});

Deno.test("stageStream() counts an early stop by the consumer as cancelled success", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const stops: unknown[] = [];
    async function* source() {
      try {
        yield* numbers(9);
      } finally {
        stops.push("returned");
      }
    }
    const iterable = pipeline("p", () => stageStream("s", source()));
    for await (const number of iterable) {
      if (number === 2) break;
    }
    const readable = pipeline(
      "p",
      () =>
        stageStream(
          "s",
          readableOf([1, 2], { onCancel: (reason) => stops.push(reason) }),
        ),
    );
    await readable.cancel("Tab closed");
    assertEquals(stops, ["returned", "Tab closed"]);
    const expected = {
      [pipelineTotal("p", "success")]: 2,
      [cancelledTotal(pipelineTotal("p", "success"))]: 2,
      [stageTotal("p", "s", "success")]: 2,
      [cancelledTotal(stageTotal("p", "s", "success"))]: 2,
    };
    assertEquals(await samplesOf(metrics), expected);
  });
});

Deno.test("stageStream() passes values, return() and throw() to the source", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const received: unknown[] = [];
    async function* source(): AsyncGenerator<number, string, unknown> {
      received.push(yield 1);
      try {
        received.push(yield 2);
      } catch (error) {
        received.push(error);
      }
      yield 3;
      return "end";
    }
    const stream = pipeline("p", () => stageStream("s", source()));
    const iterator = stream[Symbol.asyncIterator]() as AsyncIterator<unknown>;
    await iterator.next();
    await iterator.next("a");
    assertEquals(await iterator.throw!("b"), { done: false, value: 3 });
    assertEquals(await iterator.next(), { done: true, value: "end" });
    assertEquals(received, ["a", "b"]);

    // A source without return() and throw().
    const bare: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: 1 }),
      }),
    };
    const closable: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => Promise.resolve({ done: false, value: 1 }),
        return() {
          received.push("returned");
          return Promise.resolve({ done: true, value: undefined });
        },
      }),
    };
    const open = (source: AsyncIterable<number>) =>
      pipeline("p", () => stageStream("s", source))[Symbol.asyncIterator]();
    assertEquals(await open(bare).return!("bye"), { done: true, value: "bye" });
    const error = new Error("Thrown in");
    assertStrictEquals(await open(bare).throw!(error).catch((e) => e), error);
    assertStrictEquals(
      await open(closable).throw!(error).catch((e) => e),
      error,
    );
    assertEquals(received, ["a", "b", "returned"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 4,
      [cancelledTotal(pipelineTotal("p", "success"))]: 3,
      [stageTotal("p", "s", "success")]: 4,
      [cancelledTotal(stageTotal("p", "s", "success"))]: 3,
    });
  });
});

Deno.test("stageStream() passes on concurrent pulls at once", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let active = 0;
    let most = 0;
    let count = 0;
    const source: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        async next() {
          const value = ++count;
          most = Math.max(most, ++active);
          await new Promise((resolve) => setTimeout(resolve));
          active--;
          return value <= 3
            ? { done: false, value }
            : { done: true, value: undefined };
        },
      }),
    };
    const iterator = pipeline("p", () => stageStream("s", source))
      [Symbol.asyncIterator]();
    const results = await Promise.all(
      [1, 2, 3, 4].map(() => iterator.next()),
    );
    assertEquals(results.map(({ value }) => value), [1, 2, 3, undefined]);
    assertEquals(most, 4);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stageStream() runs a generator inside its pipeline for any consumer", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const seen: unknown[] = [];
    async function* generator() {
      for (let i = 0; i < 2; i++) {
        seen.push(currentPipeline()?.name);
        await stage("chunk", () => Promise.resolve());
        yield i;
      }
    }
    const stream = pipeline("p", () => stageStream("a", generator()));
    await pipeline("other", async () => {
      await Array.fromAsync(stream);
      assertEquals(currentPipeline()?.name, "other");
    });
    assertEquals(seen, ["p", "p"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("other", "success")]: 1,
      [stageTotal("p", "a", "success")]: 1,
      [stageTotal("p", "chunk", "success")]: 2,
    });
  });
});

Deno.test("stageStream() runs a ReadableStream's source inside its pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const seen: unknown[] = [];
    const readable = readableOf([1], {
      onPull: () => seen.push(currentPipeline()?.name),
      onCancel: () => seen.push(currentPipeline()?.name),
    });
    const stream = pipeline("p", () => stageStream("b", readable));
    await pipeline("other", async () => {
      const reader = stream.getReader();
      await reader.read();
      await reader.cancel();
      assertEquals(currentPipeline()?.name, "other");
    });
    assertEquals(seen, ["p", "p"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [cancelledTotal(pipelineTotal("p", "success"))]: 1,
      [pipelineTotal("other", "success")]: 1,
      [stageTotal("p", "b", "success")]: 1,
      [cancelledTotal(stageTotal("p", "b", "success"))]: 1,
    });
  });
});

Deno.test("pipeline() returns at once, and stays open until its last stream ends", async () => {
  const clock = manualClock();
  await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
    const [one, two] = await pipeline("p", async () => {
      await Promise.resolve();
      clock.advance(1);
      return [
        stageStream("one", numbers(1)),
        stageStream("two", readableOf([1])),
      ] as const;
    });
    assertEquals(await samplesOf(metrics, /pipeline_(total|in_progress)/), {
      'pipeline_in_progress{lane="test",pipeline_name="p"}': 1,
    });
    clock.advance(1);
    await Array.fromAsync(one);
    assertEquals(await samplesOf(metrics), {
      [stageTotal("p", "one", "success")]: 1,
    });
    clock.advance(2);
    await Array.fromAsync(two);
    assertEquals(await samplesOf(metrics, /_total$|_sum$|_in_progress$/), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "one", "success")]: 1,
      [stageTotal("p", "two", "success")]: 1,
      'pipeline_duration_seconds_sum{lane="test",pipeline_name="p",status="success"}':
        4,
      'stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="one",outcome="success"}':
        1,
      'stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="two",outcome="success"}':
        3,
    });
  });
});

Deno.test("stageStream() inside another stream's source does not decide the outcome", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* fails() {
      yield "never";
      throw new Error("No");
    }
    const answer = pipeline("p", () =>
      stageStream(
        "answer",
        async function* () {
          try {
            yield* stageStream("model", fails());
          } catch {
            for await (const first of stageStream("fallback", numbers(2))) {
              yield `fallback ${first}`;
              break;
            }
          }
        }(),
      ));
    assertEquals(await Array.fromAsync(answer), ["never", "fallback 1"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "answer", "success")]: 1,
      [stageTotal("p", "model", "failure")]: 1,
      [stageTotal("p", "fallback", "success")]: 1,
      [cancelledTotal(stageTotal("p", "fallback", "success"))]: 1,
    });
  });
});

Deno.test("stageStream() that is stopped after its end is recorded once", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const [one, two] = pipeline("p", () =>
      [
        stageStream("one", numbers(1)),
        stageStream("two", numbers(1)),
      ] as const);
    const iterator = one[Symbol.asyncIterator]();
    for (let i = 0; i < 3; i++) await iterator.next();
    await iterator.return(undefined);
    assertEquals(await samplesOf(metrics), {
      [stageTotal("p", "one", "success")]: 1,
    });
    await Array.fromAsync(two);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "one", "success")]: 1,
      [stageTotal("p", "two", "success")]: 1,
    });
  });
});

Deno.test("stageStream() lets a source start stages in cleanup after a deadline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    async function* source() {
      try {
        yield 1;
        yield 2;
      } finally {
        await stage("clean up", () => Promise.resolve());
        resolve();
      }
    }
    const stream = pipeline(
      "p",
      { timeout: 5 },
      () => Promise.resolve(stageStream("s", source())),
    );
    await (await stream)[Symbol.asyncIterator]().next();
    await promise;
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
      [stageTotal("p", "clean up", "success")]: 1,
    });
  });
});

Deno.test("stageStream() that ends before the callback leaves it the outcome", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("p", async () => {
      const broken = readableOf([]).pipeThrough(
        new TransformStream({
          flush() {
            throw new Error("Broken source");
          },
        }),
      );
      await assertRejects(() => Array.fromAsync(stageStream("s", broken)));
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("pipeline() that throws does not end its streams", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let stream: AsyncIterable<number> | undefined;
    await assertRejects(() =>
      pipeline("p", () => {
        stream = stageStream("s", numbers(2));
        return Promise.reject(new Error("No"));
      })
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
    });
    await Array.fromAsync(stream!);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stageStream() passes its TimeoutError to the consumer and the source", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const stops: string[] = [];
    async function* slow() {
      try {
        yield 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
        yield 2;
      } finally {
        stops.push("iterable");
      }
    }
    const iterable = pipeline(
      "p",
      () => stageStream("s", { timeout: 5 }, slow()),
    );
    const iterator = iterable[Symbol.asyncIterator]();
    await iterator.next();
    await assertRejects(
      () => iterator.next(),
      DOMException,
      'Stage "s" of pipeline "p" timed out after 5 ms',
    );
    assertEquals(await iterator.next(), { done: true, value: undefined });

    const stuck = new ReadableStream({
      cancel: () => {
        stops.push("readable");
      },
    });
    const readable = pipeline(
      "p",
      () => stageStream("s", { timeout: 5 }, stuck),
    );
    await assertRejects(() => Array.fromAsync(readable), DOMException, "5 ms");
    // An unread stream throws when it is read.
    const unread = pipeline(
      "p",
      () => stageStream("s", { timeout: 1 }, slow()),
    );
    await new Promise((resolve) => setTimeout(resolve, 30));
    await assertRejects(() => Array.fromAsync(unread), DOMException, "1 ms");
    assertEquals(stops.sort(), ["iterable", "readable"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "timeout")]: 3,
      [stageTotal("p", "s", "timeout")]: 3,
    });
  });
});

Deno.test("pipeline() settles open streams first when its timeout fires", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const stuck = () => new ReadableStream();
    const stream = await pipeline("p", { timeout: 5 }, async () => {
      await Promise.resolve();
      return stageStream("s", stuck());
    });
    await assertRejects(
      () => Array.fromAsync(stream),
      DOMException,
      'Pipeline "p" timed out after 5 ms',
    );
    const during = pipeline("p", { timeout: 5 }, async () => {
      await Array.fromAsync(stageStream("s", stuck()));
    });
    await assertRejects(() => during, DOMException, 'Pipeline "p" timed out');
    assertEquals(await samplesOf(metrics, /_total$|_in_progress$/), {
      [pipelineTotal("p", "timeout")]: 2,
      [stageTotal("p", "s", "timeout")]: 2,
    });
  });
});

Deno.test("stageStream() ends when its signal aborts, or was aborted before", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    const streams = [
      pipeline("p", () => stageStream("s", { signal }, new ReadableStream())),
    ];
    const read = Array.fromAsync(streams[0]!);
    caller.abort(new Error("Gone"));
    await assertRejects(() => read, Error, "Gone");
    const late = pipeline("p", () =>
      [
        stageStream("s", { signal }, readableOf([1])),
        stageStream("s", { signal }, numbers(1)),
      ] as const);
    for (const stream of late) {
      await assertRejects(
        () => Array.fromAsync<unknown>(stream),
        Error,
        "Gone",
      );
    }
    const failed = stageTotal("p", "s", "failure");
    const samples = await samplesOf(metrics);
    assertEquals([samples[failed], samples[cancelledTotal(failed)]], [3, 3]);
  });
});

Deno.test("stageStream() records the time to the first chunk as the stage firstChunk", async () => {
  const clock = manualClock();
  await captureMetrics({ ...OPTIONS, clock }, async (metrics) => {
    async function* tokens(count: number) {
      for (let i = 0; i < count; i++) {
        clock.advance(0.5);
        yield i;
      }
      if (count === 0) throw new Error("No tokens");
    }
    const answer = (count: number) =>
      pipeline(
        "p",
        () => stageStream("all", { firstChunk: "first" }, tokens(count)),
      );
    await Array.fromAsync(answer(3));
    await assertRejects(() => Array.fromAsync(answer(0)));
    const sum = (stage: string, seconds: number) => ({
      [`stage_duration_seconds_sum{lane="test",pipeline_name="p",stage_name="${stage}",outcome="success"}`]:
        seconds,
    });
    assertEquals(await samplesOf(metrics, /stage_total$|stage.*_sum$/), {
      ...sum("all", 1.5),
      ...sum("first", 0.5),
      [stageTotal("p", "all", "success")]: 1,
      [stageTotal("p", "all", "failure")]: 1,
      [stageTotal("p", "first", "success")]: 1,
      [stageTotal("p", "first", "failure")]: 1,
    });
  });
});

Deno.test("stageStream() works on a handle and outside a pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const handle = openPipeline("p");
    const stream = handle.stageStream("s", numbers(1));
    handle.close();
    assertEquals(await samplesOf(metrics), {});
    await Array.fromAsync(stream);
    await Array.fromAsync(stageStream("orphan", numbers(1)));
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [stageTotal("unknown", "orphan", "success")]: 1,
      [issuesTotal("orphan_stage")]: 1,
    });
  });
});

Deno.test("stageStream() of a streamed response causes no issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* chunks() {
      yield await stage("render", () => Promise.resolve("<p>"));
      recordStageMetrics({
        stageName: "recorded",
        durationSec: 1,
        outcome: "success",
      });
      yield stage("render", () => "</p>");
    }
    const response = await pipeline("p", { timeout: 60_000 }, async () => {
      await Promise.resolve();
      const body = ReadableStream.from(stageStream("body", chunks()))
        .pipeThrough(new TextEncoderStream());
      return new Response(body);
    });
    assertEquals(await response.text(), "<p></p>");
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "body", "success")]: 1,
      [stageTotal("p", "render", "success")]: 2,
      [stageTotal("p", "recorded", "success")]: 1,
    });
  });
});

Deno.test("stageStream() throws for an invalid or locked source", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const call = stageStream as (...args: unknown[]) => unknown;
    for (const source of [undefined, 1, "text", {}, [1]]) {
      assertThrows(
        () => call("s", source),
        TypeError,
        "Cannot measure a stream: expected a ReadableStream, an async iterable",
      );
    }
    const locked = readableOf([1]);
    locked.getReader();
    assertThrows(() => stageStream("s", locked), TypeError);
    assertThrows(
      () => call("s", { timeout: NaN }, numbers(1)),
      RangeError,
      "Cannot measure a stream: timeout must not be NaN",
    );
    assertThrows(
      () => call("s", { firstChunk: 1 }, numbers(1)),
      TypeError,
      "firstChunk must be a string, got number",
    );
    assertEquals(await samplesOf(metrics), {});
  });
});
