import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

/** Whether something is a `ReadableStream`, of whatever realm. */
export function isReadableStream(source: unknown): source is ReadableStream {
  return typeof (source as Partial<ReadableStream>)?.getReader === "function";
}

/** A `ReadableStream` as its stage reads it. */
class WebReader implements SourceReader {
  readonly #stage: StreamMeasurement;
  readonly #reader: ReadableStreamDefaultReader;

  constructor(source: ReadableStream, stage: StreamMeasurement) {
    this.#stage = stage;
    this.#reader = source.getReader();
  }

  /** Calls back when the source has ended, also if nobody reads its end. */
  onEnd(close: () => void, fail: (error: unknown) => void): void {
    const closed: PromiseLike<unknown> | undefined = this.#reader.closed;
    // Readers that are not the platform's may lack it.
    closed?.then(close, fail);
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

type Controller = ReadableStreamController<unknown>;

/** Passes the chunks and the end of a source on to a measured stream. */
class MeasuredSource {
  readonly #stage: StreamMeasurement;
  readonly #reader: WebReader;
  #isPulling = false;
  /** What the end of the source calls for, if that came during a pull. */
  #end: ((controller: Controller) => void) | undefined;

  constructor(reader: WebReader, stage: StreamMeasurement) {
    this.#reader = reader;
    this.#stage = stage;
  }

  start(controller: Controller): void {
    // Held weakly, so that an unread stream can be collected.
    const ref = new WeakRef(controller);
    this.#stage.onCancel((error) => {
      ref.deref()?.error(error);
      this.#reader.cancel(error).catch(() => {});
    });
    const onEnd = (end: (controller: Controller) => void) => {
      // A source closes before its last chunk is passed on.
      this.#end = end;
      const controller = ref.deref();
      if (this.#isPulling || controller === undefined) return;
      try {
        this.#finish(controller);
      } catch (error) {
        // A consumer's buffer for wider numbers was filled in part: it got the error.
        this.#stage.fail(error);
      }
    };
    this.#reader.onEnd(
      () => onEnd((controller) => this.#close(controller)),
      (error) => onEnd((controller) => this.#fail(controller, error)),
    );
  }

  async pull(controller: Controller): Promise<void> {
    this.#isPulling = true;
    try {
      const { done, value } = await this.#reader.read();
      if (this.#stage.isOver) return;
      if (done) {
        this.#close(controller);
        return;
      }
      this.#stage.chunk();
      controller.enqueue(value as never);
    } catch (error) {
      this.#stage.fail(error);
      throw error;
    } finally {
      this.#isPulling = false;
    }
    this.#finish(controller);
  }

  cancel(reason: unknown): Promise<void> {
    this.#stage.giveUp();
    return this.#reader.cancel(reason);
  }

  /** Ends the measured stream, if its source has ended and it has not. */
  #finish(controller: Controller): void {
    if (!this.#stage.isOver) this.#end?.(controller);
  }

  #close(controller: Controller): void {
    controller.close();
    // A consumer's own buffer would wait for ever.
    if ("byobRequest" in controller) controller.byobRequest?.respond(0);
    this.#stage.complete();
  }

  #fail(controller: Controller, error: unknown): void {
    this.#stage.fail(error);
    controller.error(error);
  }
}

/** Returns a stream of the same chunks, which records how it ends. */
export function measureWebStream(
  source: ReadableStream,
  stage: StreamMeasurement,
): ReadableStream {
  const isBytes = isByteStream(source);
  const reader = new WebReader(source, stage);
  const measured = new MeasuredSource(reader, stage);
  const underlying = {
    start: (controller: Controller) => measured.start(controller),
    pull: (controller: Controller) => measured.pull(controller),
    cancel: (reason: unknown) => measured.cancel(reason),
  };
  const stream = isBytes
    ? new ReadableStream({ ...underlying, type: "bytes" })
    : new ReadableStream(underlying, { highWaterMark: 0 });
  stopWhenCollected(stream, reader, stage);
  return stream;
}

function isByteStream(source: ReadableStream): boolean {
  try {
    source.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}
