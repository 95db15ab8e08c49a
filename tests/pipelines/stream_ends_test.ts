/** Tests the ends of streams: by the consumer, by the source, by an abort, and unread. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { Buffer } from "node:buffer";
import { EventEmitter, on } from "node:events";
import { PassThrough, Readable, Writable } from "node:stream";
import { pipeline as pipe } from "node:stream/promises";
import {
  definePipeline,
  openPipeline,
  pipeline,
  type PipelineScope,
  stage,
  stageStream,
  type StreamSource,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { runFixture } from "../support/process.ts";
import {
  cancelledTotal,
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

/** Matches all totals, and the numbers of scopes in progress. */
const ENDS = /_(total|in_progress)$/;

const CANCELLED = {
  [pipelineTotal("p", "success")]: 1,
  [cancelledTotal(pipelineTotal("p", "success"))]: 1,
  [stageTotal("p", "s", "success")]: 1,
  [cancelledTotal(stageTotal("p", "s", "success"))]: 1,
};

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 1; i <= count; i++) {
    await Promise.resolve();
    yield i;
  }
}

/** Waits for a turn of the event loop. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

Deno.test("stageStream() passes on return() while the source is waiting", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const emitter = new EventEmitter();
    const stream = pipeline(
      "p",
      () => stageStream("s", on(emitter, "job") as AsyncIterable<unknown>),
    );
    const iterator = stream[Symbol.asyncIterator]();
    const pending = iterator.next();
    assertEquals(emitter.listenerCount("job"), 1);
    await iterator.return!();
    assertEquals(emitter.listenerCount("job"), 0);
    assertEquals((await pending).done, true);
    assertEquals(await samplesOf(metrics, ENDS), CANCELLED);
  });
});

Deno.test("stageStream() records return() at once when a generator never settles it", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* stuck() {
      yield await new Promise<number>(() => {});
    }
    for (const method of ["return", "throw"] as const) {
      const iterator = pipeline("p", () => stageStream("s", stuck()));
      iterator.next();
      iterator[method](new Error("Enough")).catch(() => {});
    }
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "success")]: 2,
      [cancelledTotal(pipelineTotal("p", "success"))]: 2,
      [stageTotal("p", "s", "success")]: 2,
      [cancelledTotal(stageTotal("p", "s", "success"))]: 2,
    });
  });
});

Deno.test("stageStream() passes a pending chunk to a consumer that has returned", async () => {
  await captureMetrics(OPTIONS, async () => {
    const iterator = pipeline("p", () => stageStream("s", numbers(3)));
    const [first, second, end] = await Promise.all([
      iterator.next(),
      iterator.next(),
      iterator.return("bye"),
    ]);
    assertEquals([first.value, second.value, end.value], [1, 2, "bye"]);
  });
});

Deno.test("stageStream() records the cleanup of an idle source", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("Cannot clean up");
    async function* source() {
      try {
        yield* numbers(2);
      } finally {
        await Promise.reject(error);
      }
    }
    const iterator = pipeline("p", () => stageStream("s", source()));
    await iterator.next();
    const thrown = await iterator.return(undefined).catch((error) => error);
    assertStrictEquals(thrown, error);
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("stageStream() continues when a source yields after return() or throw()", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* stubborn() {
      try {
        yield 1;
      } finally {
        yield 2;
      }
    }
    for (const method of ["return", "throw"] as const) {
      const iterator = pipeline("p", () => stageStream("s", stubborn()));
      await iterator.next();
      const result = await iterator[method](undefined);
      assertEquals(result, { done: false, value: 2 });
      assertEquals(
        await samplesOf(metrics, /pipeline_in_progress$/),
        { 'pipeline_in_progress{lane="test",pipeline_name="p"}': 1 },
      );
      await iterator.next().catch(() => {});
    }
    assertEquals(await samplesOf(metrics, /in_progress$/), {});
  });
});

Deno.test("stageStream() counts throw() of an error that is rethrown as a stop", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const iterator = pipeline("p", () => stageStream("s", numbers(3)));
    await iterator.next();
    const error = new Error("Client left");
    assertStrictEquals(await iterator.throw(error).catch((e) => e), error);
    assertEquals(await samplesOf(metrics, ENDS), CANCELLED);
  });
});

Deno.test("stageStream() records failure when the source replaces a thrown error", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* source() {
      try {
        yield* numbers(3);
      } catch (cause) {
        throw new Error("Source failed", { cause });
      }
    }
    const iterator = pipeline("p", () => stageStream("s", source()));
    await iterator.next();
    await assertRejects(
      () => iterator.throw(new Error("Client left")),
      Error,
      "Source failed",
    );
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

/** A destination that is destroyed after the first chunk. */
function disconnectingClient(): Writable {
  return new Writable({
    objectMode: true,
    write() {
      setTimeout(() => this.destroy());
    },
  });
}

