import type { StreamStage } from "./stream_stage.ts";
import { type Reader, stopWhenCollected } from "./unread.ts";

/** Whether something is a `ReadableStream`, of whatever realm. */
export function isReadableStream(source: unknown): source is ReadableStream {
  return typeof (source as Partial<ReadableStream>)?.getReader === "function";
}

/** A `ReadableStream` as its stage reads it. */
class WebReader implements Reader {
  readonly #stage: StreamStage;
  readonly #reader: ReadableStreamDefaultReader;

  constructor(source: ReadableStream, stage: StreamStage) {
    this.#stage = stage;
    this.#reader = source.getReader();
  }

  read(): Promise<ReadableStreamReadResult<unknown>> {
    return this.#stage.enter(() => this.#reader.read());
  }

  async cancel(reason: unknown): Promise<void> {
    try {
      await this.#stage.enter(() => this.#reader.cancel(reason));
    } finally {
      this.#stage.endCode();
    }
  }

  stop(): void {
    this.#stage.giveUp();
    this.cancel(undefined).catch(() => {});
  }
}

/** Returns a stream of the same chunks, which records how it ends. */
export function measureWebStream(
  source: ReadableStream,
  stage: StreamStage,
): ReadableStream {
  const isBytes = isByteStream(source);
  const reader = new WebReader(source, stage);
  function close(controller: ReadableStreamController<unknown>) {
    stage.complete();
    controller.close();
    // A consumer's own buffer would wait for ever.
    if ("byobRequest" in controller) controller.byobRequest?.respond(0);
  }
  const underlying = {
    start(controller: ReadableStreamController<unknown>) {
      const ref = new WeakRef(controller);
      stage.onCancel((error) => {
        ref.deref()?.error(error);
        reader.cancel(error).catch(() => {});
      });
    },
    async pull(controller: ReadableStreamController<unknown>) {
      try {
        const { done, value } = await reader.read();
        if (stage.cancelledBy !== undefined) return;
        if (done) {
          close(controller);
        } else {
          stage.chunk();
          controller.enqueue(value as never);
        }
      } catch (error) {
        stage.fail(error);
        throw error;
      }
    },
    cancel(reason: unknown) {
      stage.giveUp();
      return reader.cancel(reason);
    },
  };
  const measured = isBytes
    ? new ReadableStream({ ...underlying, type: "bytes" })
    : new ReadableStream(underlying, { highWaterMark: 0 });
  stopWhenCollected(measured, reader, stage);
  return measured;
}

function isByteStream(source: ReadableStream): boolean {
  try {
    source.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}
