import { checkScopeOptions } from "./calling.ts";
import { type Ambient, type EndStream, runWith } from "./context.ts";
import type { Cancellation } from "./limits.ts";
import { checkString } from "./options.ts";
import { type StageOptions, type StageRun, startStage } from "./stage.ts";

/**
 * The options of a stage that lasts as long as a stream.
 *
 * @typeParam N The names of stages, where the pipeline declares them.
 */
export interface StreamOptions<N extends string = string>
  extends Omit<StageOptions, "classifyResult"> {
  /**
   * The name of a stage by which the time to the first chunk is recorded.
   *
   * @default {none}
   */
  firstChunk?: N | undefined;
}

/** What comes out of `stageStream`: the same kind of thing, `null` included. */
export type MeasuredStream<S> = S extends ReadableStream<infer T>
  ? ReadableStream<T>
  : S extends AsyncIterable<infer T> ? AsyncIterable<T>
  : S;

/**
 * The ways to call `stageStream`.
 *
 * @typeParam N The names of stages, where the pipeline declares them.
 */
export interface StreamMethods<N extends string = string> {
  /**
   * Measures a stream as a stage: from this call until it ends, fails, or its
   * consumer stops.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param source The stream.
   * @returns A stream of the same kind, and `null` for `null`.
   * @throws {TypeError} If the source is no stream, or a locked one.
   */
  stageStream<S extends ReadableStream | AsyncIterable<unknown> | null>(
    name: N,
    source: S,
  ): MeasuredStream<S>;
  /**
   * Measures a stream as a stage with options.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param source The stream.
   * @returns A stream of the same kind, and `null` for `null`.
   * @throws {TypeError} If the source is no stream, or a locked one, or if an option
   * has the wrong type.
   * @throws {RangeError} If the timeout is `NaN`.
   */
  stageStream<S extends ReadableStream | AsyncIterable<unknown> | null>(
    name: N,
    options: StreamOptions<N> | undefined,
    source: S,
  ): MeasuredStream<S>;
}

/**
 * Makes a `stageStream` function.
 *
 * @param locate Says what a stage that starts now belongs to.
 */
export function createStreamFunction(
  locate: () => Ambient,
): StreamMethods["stageStream"] {
  return function stageStream(
    name: string,
    ...rest: [source: unknown] | [options: unknown, source: unknown]
  ) {
    const [options, source] = rest.length === 1 ? [undefined, rest[0]] : rest;
    checkScopeOptions("measure a stream", options);
    const streamOptions = (options ?? {}) as StreamOptions;
    checkString("measure a stream", "firstChunk", streamOptions.firstChunk);
    if (source === null) return null;
    const start = () => new StreamStage(locate(), name, streamOptions);
    if (isReadableStream(source)) {
      if (source.locked) {
        throw new TypeError(
          "Cannot measure a stream: it is locked, somebody else reads it",
        );
      }
      // If it may not start, the stream is left as it was.
      const stage = start();
      const isBytes = isByteStream(source);
      return measureReadable(source.getReader(), isBytes, stage);
    }
    if (isAsyncIterable(source)) return new MeasuredIterator(source, start());
    throw new TypeError(
      `Cannot measure a stream: expected a ReadableStream or an async iterable, got ${typeof source}`,
    );
  } as StreamMethods["stageStream"];
}

/** The stage that a stream is, and the one that its first chunk ends. */
class StreamStage {
  /** Lets the consumer have the error when the stage is ended. */
  onAbandon: ((error: unknown) => void) | undefined;
  /** What ended it before the stream did. */
  abandonedBy: Cancellation | undefined;
  readonly #ambient: Ambient;
  readonly #run: StageRun;
  readonly #endStream: EndStream | undefined;
  #first: StageRun | undefined;
  #isOver = false;

  constructor(
    ambient: Ambient,
    name: string,
    { firstChunk, ...options }: StreamOptions,
  ) {
    this.#ambient = ambient;
    this.#run = startStage(ambient, name, options);
    if (firstChunk !== undefined) {
      this.#first = this.#startFirst(firstChunk);
    }
    this.#endStream = ambient.pipeline?.beginStream();
    if (!this.#run.isLimited) return;
    const ended = this.#run.limits.start();
    if (ended !== undefined) this.#abandon(ended);
    else this.#run.limits.race((_, ending) => this.#abandon(ending));
  }

  #startFirst(name: string): StageRun {
    try {
      return startStage(this.#ambient, name, undefined);
    } catch (error) {
      // Strict, it has not begun: nor has the stream.
      this.#run.fail(error);
      throw error;
    }
  }

  /** Calls the source's own code inside of the pipeline that the stage belongs to. */
  enter<T>(fn: () => T): T {
    return runWith(this.#ambient, () => this.#run.enter(fn));
  }

  /** A chunk has come. */
  chunk(): void {
    this.#first?.complete();
    this.#first = undefined;
  }

  /** The stream has ended. */
  complete(): void {
    this.#end((run) => run.complete());
  }

  /** The stream has failed. */
  fail(error: unknown): void {
    this.#end((run) => run.fail(error), { error });
  }

  /** The consumer wants no more. */
  giveUp(): void {
    this.#cancel({ error: undefined, outcome: "success", isCancelled: true });
  }

  #abandon(cancellation: Cancellation): void {
    this.abandonedBy = cancellation;
    this.#cancel(cancellation);
    this.onAbandon?.(cancellation.error);
  }

  #cancel(cancellation: Cancellation): void {
    this.#end((run) => run.cancel(cancellation), cancellation);
  }