for (
  const [name, toReadable] of [
    [
      "a Readable.from()",
      (source: AsyncIterable<unknown>) =>
        Readable.from(stageStream("s", source)),
    ],
    [
      "a Readable",
      (source: AsyncIterable<unknown>) =>
        stageStream("s", Readable.from(source)),
    ],
  ] as const
) {
  Deno.test(`stageStream() is cancelled if a client leaves pipeline() of ${name}`, async () => {
    await captureMetrics(OPTIONS, async (metrics) => {
      let isCleanedUp = false;
      async function* source() {
        try {
          yield "first";
          await turn();
          yield "second";
          yield "third";
        } finally {
          isCleanedUp = true;
        }
      }
      const body = pipeline("p", () => toReadable(source()));
      await assertRejects(() => pipe(body, disconnectingClient()), Error);
      for (let i = 0; i < 10; i++) await turn();
      assert(isCleanedUp);
      assertEquals(await samplesOf(metrics, ENDS), CANCELLED);
    });
  });
}

/** Returns the chunks of a stream. A byte stream may join chunks, so it returns one. */
async function contentOf(stream: Readable): Promise<unknown> {
  const chunks = await Array.fromAsync(stream);
  return stream.readableObjectMode ? chunks : Buffer.concat(
    chunks.map((chunk) => Buffer.from(chunk)),
  ).toString();
}

Deno.test("stageStream() of a Readable is a Readable with the same chunks", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const sources = [
      () => Readable.from([{ a: 1 }, { b: 2 }]),
      () => Readable.from([Buffer.from("by"), Buffer.from("tes")]),
      () => Readable.from(["te", "xt"], { objectMode: false }),
      () => Readable.from([Buffer.from("é")]).setEncoding("utf8"),
      () =>
        Readable.from([Buffer.from("a"), Buffer.from("b")])
          .pipe(new PassThrough()),
      () => Readable.from([]),
    ];
    for (const source of sources) {
      const measured = pipeline("p", () => stageStream("s", source()));
      assert(measured instanceof Readable);
      assertEquals(await contentOf(measured), await contentOf(source()));
    }
    const piped = pipeline(
      "p",
      () => stageStream("s", Readable.from(["pi", "ped"])),
    );
    let text = "";
    await pipe(
      piped,
      new Writable({
        write(chunk, _, callback) {
          text += chunk;
          callback();
        },
      }),
    );
    assertEquals(text, "piped");
    const count = sources.length + 1;
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "success")]: count,
      [stageTotal("p", "s", "success")]: count,
    });
  });
});

Deno.test("stageStream() of a Readable reads nothing ahead", async () => {
  await captureMetrics(OPTIONS, async () => {
    let reads = 0;
    const source = new Readable({
      objectMode: true,
      highWaterMark: 1,
      read() {
        this.push(++reads);
      },
    });
    const measured = pipeline("p", () => stageStream("s", source));
    await turn();
    assertEquals(reads, 0);
    const iterator = measured[Symbol.asyncIterator]();
    assertEquals((await iterator.next()).value, 1);
    await turn();
    assert(reads < 5, `${reads} reads`);
    await iterator.return!();
  });
});

