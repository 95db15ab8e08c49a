import { ignoreRejection } from "../scopes/run.ts";
import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

type Method = "next" | "return" | "throw";

/** Returns whether a source can be iterated by `for await`. */
export function isAsyncIterable(
  source: unknown,
): source is AsyncIterable<unknown> {
  const { [Symbol.asyncIterator]: iterator } = Object(source);
  return typeof iterator === "function";
}

/** Returns a property of a source, or `undefined` if its getter throws. */
function readProperty(source: object, key: symbol): unknown {
  try {
    return Reflect.get(source, key);
  } catch {
    return undefined;
  }
}

function canReturn(source: object): boolean {
  try {
    return "return" in source;
  } catch {
    // A trap of a proxy threw.
    return false;
  }
}

/**
 * Reads an async iterable: passes each call to its iterator at once, in the context of the
 * pipeline.
 */
class IteratorReader implements SourceReader {
  readonly measurement: StreamMeasurement;
  readonly #source: AsyncIterable<unknown>;
  /** The source's tag, by which libraries distinguish generators from iterators. */
  readonly tag: string | undefined;
  #iterator: AsyncIterator<unknown> | undefined;
  /** The last call to a generator, while it is pending. */
  #pendingCall: Promise<unknown> | undefined;

  constructor(source: AsyncIterable<unknown>, measurement: StreamMeasurement) {
    this.#source = source;
    const tag = readProperty(source, Symbol.toStringTag);
    this.tag = typeof tag === "string" ? tag : undefined;
    this.measurement = measurement;
  }

  get #isGenerator(): boolean {
    return this.tag === "AsyncGenerator";
  }

  step(method: Method, args: unknown[]): Promise<IteratorResult<unknown>> {
    if (!this.#isGenerator) return this.#call(method, args);
    // In Deno, a call that the generator itself queues loses its async context.
    const call = this.#pendingCall === undefined
      ? this.#call(method, args)
      : this.#pendingCall.then(() => this.#call(method, args));
    const end = () => {
      if (this.#pendingCall === pending) this.#pendingCall = undefined;
    };
    const pending = call.then(end, end);
    this.#pendingCall = pending;
    return call;
  }

  async #call(
    method: Method,
    args: unknown[],
  ): Promise<IteratorResult<unknown>> {
    return await this.measurement.enter(async () => {
      const iterator = this.#iterator ??= this.#source[Symbol.asyncIterator]();
      const step = iterator[method] as
        | ((...args: unknown[]) => Promise<IteratorResult<unknown>>)
        | undefined;
      if (step !== undefined) return await Reflect.apply(step, iterator, args);
      // Like `yield*` with an iterator that lacks the method.
      if (method === "throw") {
        await iterator.return?.();
        throw args[0];
      }
      return { done: true, value: args[0] };
    });
  }

  stop(): void {
    this.measurement.cancelByConsumer();
    this.close();
  }

  /** The method that disposes of the source, unless `return()` does. */
  get dispose(): (() => PromiseLike<void>) | undefined {
    if (this.#isGenerator) return undefined;
    const dispose = readProperty(this.#source, Symbol.asyncDispose);
    if (typeof dispose !== "function") return undefined;
    return () =>
      this.measurement.enter(() => Reflect.apply(dispose, this.#source, []));
  }

  /** Closes the source, and does not wait until it is closed. */
  close(): void {
    const end = () => this.measurement.endCode();
    // Do not open a source only to close it.
    if (this.#iterator === undefined && !canReturn(this.#source)) {
      end();
      return;
    }
    this.step("return", []).then(end, end);
  }
}

/** A measured async iterable, as its consumer gets it. */
export class MeasuredIterator
  implements AsyncGenerator<unknown, unknown, unknown> {
  readonly #reader: IteratorReader;
  /** The functions that reject the pending calls. */
  readonly #pending: Set<(error: unknown) => void> = new Set();
  /** Whether a call has rejected with the error of the cancellation. */
  #hasThrown = false;

  constructor(source: AsyncIterable<unknown>, measurement: StreamMeasurement) {
    const reader = new IteratorReader(source, measurement);
    this.#reader = reader;
    const ref = new WeakRef(this);
    measurement.onCancel((error) => {
      const iterator = ref.deref();
      if (iterator !== undefined) iterator.#rejectPending(error);
      reader.close();
    });
    stopWhenCollected(this, reader, measurement);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get [Symbol.toStringTag](): string | undefined {
    return this.#reader.tag;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { dispose, measurement } = this.#reader;
    if (dispose === undefined) {
      await this.return();
      return;
    }
    measurement.cancelByConsumer();
    try {
      await dispose();
    } finally {
      measurement.endCode();
    }
  }

  next(...args: [] | [unknown]): Promise<IteratorResult<unknown>> {
    return this.#call("next", args);
  }

  return(...args: [] | [unknown]): Promise<IteratorResult<unknown>> {
    // A source that is waiting may never settle this call.
    if (this.#pending.size > 0) this.#reader.measurement.cancelByConsumer();
    return this.#call("return", args);
  }

  throw(error?: unknown): Promise<IteratorResult<unknown>> {
    if (this.#pending.size > 0) this.#reader.measurement.cancelByConsumer();
    return this.#call("throw", [error]);
  }

  #call(method: Method, args: unknown[]): Promise<IteratorResult<unknown>> {
    const { measurement } = this.#reader;
    if (measurement.cancelledBy !== undefined) {
      return this.#callCancelled(measurement.cancelledBy.error, method, args);
    }
    const result = new Promise<IteratorResult<unknown>>((resolve, reject) => {
      const cancel = (error: unknown) => {
        this.#hasThrown = true;
        ignoreRejection(result);
        reject(error);
      };
      this.#pending.add(cancel);
      this.#reader.step(method, args).then((result) => {
        // The call was rejected in the meantime: this result is not a chunk.
        if (!this.#pending.delete(cancel)) return;
        this.#record(method, result);
        resolve(result);
      }, (error) => {
        if (!this.#pending.delete(cancel)) return;
        if (measurement.mayBeFromAbort(error)) ignoreRejection(result);
        const isFromConsumer = method === "throw" && Object.is(error, args[0]);
        measurement.endCode();
        if (isFromConsumer) measurement.cancelByConsumer();
        else measurement.fail(error);
        reject(error);
      });
    });
    return result;
  }

  #record(method: Method, result: IteratorResult<unknown>): void {
    const { measurement } = this.#reader;
    let isDone;
    try {
      isDone = result.done;
    } catch (error) {
      // The consumer gets the invalid result, as from the source itself.
      measurement.endCode();
      measurement.fail(error);
      return;
    }
    if (!isDone) {
      measurement.recordChunk();
      return;
    }
    // First: a cancellation would otherwise count the code as abandoned.
    measurement.endCode();
    if (method === "next") measurement.complete();
    else measurement.cancelByConsumer();
  }

  /** Handles a call after the cancellation: like a generator, rejects once. */
  #callCancelled(
    error: unknown,
    method: Method,
    args: unknown[],
  ): Promise<IteratorResult<unknown>> {
    if (method === "throw") return Promise.reject(args[0]);
    if (method === "return") {
      return Promise.resolve({ done: true, value: args[0] });
    }
    if (this.#hasThrown) {
      return Promise.resolve({ done: true, value: undefined });
    }
    this.#hasThrown = true;
    return Promise.reject(error);
  }

  #rejectPending(error: unknown): void {
    for (const reject of this.#pending) reject(error);
    this.#pending.clear();
  }
}
