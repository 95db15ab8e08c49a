/** Compares measured streams with their sources, as their consumers observe them. */
import { assert, assertEquals } from "@std/assert";
import { Readable } from "node:stream";
import { pipeline, stageStream } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { pipelineTotal, samplesOf, stageTotal } from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

const FAILURE = new Error("The source failed");

/** Settles when all microtasks have run. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve));
}

/** Describes how a promise has settled after one turn of the event loop. */
async function settled(promise: Promise<unknown>): Promise<unknown> {
  const late = turn().then(() => "pending");
  const result = await Promise.race([
    promise.then((value) => ({ value }), (error: unknown) => ({ error })),
    late,
  ]);
  await late;
  return result;
}

const bytes = (...values: number[]) => new Uint8Array(values);

type Start = (controller: ReadableStreamController<unknown>) => void;

/** Streams, with controllers that feed, close or fail them. */
const SOURCES: Readonly<Record<string, (start: Start) => ReadableStream>> = {
  "of values": (start) => new ReadableStream({ start }, { highWaterMark: 0 }),
  "of bytes": (start) => new ReadableStream({ start, type: "bytes" }),
};

interface Fed {
  readonly stream: ReadableStream;
  readonly controller: ReadableStreamController<unknown>;
}

/** Consumers of a stream, by name. They return their observations. */
const CONSUMERS: Readonly<Record<string, (fed: Fed) => Promise<unknown>>> = {
  "waits for the end": async ({ stream, controller }) => {
    const { closed } = stream.getReader();
    const before = await settled(closed);
    controller.close();
    return [before, await settled(closed)];
  },
  "waits for the failure": async ({ stream, controller }) => {
    const reader = stream.getReader();
    controller.error(FAILURE);
    return [await settled(reader.closed), await settled(reader.read())];
  },
  "waits for the end of an ended stream": async (
    { stream, controller },
  ) => {
    controller.close();
    return await settled(stream.getReader().closed);
  },
  "waits for the end after a last chunk": async ({ stream, controller }) => {
    const reader = stream.getReader();
    const read = reader.read();
    controller.enqueue(bytes(1) as never);
    controller.close();
    return [await settled(read), await settled(reader.closed)];
  },
  "reads the chunks of a closed source": async (
    { stream, controller },
  ) => {
    for (let i = 0; i < 3; i++) controller.enqueue(bytes(i) as never);
    controller.close();
    const reader = stream.getReader();
    const before = await settled(reader.closed);
    const reads = [reader.read(), reader.read(), reader.read(), reader.read()];
    return [
      before,
      await Promise.all(reads.map(settled)),
      await settled(reader.closed),
    ];
  },
  "reads a chunk before a failure": async ({ stream, controller }) => {
    const reader = stream.getReader();
    const read = reader.read();
    // Lets the measured stream pull from its source, too.
    await turn();
    controller.enqueue(bytes(1) as never);
    controller.error(FAILURE);
    return [await settled(read), await settled(reader.closed)];
  },
  "cancels": async ({ stream }) => {
    const reader = stream.getReader();
    return [
      await settled(reader.cancel(FAILURE)),
      await settled(reader.closed),
    ];
  },
  "releases its lock": async ({ stream, controller }) => {
    const reader = stream.getReader();
    controller.enqueue(bytes(1) as never);
    await reader.read();
    reader.releaseLock();
    controller.enqueue(bytes(2) as never);
    controller.close();
    return [stream.locked, await Array.fromAsync(stream)];
  },
  "iterates without cancelling": async ({ stream, controller }) => {
    for (let i = 0; i < 3; i++) controller.enqueue(bytes(i) as never);
    controller.close();
    for await (const _ of stream.values({ preventCancel: true })) break;
    return [stream.locked, await Array.fromAsync(stream)];
  },
  "tees": async ({ stream, controller }) => {
    const branches = stream.tee();
    controller.enqueue(bytes(1) as never);
    controller.close();
    return await Promise.all(branches.map((each) => Array.fromAsync(each)));
  },
  "pipes": async ({ stream, controller }) => {
    const piped = stream.pipeThrough(new TransformStream());
    controller.enqueue(bytes(1, 2) as never);
    controller.close();
    return await Array.fromAsync(piped);
  },
};

