import { checkString } from "../common/validate.ts";
import type { CurrentContext } from "../scopes/context.ts";
import { checkScopeName, checkScopeOptions } from "../scopes/options.ts";
import { isAsyncIterable, MeasuredIterator } from "./measured_iterator.ts";
import { isNodeReadable, MeasuredNodeStream } from "./measured_node_stream.ts";
import { isReadableStream, measureWebStream } from "./measured_web_stream.ts";
import type { StageOptions, StageScope } from "./stage.ts";
import { StreamStage } from "./stream_stage.ts";

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

/** A stream of Node's, by the shape that its class `Readable` has. */
export interface NodeReadable extends AsyncIterable<unknown> {
  /** Pipes it into a writable stream. */
  pipe(destination: never): unknown;
  /** Reads a chunk. */
  read(size?: number): unknown;
  /** Returns a stream of its first chunks. */
  take(limit: number): unknown;
}

/** What `stageStream` measures. */
export type StreamSource =
  | ReadableStream
  | AsyncIterable<unknown>
  | NodeReadable
  | null;

/**
 * What comes out of `stageStream`: the same kind of thing, `null` included. Of each
 * subclass of Node's `Readable` it is a plain `Readable`.
 */
export type MeasuredStream<S> = S extends ReadableStream<infer T>
  ? ReadableStream<T>
  : S extends AsyncGenerator<infer T, infer R, infer N>
    ? AsyncGenerator<T, R, N>
  // Node's own type, which is not imported, as not every program has it.
  : S extends NodeReadable & { take(limit: number): infer R } ? R
  : S extends AsyncIterableIterator<infer T> ? AsyncIterableIterator<T>
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
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, and `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked.
   */
  stageStream<S extends StreamSource>(
    name: N,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
  /**
   * Measures a stream as a stage with options.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, and `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked, or if an option
   * has the wrong type.
   * @throws {RangeError} If the timeout is `NaN`.
   */
  stageStream<S extends StreamSource>(
    name: N,
    options: StreamOptions<N> | undefined,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
}

/**
 * Makes a `stageStream` function.
 *
 * @param context Returns the context of a stage that starts now.
 */
export function createStreamFunction(
  context: () => CurrentContext,
): StreamMethods["stageStream"] {
  return function stageStream(
    name: string,
    ...rest: [source: unknown] | [options: unknown, source: unknown]
  ) {
    const [options, source] = rest.length === 1 ? [undefined, rest[0]] : rest;
    const action = "measure a stream";
    checkScopeName(action, name);
    checkScopeOptions(action, options);
    const streamOptions = (options ?? {}) as StreamOptions;
    checkString(action, "firstChunk", streamOptions.firstChunk);
    if (source === null) return null;
    const start = () => new StreamStage(context(), name, streamOptions);
    // Checked first, so that nothing has begun where it throws.
    if (typeof source !== "function") {
      const measure = measurerOf(source);
      const stage = start();
      return stage.attempt(() => measure(stage));
    }
    const stage = start();
    return stage.open(() => {
      const opened = source(stage.scope);
      return opened === null ? null : measurerOf(opened)(stage);
    });
  } as StreamMethods["stageStream"];
}

/**
 * Returns a function that measures a stream as a stage: it passes each chunk on when
 * that is asked for, and buffers none.
 *
 * @throws {TypeError} If the source is not a stream, or is locked.
 */
function measurerOf(source: unknown): (stage: StreamStage) => unknown {
  if (isReadableStream(source)) {
    if (!source.locked) return (stage) => measureWebStream(source, stage);
    throw new TypeError(
      "Cannot measure a stream: it is locked, as something else reads it",
    );
  }
  if (isNodeReadable(source)) {
    return (stage) => new MeasuredNodeStream(source, stage);
  }
  if (isAsyncIterable(source)) {
    return (stage) => new MeasuredIterator(source, stage);
  }
  throw new TypeError(
    `Cannot measure a stream: expected a ReadableStream, an async iterable, a Readable of Node's, or a function that returns one, got ${typeof source}`,
  );
}