Deno.test("stageStream() of a Readable passes on errors and ends in both directions", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("Disk on fire");
    const open = (source: Readable) =>
      pipeline("p", () => stageStream("s", source));

    async function* failing() {
      yield 1;
      await Promise.resolve();
      throw error;
    }
    const broken = open(Readable.from(failing()));
    assertStrictEquals(
      await Array.fromAsync(broken).catch((error) => error),
      error,
    );
    // Also before the stream is read.
    const unread = new Readable({ read() {} });
    const waiting = once(open(unread), "error");
    unread.destroy(error);
    assertStrictEquals(await waiting, error);

    const source = new Readable({ read() {} });
    const closed = once(source, "close");
    open(source).destroy();
    await closed;
    assertEquals(source.destroyed, true);
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [cancelledTotal(pipelineTotal("p", "success"))]: 1,
      [cancelledTotal(stageTotal("p", "s", "success"))]: 1,
    });
  });
});

Deno.test("stageStream() destroys a Readable and its source when the timeout fires", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const source = new Readable({ read() {} });
    const measured = pipeline(
      "p",
      () => stageStream("s", { timeout: 5 }, source),
    );
    const error = await Array.fromAsync(measured).catch((error) => error);
    assertEquals(error.name, "TimeoutError");
    assertEquals(source.destroyed, true);
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "timeout")]: 1,
      [stageTotal("p", "s", "timeout")]: 1,
    });
  });
});

function once(emitter: Readable, event: string): Promise<unknown> {
  return new Promise((resolve) => emitter.once(event, resolve));
}

Deno.test("stageStream() stops the source when an unread stream is collected", async () => {
  const printed = await runFixture("unread_streams", [
    "--v8-flags=--expose-gc",
  ]);
  const [kept, ...others] = printed.trim().split("\n");
  // A stream that is still referenced is not stopped.
  assertEquals(kept, "kept: 1 in progress");
  assertEquals(
    others,
    [
      "a generator that was begun",
      "an async iterable",
      "an async iterable that was begun",
      "a ReadableStream",
      "a ReadableStream that was begun",
      "a byte stream",
      "the body of a Response",
      "a Readable",
      "a Readable that was begun",
    ].map((kind) =>
      `${kind}: 0 in progress, 20 cancelled, ${
        kind === "an async iterable" ? 0 : 20
      } stopped`
    ),
  );
});

Deno.test("setOutcome() counts while a stream keeps the pipeline open", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    let scope: PipelineScope | undefined;
    const stream = pipeline("p", (pipeline) => {
      scope = pipeline;
      pipeline.setOutcome("timeout");
      return stageStream("s", numbers(2));
    });
    scope!.setOutcome("failure");
    await Array.fromAsync(stream);
    scope!.setOutcome("success");

    const handle = openPipeline("handle");
    const read = handle.run((scope) => {
      const stream = handle.stageStream("s", numbers(1));
      return async () => {
        await Array.fromAsync(stream);
        scope.setOutcome("failure");
      };
    });
    await read();
    handle.close();
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [pipelineTotal("handle", "failure")]: 1,
      [stageTotal("handle", "s", "success")]: 1,
    });
  });
});

Deno.test("setOutcome() of a stream's scope makes an error chunk a failure", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const model = (reads: number) =>
      pipeline(
        "p",
        () =>
          stageStream("s", async function* ({ setOutcome, name, lane }) {
            yield `${lane}/${name}`;
            setOutcome("failure");
            yield "error";
            for (let i = 0; i < reads; i++) yield "more";
          }),
      );
    assertEquals(await Array.fromAsync(model(1)), ["test/s", "error", "more"]);
    // A consumer that stops afterwards does not change the outcome.
    for await (const chunk of model(9)) {
      if (chunk === "more") break;
    }
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
    });
  });
});

