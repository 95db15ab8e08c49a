import { Readable } from "node:stream";
import type { StreamStage } from "./stream_stage.ts";
import { type Reader, stopWhenCollected } from "./unread.ts";

/** Whether something is a readable stream of Node's, of whatever copy of its class. */
export function isNodeReadable(source: unknown): source is Readable {
  const { pipe, read, on, destroy } = Object(source) as Partial<Readable>;
  return [pipe, read, on, destroy].every((each) => typeof each === "function");
}

/** A stream of Node's as its stage reads it. */
class NodeReader implements Reader {
  readonly source: Readable;
  readonly #stage: StreamStage;
  /** Held weakly until somebody reads it, so that it can be collected unread. */
  #consumer: WeakRef<Readable> | Readable | undefined;

  constructor(source: Readable, stage: StreamStage) {
    this.source = source;
    this.#stage = stage;
    source.on("error", (error) => this.#fail(error));
    source.on("close", () => this.#close());
    stage.onCancel((error) => {
      this.destroy(error as Error);
      const consumer = this.#getConsumer();
      // An error that nobody listens for, as nobody reads yet, would end the process.
      consumer?.on("error", () => {});
      consumer?.destroy(error as Error);
    });
  }

  setConsumer(consumer: Readable): void {
    this.#consumer = new WeakRef(consumer);
  }

  /** Hands chunks on from now on, as the consumer reads. */
  open(consumer: Readable): void {
    const { source } = this;
    this.#consumer = consumer;
    this.#stage.enter(() => {
      source.on("data", (chunk) => {
        this.#stage.chunk();
        if (!consumer.push(chunk, source.readableEncoding ?? undefined)) {
          source.pause();
        }
      });
      source.on("end", () => {
        this.#stage.complete();
        consumer.push(null);
      });
    });
  }

  resume(): void {
    this.#stage.enter(() => this.source.resume());
  }

  /** Stops the source. */
  destroy(error: Error | undefined): void {
    if (this.source.readableEnded) return;
    this.#stage.enter(() => this.source.destroy(error));
  }

  stop(error?: Error): void {
    this.#stage.giveUp();
    this.destroy(error);
  }

  #fail(error: Error): void {
    this.#stage.fail(error);
    this.#getConsumer()?.destroy(error);
  }

  #close(): void {
    if (!this.source.readableEnded) {
      this.#stage.giveUp();
      this.#getConsumer()?.destroy();
    }
    this.#stage.endCode();
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
  #isOpen = false;

  constructor(source: Readable, stage: StreamStage) {
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
    if (!this.#isOpen) {
      this.#isOpen = true;
      this.#reader.open(this);
    }
    this.#reader.resume();
  }

  override _destroy(
    error: Error | null,
    callback: (error?: Error | null) => void,
  ): void {
    this.#reader.stop(error ?? undefined);
    callback(error);
  }
}