/** Consumers that read a byte stream into their own buffers. */
const BYTE_CONSUMERS: typeof CONSUMERS = {
  "reads into its buffer": async ({ stream, controller }) => {
    const reader = stream.getReader({ mode: "byob" });
    const read = reader.read(new Uint8Array(2));
    controller.enqueue(bytes(1, 2, 3) as never);
    controller.close();
    return [
      await settled(read),
      await settled(reader.read(new Uint8Array(4))),
      await settled(reader.read(new Uint8Array(4))),
      await settled(reader.closed),
    ];
  },
  "reads into a buffer of wider numbers": async ({ stream, controller }) => {
    const reader = stream.getReader({ mode: "byob" });
    const read = reader.read(new Uint16Array(2));
    controller.enqueue(bytes(1, 1) as never);
    const first = await settled(read);
    controller.close();
    return [first, await settled(reader.closed)];
  },
  "waits with a buffer for the end": async ({ stream, controller }) => {
    const reader = stream.getReader({ mode: "byob" });
    controller.close();
    return [
      await settled(reader.closed),
      await settled(reader.read(new Uint8Array(1))),
    ];
  },
};

for (const [kind, make] of Object.entries(SOURCES)) {
  const consumers = kind === "of bytes"
    ? { ...CONSUMERS, ...BYTE_CONSUMERS }
    : CONSUMERS;
  for (const [name, consume] of Object.entries(consumers)) {
    Deno.test(`stageStream() ${kind} is like its source: ${name}`, async () => {
      let controller: ReadableStreamController<unknown>;
      const source = () =>
        make((given) => {
          controller = given;
        });
      const plain = source();
      const expected = await consume({
        stream: plain,
        controller: controller!,
      });
      await captureMetrics(OPTIONS, async (metrics) => {
        const stream = pipeline("p", () => stageStream("s", source()));
        assertEquals(
          await consume({ stream, controller: controller! }),
          expected,
        );
        await turn();
        assertEquals(await samplesOf(metrics, /_in_progress$/), {});
      });
    });
  }
}

Deno.test("stageStream() records the end of an unread ReadableStream", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const controllers: ReadableStreamDefaultController[] = [];
    const streams = [1, 2].map(() =>
      pipeline("p", () =>
        stageStream(
          "s",
          new ReadableStream({
            start(controller) {
              controllers.push(controller);
            },
          }),
        ))
    );
    controllers[0]!.close();
    controllers[1]!.error(FAILURE);
    await turn();
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [pipelineTotal("p", "failure")]: 1,
      [stageTotal("p", "s", "success")]: 1,
      [stageTotal("p", "s", "failure")]: 1,
    });
    assertEquals(streams.length, 2);
  });
});

/** Async iterators that record whether they have been disposed of. */
function disposables() {
  const calls: string[] = [];
  const iterable = {
    [Symbol.asyncIterator]: () => ({
      next: () => Promise.resolve({ done: false, value: 1 }),
      return: () => {
        calls.push("return");
        return Promise.resolve({ done: true, value: undefined });
      },
    }),
    [Symbol.asyncDispose]: () => {
      calls.push("dispose");
      return Promise.resolve();
    },
  };
  async function* generate() {
    try {
      yield 1;
    } finally {
      calls.push("finally");
    }
  }
  return { calls, iterable, generate };
}

Deno.test("stageStream() disposes of an iterable by its own method", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { calls, iterable, generate } = disposables();
    for (const source of [iterable, generate(), iterable]) {
      const stream = pipeline("p", () => stageStream("s", source));
      const iterator = stream[Symbol.asyncIterator]();
      await iterator.next();
      await (stream as unknown as AsyncDisposable)[Symbol.asyncDispose]();
    }
    assertEquals(calls, ["dispose", "finally", "dispose"]);
    const { [stageTotal("p", "s", "success")]: count } = await samplesOf(
      metrics,
    );
    assertEquals(count, 3);
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});

Deno.test("stageStream() passes on an error of disposing of an iterable", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const { iterable } = disposables();
    const source = {
      ...iterable,
      [Symbol.asyncDispose]: () => Promise.reject(FAILURE),
    };
    const stream = stageStream("s", source) as unknown as AsyncDisposable;
    assertEquals(
      await settled(stream[Symbol.asyncDispose]() as Promise<void>),
      {
        error: FAILURE,
      },
    );
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});

Deno.test("stageStream() of a disposable Readable is disposable", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const source = Readable.from([1, 2]) as Readable & Partial<AsyncDisposable>;
    const measured = stageStream("s", source) as typeof source;
    const hasDispose = Symbol.asyncDispose in source;
    assertEquals(Symbol.asyncDispose in measured, hasDispose);
    measured.on("error", () => {});
    if (hasDispose) {
      await measured[Symbol.asyncDispose]!();
    } else {
      measured.destroy();
    }
    assert(source.destroyed);
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});

Deno.test("stageStream() of a generator has the tag AsyncGenerator", async () => {
  await captureMetrics(OPTIONS, async () => {
    const { generate, iterable } = disposables();
    const tagOf = (value: unknown) => Object.prototype.toString.call(value);
    const measured = stageStream("s", generate());
    assertEquals(tagOf(measured), "[object AsyncGenerator]");
    assertEquals(tagOf(stageStream("s", iterable)), "[object Object]");
    await measured.return(undefined);
  });
});