Deno.test("stageStream() passes its scope to a function that returns the stream", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const options = { signal: caller.signal };
    let signal: AbortSignal | undefined;
    const stream = pipeline("p", () =>
      stageStream("s", options, (scope) => {
        ({ signal } = scope);
        stage("inside", () => {});
        return new ReadableStream<string>();
      }));
    const read = Array.fromAsync(stream);
    caller.abort(new Error("Gone"));
    await assertRejects(() => read, Error, "Gone");
    assertEquals(signal!.aborted, true);
    assertEquals(
      pipeline("p", () => stageStream("s", () => null)),
      null,
    );
    assertEquals(await samplesOf(metrics, /stage_total$/), {
      [stageTotal("p", "s", "failure")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [stageTotal("p", "inside", "success")]: 1,
    });
  });
});

Deno.test("stageStream() fails when its function throws or returns no stream", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const error = new Error("No model");
    const open = (source: () => StreamSource) => () =>
      pipeline("p", () => stageStream("s", source));
    assertStrictEquals(
      assertThrows(
        open(() => {
          throw error;
        }),
        Error,
      ),
      error,
    );
    assertThrows(
      open(() => "text" as unknown as null),
      TypeError,
      "Cannot measure a stream: expected a ReadableStream",
    );
    const locked = new ReadableStream();
    locked.getReader();
    assertThrows(open(() => locked), TypeError, "it is locked");
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 3,
      [stageTotal("p", "s", "failure")]: 3,
    });
  });
});

Deno.test("stageStream() does not call its function when its signal was aborted", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const reason = new Error("Gone");
    const options = { signal: AbortSignal.abort(reason) };
    let calls = 0;
    const error = assertThrows(() =>
      pipeline("p", () =>
        stageStream("s", options, () => {
          calls++;
          return null;
        }))
    );
    assertStrictEquals(error, reason);
    assertEquals(calls, 0);
    assertEquals(await samplesOf(metrics, /stage.*_(total|in_progress)$/), {
      [stageTotal("p", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("p", "s", "failure"))]: 1,
    });
  });
});

Deno.test("stageStream() never ends early without an error when it is aborted", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const expected = [1, 2, 3];
    const ends = { success: 0, failure: 0 };
    for (const kind of ["generator", "stream"] as const) {
      for (let microtasks = 0; microtasks < 60; microtasks++) {
        const caller = new AbortController();
        const { signal } = caller;
        const source: AsyncIterable<number> = pipeline(
          "p",
          () =>
            kind === "generator"
              ? stageStream("s", { signal }, numbers(3))
              : stageStream("s", { signal }, ReadableStream.from(numbers(3))),
        );
        const chunks: number[] = [];
        const read = (async () => {
          for await (const chunk of source) chunks.push(chunk);
        })().then(() => "success" as const, () => "failure" as const);
        for (let i = 0; i < microtasks; i++) await undefined;
        caller.abort(new Error("Gone"));
        const end = await read;
        ends[end]++;
        if (end === "success") assertEquals(chunks, expected, `${microtasks}`);
        // The consumer's result matches the recorded outcome.
        assertEquals(await samplesOf(metrics, /stage_total$/), {
          [stageTotal("p", "s", "failure")]: ends.failure,
          ...(ends.success &&
            { [stageTotal("p", "s", "success")]: ends.success }),
        }, `${kind} aborted after ${microtasks} microtasks`);
      }
    }
    assert(ends.success > 0 && ends.failure > 0);
  });
});

Deno.test("pipeline() records a failed stream even if another one is cancelled", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* failing() {
      yield 1;
      await Promise.reject(new Error("No"));
    }
    for (const isFirstToFail of [true, false]) {
      const [failure, other] = pipeline("p", () =>
        [
          stageStream("failing", failing()),
          stageStream("other", numbers(9)),
        ] as const);
      const fail = () => assertRejects(() => Array.fromAsync(failure));
      const stop = async () => {
        for await (const _ of other) break;
      };
      if (isFirstToFail) {
        await fail();
        await stop();
      } else {
        await stop();
        await fail();
      }
    }
    assertEquals(await samplesOf(metrics, /pipeline.*_(total|in_progress)$/), {
      [pipelineTotal("p", "failure")]: 2,
    });
  });
});

