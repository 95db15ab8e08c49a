import { AsyncResource } from "node:async_hooks";
import { Readable } from "node:stream";
import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

/** Whether something is a readable stream of Node's, of whatever copy of its class. */
export function isNodeReadable(source: unknown): source is Readable {
  const { pipe, read, on, destroy } = Object(source) as Partial<Readable>;
  return [pipe, read, on, destroy].every((each) => typeof each === "function");
}

/** A stream of Node's as its stage reads it. */
class NodeReader implements SourceReader {
  readonly #source: Readable;
  readonly #stage: StreamMeasurement;
  /** Held weakly while it waits for no chunk, so that it can be collected. */
  #consumer: WeakRef<Readable> | Readable | undefined;
  /** The async context in which the consumer asked for a chunk. */
  #request: AsyncResource | undefined;
  #isOpen = false;
  #hasEnded = false;

  constructor(source: Readable, stage: StreamMeasurement) {
    this.#source = source;
    this.#stage = stage;
    source.on("error", (error) => this.#fail(error));
    source.on("end", () => this.#end());
    source.on("close", () => this.#close());
  }

  setConsumer(consumer: Readable): void {
    this.#consumer = new WeakRef(consumer);
    this.#stage.onCancel((error) => {
      this.#destroySource(error as Error);
      this.#destroyConsumer(error as Error, true);
    });
  }

  /** Has the next chunk handed on to the consumer. */
  read(consumer: Readable): void {
    const source = this.#source;
    this.#consumer = consumer;
    this.#request = new AsyncResource("StageMetricsRead");
    const isFirst = !this.#isOpen;
    this.#isOpen = true;
    try {
      if (isFirst && this.#isOver()) return;
      this.#stage.enter(() => {
        if (isFirst) source.on("data", (chunk) => this.#push(chunk));
        source.resume();
      });
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Stops the source, as the consumer wants no more. */
  stop(error?: Error): void {
    this.#stage.giveUp();
    this.#destroySource(error);
  }

  /** Settles a stream that was over before it was read, and returns whether it was. */
  #isOver(): boolean {
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
    this.#stage.chunk();
    const encoding = this.#source.readableEncoding ?? undefined;
    // In the context of the read, as an unmeasured stream would.
    const hasRoom = this.#request!.runInAsyncScope(() =>
      consumer.push(chunk, encoding)
    );
    if (!hasRoom && this.#consumer instanceof WeakRef) this.#source.pause();
  }

  #end(): void {
    this.#hasEnded = true;
    this.#stage.complete();
    this.#stage.endCode();
    const consumer = this.#getConsumer();
    if (consumer === undefined) return;
    if (this.#request === undefined) consumer.push(null);
    else this.#request.runInAsyncScope(() => consumer.push(null));
  }

  #fail(error: Error): void {
    const isByAbort = this.#stage.mayComeFromAbort(error);
    this.#stage.fail(error);
    this.#destroyConsumer(error, isByAbort);
  }

  #close(): void {
    // Old streams may close within the event of their end, before its last listener.
    queueMicrotask(() => {
      if (!this.#hasEnded) {
        this.#stage.fail(new Error("The stream was closed before its end"));
        this.#destroyConsumer(undefined, false);
      }
      this.#stage.endCode();
    });
  }

  #destroySource(error: Error | undefined): void {
    if (this.#hasEnded) return;
    this.#stage.guard(() =>
      this.#stage.enter(() => {
        this.#source.destroy(error);
      })
    );
  }

  /** @param isByAbort Whether an abort by this library caused the error. */
  #destroyConsumer(error: Error | undefined, isByAbort: boolean): void {
    const consumer = this.#getConsumer();
    // Without a listener, the error would end the process.
    if (isByAbort) consumer?.on("error", () => {});
    consumer?.destroy(error);
  }

  #getConsumer(): Readable | undefined {
    return this.#consumer instanceof WeakRef
      ? this.#consumer.deref()
      : this.#consumer;
  }
}

/** The stream that a consumer of a measured stream of Node's has. */
export class MeasuredNodeStream extends Readable {
  readonly #reader: NodeReader;

  constructor(source: Readable, stage: StreamMeasurement) {
    super({
      objectMode: source.readableObjectMode,
      encoding: source.readableEncoding ?? undefined,
      // Nothing is read before it is asked for.
      highWaterMark: 0,
    });
    this.#reader = new NodeReader(source, stage);
    this.#reader.setConsumer(this);
    stopWhenCollected(this, this.#reader, stage);
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
