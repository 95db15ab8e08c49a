import { AsyncResource } from "node:async_hooks";
import { Readable } from "node:stream";
import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

/** Returns whether a source is a Node.js stream, of any copy of the class `Readable`. */
export function isNodeReadable(source: unknown): source is Readable {
  const { pipe, read, on, destroy } = Object(source) as Partial<Readable>;
  return [pipe, read, on, destroy].every((each) => typeof each === "function");
}

/** Reads a Node.js stream. */
class NodeReader implements SourceReader {
  readonly #source: Readable;
  readonly #measurement: StreamMeasurement;
  /** Weak while no read is pending, so an unread stream can be collected. */
  #consumer: WeakRef<Readable> | Readable | undefined;
  /** The async context of the consumer's last read. */
  #request: AsyncResource | undefined;
  #isOpen = false;
  #hasEnded = false;

  constructor(source: Readable, measurement: StreamMeasurement) {
    this.#source = source;
    this.#measurement = measurement;
    source.on("error", (error) => this.#fail(error));
    source.on("end", () => this.#end());
    source.on("close", () => this.#close());
  }

  setConsumer(consumer: Readable): void {
    this.#consumer = new WeakRef(consumer);
    this.#measurement.onCancel((error) => {
      this.#destroySource(error as Error);
      this.#destroyConsumer(error as Error, true);
    });
  }

  /** Passes the next chunk to the consumer. */
  read(consumer: Readable): void {
    const source = this.#source;
    this.#consumer = consumer;
    this.#request = new AsyncResource("StageMetricsRead");
    const isFirst = !this.#isOpen;
    this.#isOpen = true;
    try {
      if (isFirst && this.#endIfEnded()) return;
      this.#measurement.enter(() => {
        if (isFirst) source.on("data", (chunk) => this.#push(chunk));
        source.resume();
      });
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Stops the source, as the consumer was destroyed or collected. */
  stop(error?: Error): void {
    this.#measurement.cancelByConsumer();
    this.#destroySource(error);
  }

  /** Passes on the end of a source that ended before the first read, if it did. */
  #endIfEnded(): boolean {
    const { errored, readableEnded, destroyed } = this.#source;
    if (errored) this.#fail(errored);
    else if (readableEnded) this.#end();
    else if (destroyed) this.#close();
    return errored != null || readableEnded || destroyed;
  }

  #push(chunk: unknown): void {
    const consumer = this.#getConsumer();
    if (consumer === undefined) return;
    this.#consumer = new WeakRef(consumer);
    this.#measurement.recordChunk();
    const encoding = this.#source.readableEncoding ?? undefined;
    // In the context of the read, like an unmeasured stream.
    const hasRoom = this.#request!.runInAsyncScope(() =>
      consumer.push(chunk, encoding)
    );
    if (!hasRoom && this.#consumer instanceof WeakRef) this.#source.pause();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#measurement.complete();
    this.#measurement.endCode();
    const consumer = this.#getConsumer();
    if (consumer === undefined) return;
    if (this.#request === undefined) consumer.push(null);
    else this.#request.runInAsyncScope(() => consumer.push(null));
  }

  #fail(error: Error): void {
    const isByAbort = this.#measurement.mayBeFromAbort(error);
    this.#measurement.fail(error);
    this.#destroyConsumer(error, isByAbort);
  }

  #close(): void {
    // Old streams may close while they emit "end", before its last listener is called.
    queueMicrotask(() => {
      if (!this.#hasEnded) {
        this.#measurement.fail(
          new Error("The stream was closed before its end"),
        );
        this.#destroyConsumer(undefined, false);
      }
      this.#measurement.endCode();
    });
  }

  #destroySource(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#measurement.guard(() =>
      this.#measurement.enter(() => {
        this.#source.destroy(error);
      })
    );
  }

  /** @param isByAbort Whether an abort by this library may have caused the error. */
  #destroyConsumer(error: Error | undefined, isByAbort: boolean): void {
    const consumer = this.#getConsumer();
    // An "error" event without a listener would end the process.
    if (isByAbort) consumer?.on("error", () => {});
    consumer?.destroy(error);
  }

  #getConsumer(): Readable | undefined {
    return this.#consumer instanceof WeakRef
      ? this.#consumer.deref()
      : this.#consumer;
  }
}

/** A measured Node.js stream, as its consumer gets it. */
export class MeasuredNodeStream extends Readable {
  readonly #reader: NodeReader;

  constructor(source: Readable, measurement: StreamMeasurement) {
    super({
      objectMode: source.readableObjectMode,
      encoding: source.readableEncoding ?? undefined,
      // Reads nothing ahead.
      highWaterMark: 0,
    });
    this.#reader = new NodeReader(source, measurement);
    this.#reader.setConsumer(this);
    stopWhenCollected(this, this.#reader, measurement);
  }

  override _read(): void {
    this.#reader.read(this);
  }

  override _destroy(
    error: Error | null,
    callback: (error?: Error | null) => void,
  ): void {
    this.#reader.stop(error ?? undefined);
    callback(error);
  }
}