Deno.test("pipeline() counts as cancelled when the caller cancels its stream", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const caller = new AbortController();
    const { signal } = caller;
    const stream = pipeline(
      "p",
      () => stageStream("s", { signal }, new ReadableStream()),
    );
    caller.abort(new Error("Gone"));
    await assertRejects(() => Array.fromAsync(stream), Error, "Gone");
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 1,
      [cancelledTotal(pipelineTotal("p", "failure"))]: 1,
      [stageTotal("p", "s", "failure")]: 1,
      [cancelledTotal(stageTotal("p", "s", "failure"))]: 1,
    });
  });
});

Deno.test("stageStream() of an async generator is an async generator", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const open = () => pipeline("p", () => stageStream("s", numbers(3)));
    const generator = open();
    assertEquals(await generator.next(), { done: false, value: 1 });
    assertEquals(await generator.return("bye"), { done: true, value: "bye" });
    assertStrictEquals(generator[Symbol.asyncIterator](), generator);
    {
      await using disposed = open();
      await disposed.next();
    }
    assertEquals(await samplesOf(metrics, /_total$/), {
      [pipelineTotal("p", "success")]: 2,
      [cancelledTotal(pipelineTotal("p", "success"))]: 2,
      [stageTotal("p", "s", "success")]: 2,
      [cancelledTotal(stageTotal("p", "s", "success"))]: 2,
    });
  });
});

Deno.test("pipeline() reports a stage of a stream's source that it did not await", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* source() {
      await stage("slow", turn);
      yield 1;
    }
    const stream = await pipeline("p", async () => {
      const stream = stageStream("s", source());
      const first = stream.next();
      await Promise.resolve();
      return { stream, first };
    });
    await stream.first;
    await Array.fromAsync(stream.stream);
    assertEquals(await samplesOf(metrics, /_issues_total$/), {});

    // A stage that is still running when the last stream ends is reported.
    let forgotten: Promise<void> | undefined;
    await Array.fromAsync(
      pipeline("p", () => {
        forgotten = stage("forgotten", turn);
        return stageStream("s", numbers(1));
      }),
    );
    await forgotten;
    assertEquals(await samplesOf(metrics, /_issues_total$/), {
      [issuesTotal("unawaited_stage")]: 1,
    });
  });
});

Deno.test("stageStream() of a Readable that has ended ends in the same way", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const ended = Readable.from(["a"]);
    await Array.fromAsync(ended);
    const destroyed = new Readable({ read() {} });
    destroyed.destroy();
    const error = new Error("Disk on fire");
    const errored = new Readable({ read() {} }).on("error", () => {});
    errored.destroy(error);
    await turn();
    const read = (source: Readable) =>
      Array.fromAsync(pipeline("p", () => stageStream("s", source)))
        .catch((error) => error.code ?? error.message);
    assertEquals(await read(ended), []);
    assertEquals(await read(destroyed), "ERR_STREAM_PREMATURE_CLOSE");
    assertEquals(await read(errored), "Disk on fire");
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [pipelineTotal("p", "failure")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
    });
  });
});

Deno.test("stageStream() of a Readable that closes before its end records failure", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const source = new Readable({ read() {} });
    source.push("a");
    setTimeout(() => source.destroy(), 2);
    await assertRejects(() =>
      Array.fromAsync(pipeline("p", () => stageStream("s", source)))
    );
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
  });
});