  #end(
    settle: (run: StageRun) => void,
    { error, isCancelled = false }: Partial<Cancellation> = {},
  ): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#first !== undefined) settle(this.#first);
    settle(this.#run);
    this.#endStream?.(this.#run.settledAs!, isCancelled, error);
  }
}

/** Hands on each chunk as it is asked for, and buffers none. */
function measureReadable(
  reader: ReadableStreamDefaultReader,
  isBytes: boolean,
  stage: StreamStage,
): ReadableStream {
  const source = {
    start(controller: ReadableStreamController<unknown>) {
      stage.onAbandon = (error) => {
        controller.error(error);
        stage.enter(() => reader.cancel(error)).catch(() => {});
      };
      if (stage.abandonedBy !== undefined) {
        stage.onAbandon(stage.abandonedBy.error);
      }
    },
    async pull(controller: ReadableStreamController<unknown>) {
      let result: ReadableStreamReadResult<unknown>;
      try {
        result = await stage.enter(() => reader.read());
      } catch (error) {
        stage.fail(error);
        throw error;
      }
      if (stage.abandonedBy !== undefined) return;
      if (!result.done) {
        stage.chunk();
        controller.enqueue(result.value as never);
        return;
      }
      stage.complete();
      controller.close();
      // A consumer's own buffer would wait for ever.
      if ("byobRequest" in controller) controller.byobRequest?.respond(0);
    },
    cancel(reason: unknown) {
      stage.giveUp();
      return stage.enter(() => reader.cancel(reason));
    },
  };
  return isBytes
    ? new ReadableStream({ ...source, type: "bytes" })
    : new ReadableStream(source, { highWaterMark: 0 });
}

/** Hands on each pull, one after the other. */
class MeasuredIterator<T> implements AsyncIterableIterator<T> {
  readonly #source: AsyncIterable<T>;
  readonly #stage: StreamStage;
  #iterator: AsyncIterator<T> | undefined;
  #lastPull: Promise<unknown> = Promise.resolve();
  #rejectPull: ((error: unknown) => void) | undefined;
  /** Whether the consumer knows that the stage was ended. */
  #isTold = false;

  constructor(source: AsyncIterable<T>, stage: StreamStage) {
    this.#source = source;
    this.#stage = stage;
    stage.onAbandon = (error) => {
      this.#rejectPull?.(error);
      // The source may clean up; nobody waits for it.
      this.#enter("return", []).catch(() => {});
    };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(...args: [] | [unknown]): Promise<IteratorResult<T>> {
    return this.#pull("next", args);
  }

  return(...args: [] | [unknown]): Promise<IteratorResult<T>> {
    return this.#pull("return", args);
  }

  throw(error?: unknown): Promise<IteratorResult<T>> {
    return this.#pull("throw", [error]);
  }

  #pull(method: Method, args: unknown[]): Promise<IteratorResult<T>> {
    const pull = this.#lastPull.then(() => this.#step(method, args));
    this.#lastPull = pull.catch(() => {});
    return pull;
  }

  async #step(method: Method, args: unknown[]): Promise<IteratorResult<T>> {
    const stage = this.#stage;
    if (stage.abandonedBy !== undefined) {
      if (this.#isTold || method === "return") {
        return { done: true, value: undefined };
      }
      this.#isTold = true;
      throw stage.abandonedBy.error;
    }
    let result: IteratorResult<T>;
    try {
      result = await new Promise((resolve, reject) => {
        this.#rejectPull = (error) => {
          this.#isTold = true;
          reject(error);
        };
        this.#enter(method, args).then(resolve, reject);
      });
    } catch (error) {
      stage.fail(error);
      throw error;
    } finally {
      this.#rejectPull = undefined;
    }
    if (!result.done) stage.chunk();
    else if (method === "next") stage.complete();
    else stage.giveUp();
    return result;
  }

  async #enter(method: Method, args: unknown[]): Promise<IteratorResult<T>> {
    return await this.#stage.enter(async () => {
      const iterator = this.#iterator ??= this.#source[Symbol.asyncIterator]();
      const step = iterator[method] as
        | ((...args: unknown[]) => Promise<IteratorResult<T>>)
        | undefined;
      if (step !== undefined) return await Reflect.apply(step, iterator, args);
      // As `yield*` does with an iterator that lacks the method.
      if (method === "throw") {
        await iterator.return?.();
        throw args[0];
      }
      return { done: true, value: args[0] as T };
    });
  }
}

type Method = "next" | "return" | "throw";

function isReadableStream(source: unknown): source is ReadableStream {
  return typeof (source as Partial<ReadableStream>)?.getReader === "function";
}

function isByteStream(source: ReadableStream): boolean {
  try {
    source.getReader({ mode: "byob" }).releaseLock();
    return true;
  } catch {
    return false;
  }
}

function isAsyncIterable(source: unknown): source is AsyncIterable<unknown> {
  const { [Symbol.asyncIterator]: iterator } = Object(source);
  return typeof iterator === "function";
}
