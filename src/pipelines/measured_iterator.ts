import { ignoreRejection } from "../scopes/run.ts";
import { type SourceReader, stopWhenCollected } from "./source_reader.ts";
import type { StreamMeasurement } from "./stream_measurement.ts";

type Method = "next" | "return" | "throw";

/** Whether something can be iterated by `for await`. */
export function isAsyncIterable(
  source: unknown,
): source is AsyncIterable<unknown> {
  const { [Symbol.asyncIterator]: iterator } = Object(source);
  return typeof iterator === "function";
}

/** Reads a property of a source, whose getters may throw. */
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
    // A proxy threw.
    return false;
  }
}

/**
 * An async iterable as its stage reads it: each call goes to the iterator at once, and
 * in the context of the pipeline.
 */
class IteratorReader implements SourceReader {
  readonly stage: StreamMeasurement;
  readonly #source: AsyncIterable<unknown>;
  /** The source's, by which libraries tell generators from other iterators. */
  readonly tag: string | undefined;
  #iterator: AsyncIterator<unknown> | undefined;
  /** The latest call of a generator, while it is pending. */
  #pendingCall: Promise<unknown> | undefined;

  constructor(source: AsyncIterable<unknown>, stage: StreamMeasurement) {
    this.#source = source;
    const tag = readProperty(source, Symbol.toStringTag);
    this.tag = typeof tag === "string" ? tag : undefined;
    this.stage = stage;
  }

  get #isGenerator(): boolean {
    return this.tag === "AsyncGenerator";
  }

  step(method: Method, args: unknown[]): Promise<IteratorResult<unknown>> {
    if (!this.#isGenerator) return this.#call(method, args);
    // Deno loses the async context of calls that a generator queues by itself.
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
    return await this.stage.enter(async () => {
      const iterator = this.#iterator ??= this.#source[Symbol.asyncIterator]();
      const step = iterator[method] as
        | ((...args: unknown[]) => Promise<IteratorResult<unknown>>)
        | undefined;
      if (step !== undefined) return await Reflect.apply(step, iterator, args);
      // As `yield*` does with an iterator that lacks the method.
      if (method === "throw") {
        await iterator.return?.();
        throw args[0];
      }
      return { done: true, value: args[0] };
    });
  }

  stop(): void {
    this.stage.giveUp();
    this.close();
  }

  /** Returns how the source is disposed of, if not by `return()`. */
  get dispose(): (() => PromiseLike<void>) | undefined {
    if (this.#isGenerator) return undefined;
    const dispose = readProperty(this.#source, Symbol.asyncDispose);
    if (typeof dispose !== "function") return undefined;
    return () =>
      this.stage.enter(() => Reflect.apply(dispose, this.#source, []));
  }

  /** Closes the source without waiting for it. */
  close(): void {
    const end = () => this.stage.endCode();
    // Do not open a source only to close it.
    if (this.#iterator === undefined && !canReturn(this.#source)) {
      end();
      return;
    }
    this.step("return", []).then(end, end);
  }
}

/** The async iterator that a consumer of a measured async iterable has. */
export class MeasuredIterator
  implements AsyncGenerator<unknown, unknown, unknown> {
  readonly #reader: IteratorReader;
  /** Rejects each pending call. */
  readonly #pending: Set<(error: unknown) => void> = new Set();
  /** Whether the consumer has got the error of the cancellation. */
  #hasThrown = false;

  constructor(source: AsyncIterable<unknown>, stage: StreamMeasurement) {
    const reader = new IteratorReader(source, stage);
    this.#reader = reader;
    const ref = new WeakRef(this);
    stage.onCancel((error) => {
      const iterator = ref.deref();
      if (iterator !== undefined) iterator.#rejectPending(error);
      reader.close();
    });
    stopWhenCollected(this, reader, stage);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  get [Symbol.toStringTag](): string | undefined {
    return this.#reader.tag;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { dispose, stage } = this.#reader;
    if (dispose === undefined) {
      await this.return();
      return;
    }
    stage.giveUp();
    try {
      await dispose();
    } finally {
      stage.endCode();
    }
  }

  next(...args: [] | [unknown]): Promise<IteratorResult<unknown>> {
    return this.#call("next", args);
  }

  return(...args: [] | [unknown]): Promise<IteratorResult<unknown>> {
    // A source that is still waiting may never settle the call.
    if (this.#pending.size > 0) this.#reader.stage.giveUp();
    return this.#call("return", args);
  }

  throw(error?: unknown): Promise<IteratorResult<unknown>> {
    if (this.#pending.size > 0) this.#reader.stage.giveUp();
    return this.#call("throw", [error]);
  }

  #call(method: Method, args: unknown[]): Promise<IteratorResult<unknown>> {
    const { stage } = this.#reader;
    if (stage.cancelledBy !== undefined) {
      return this.#callCancelled(stage.cancelledBy.error, method, args);
    }
    const result = new Promise<IteratorResult<unknown>>((resolve, reject) => {
      const cancel = (error: unknown) => {
        this.#hasThrown = true;
        ignoreRejection(result);
        reject(error);
      };
      this.#pending.add(cancel);
      this.#reader.step(method, args).then((result) => {
        // It was rejected meanwhile, and must not be recorded as a chunk.
        if (!this.#pending.delete(cancel)) return;
        this.#record(method, result);
        resolve(result);
      }, (error) => {
        if (!this.#pending.delete(cancel)) return;
        if (stage.mayComeFromAbort(error)) ignoreRejection(result);
        const isConsumers = method === "throw" && Object.is(error, args[0]);
        stage.endCode();
        if (isConsumers) stage.giveUp();
        else stage.fail(error);
        reject(error);
      });
    });
    return result;
  }

  #record(method: Method, result: IteratorResult<unknown>): void {
    const { stage } = this.#reader;
    let isDone;
    try {
      isDone = result.done;
    } catch (error) {
      // The consumer gets the invalid result, as it would from the source.
      stage.endCode();
      stage.fail(error);
      return;
    }
    if (!isDone) {
      stage.chunk();
      return;
    }
    // Before it is given up: it is not abandoned then.
    stage.endCode();
    if (method === "next") stage.complete();
    else stage.giveUp();
  }

  /** Rejects with the error of the cancellation once, as a generator would. */
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