Deno.test("stageStream() of an old Readable that closes at its end loses nothing", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const source = new PassThrough();
    // Like readable-stream 2, which has no `readableEnded`.
    Object.defineProperty(source, "readableEnded", { value: undefined });
    source.on("end", () => source.emit("close"));
    source.write("a");
    source.write("b");
    source.end("c");
    const chunks: string[] = [];
    for await (const chunk of pipeline("p", () => stageStream("s", source))) {
      await turn();
      chunks.push(`${chunk}`);
    }
    assertEquals(chunks.join(""), "abc");
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});

Deno.test("stageStream() of a Readable calls the consumer in the consumer's context", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    await pipeline("outer", async () => {
      const stream = pipeline(
        "gen",
        () => stageStream("s", Readable.from([1, 2])),
      );
      await new Promise<void>((resolve) => {
        stream.on("data", () => stage("consume", () => {}));
        stream.on("end", () => {
          stage("end", () => {});
          resolve();
        });
      });
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("gen", "success")]: 1,
      [stageTotal("gen", "s", "success")]: 1,
      [pipelineTotal("outer", "success")]: 1,
      [stageTotal("outer", "consume", "success")]: 2,
      [stageTotal("outer", "end", "success")]: 1,
    });
  });
});

Deno.test("stageStream() cleans up a generator in the context of its pipeline", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    async function* tokens() {
      try {
        await turn();
        yield 1;
      } finally {
        stage("clean up", () => {});
      }
    }
    const open = () => pipeline("p", () => stageStream("s", tokens()));
    const left = open();
    const pending = left.next();
    await left.return(undefined);
    await pending;
    const parallel = open();
    await Promise.all([parallel.next(), parallel.next()]);
    const limited = pipeline(
      "p",
      () => stageStream("s", { timeout: 0 }, tokens()),
    );
    await assertRejects(() => limited.next(), DOMException, "timed out");
    for (let i = 0; i < 3; i++) await turn();
    assertEquals(
      await samplesOf(metrics, /_issues_total$|stage_total$/),
      {
        [stageTotal("p", "s", "success")]: 2,
        [stageTotal("p", "s", "timeout")]: 1,
        [stageTotal("p", "clean up", "success")]: 3,
      },
    );
  });
});

Deno.test("stageStream() passes invalid results of an iterator to the consumer", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const open = (result: unknown) =>
      pipeline("p", () =>
        stageStream("s", {
          [Symbol.asyncIterator]: () => ({
            next: () => Promise.resolve(result as IteratorResult<unknown>),
          }),
        }));
    await assertRejects(() => Array.fromAsync(open(undefined)), TypeError);
    const throwing = {
      get done(): boolean {
        throw new Error("Not to be read");
      },
    };
    await assertRejects(
      () => Array.fromAsync(open(throwing)),
      Error,
      "Not to be read",
    );
    assertEquals(await samplesOf(metrics, ENDS), {
      [pipelineTotal("p", "failure")]: 2,
      [stageTotal("p", "s", "failure")]: 2,
    });
  });
});

Deno.test("stageStream() applies the declared timeout to firstChunk", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const chat = definePipeline("p", {
      stages: { s: {}, first: { timeout: 2 } },
    });
    async function* tokens() {
      await new Promise((resolve) => setTimeout(resolve, 10));
      yield 1;
    }
    const stream = chat.run(() =>
      stageStream("s", { firstChunk: "first" }, tokens())
    );
    assertEquals(await Array.fromAsync(stream), [1]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [stageTotal("p", "first", "timeout")]: 1,
    });
  });
});

Deno.test("pipeline() aborts the source of a stream that it has returned", async () => {
  await captureMetrics(OPTIONS, async () => {
    const caller = new AbortController();
    const gone = new Error("Gone");
    let signal: AbortSignal | undefined;
    const stream = pipeline(
      "p",
      { signal: caller.signal },
      () =>
        stageStream("s", (scope) => {
          ({ signal } = scope);
          return new ReadableStream();
        }),
    );
    const read = Array.fromAsync(stream);
    caller.abort(gone);
    assertStrictEquals(await read.catch((error) => error), gone);
    assertStrictEquals(signal!.reason, gone);
  });
});
