import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

/** Returns whether a source is a `ReadableStream`, of any realm. */
export function isReadableStream(source: unknown): source is ReadableStream {
  return typeof (source as Partial<ReadableStream>)?.getReader === "function";
}

/** Reads a `ReadableStream`. */
class WebReader implements SourceReader {
  readonly #measurement: StreamMeasurement;
  readonly #reader: ReadableStreamDefaultReader;

  constructor(source: ReadableStream, measurement: StreamMeasurement) {
    this.#measurement = measurement;
    this.#reader = source.getReader();
  }

  /** Calls back when the source has ended, even if its end is never read. */
  onEnd(close: () => void, fail: (error: unknown) => void): void {
    const closed: PromiseLike<unknown> | undefined = this.#reader.closed;
    // The readers of polyfills may lack this property.
    closed?.then(close, fail);
  }

  read(): Promise<ReadableStreamReadResult<unknown>> {
    return this.#measurement.enter(() => this.#reader.read());
  }

  async cancel(reason: unknown): Promise<void> {
    try {
      await this.#measurement.enter(() => this.#reader.cancel(reason));
    } finally {
      this.#measurement.endCode();
    }
  }

  stop(): void {
    this.#measurement.cancelByConsumer();
    this.cancel(undefined).catch(() => {});
  }
}

type Controller = ReadableStreamController<unknown>;

/** The underlying source of a measured stream: passes on chunks and the end. */
class MeasuredSource {
  readonly #measurement: StreamMeasurement;
  readonly #reader: WebReader;
  #isPulling = false;
  /** Ends the measured stream, once the source has ended. */
  #end: ((controller: Controller) => void) | undefined;

  constructor(reader: WebReader, measurement: StreamMeasurement) {
    this.#reader = reader;
    this.#measurement = measurement;
  }

  start(controller: Controller): void {
    // Weak, so an unread stream can be collected.
    const ref = new WeakRef(controller);
    this.#measurement.onCancel((error) => {
      ref.deref()?.error(error);
      this.#reader.cancel(error).catch(() => {});
    });
    const onEnd = (end: (controller: Controller) => void) => {
      // During a pull, a source may close before its last chunk is passed on.
      this.#end = end;
      const controller = ref.deref();
      if (this.#isPulling || controller === undefined) return;
      try {
        this.#finish(controller);
      } catch (error) {
        // The consumer's buffer was filled in part of an element; the consumer has the error.
        this.#measurement.fail(error);
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
      if (this.#measurement.hasEnded) return;
      if (done) {
        this.#close(controller);
        return;
      }
      this.#measurement.recordChunk();
      controller.enqueue(value as never);
    } catch (error) {
      this.#measurement.fail(error);
      throw error;
    } finally {
      this.#isPulling = false;
    }
    this.#finish(controller);
  }

  cancel(reason: unknown): Promise<void> {
    this.#measurement.cancelByConsumer();
    return this.#reader.cancel(reason);
  }

  /** Ends the measured stream, if its source has ended and the stream has not. */
  #finish(controller: Controller): void {
    if (!this.#measurement.hasEnded) this.#end?.(controller);
  }

  #close(controller: Controller): void {
    controller.close();
    // A read into the consumer's own buffer would otherwise never settle.
    if ("byobRequest" in controller) controller.byobRequest?.respond(0);
    this.#measurement.complete();
  }

  #fail(controller: Controller, error: unknown): void {
    this.#measurement.fail(error);
    controller.error(error);
  }
}

/** Returns a stream of the same chunks, whose end is recorded. */
export function measureWebStream(
  source: ReadableStream,
  measurement: StreamMeasurement,
): ReadableStream {
  const isBytes = isByteStream(source);
  const reader = new WebReader(source, measurement);
  const measured = new MeasuredSource(reader, measurement);
  const underlying = {
    start: (controller: Controller) => measured.start(controller),
    pull: (controller: Controller) => measured.pull(controller),
    cancel: (reason: unknown) => measured.cancel(reason),
  };
  const stream = isBytes
    ? new ReadableStream({ ...underlying, type: "bytes" })
    : new ReadableStream(underlying, { highWaterMark: 0 });
  stopWhenCollected(stream, reader, measurement);
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
