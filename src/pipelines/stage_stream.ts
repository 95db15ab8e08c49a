import { checkString } from "../common/validate.ts";
import type { CurrentContext } from "../scopes/context.ts";
import { checkScopeName, checkScopeOptions } from "../scopes/options.ts";
import { isAsyncIterable, MeasuredIterator } from "./measured_iterator.ts";
import { isNodeReadable, MeasuredNodeStream } from "./measured_node_stream.ts";
import { isReadableStream, measureWebStream } from "./measured_web_stream.ts";
import type { StageOptions } from "./stage.ts";
import { StreamMeasurement } from "./stream_measurement.ts";

/**
 * The options of a stage that lasts as long as a stream.
 *
 * @typeParam N The names of the stages, if the pipeline declares them.
 */
export interface StreamOptions<N extends string = string>
  extends Omit<StageOptions, "classifyResult"> {
  /**
   * The name of a second stage, which lasts until the first chunk and ends with it.
   *
   * @default {none: the time to the first chunk is not recorded}
   */
  firstChunk?: N | undefined;
}

/** A readable stream of Node.js, by the shape of its class `Readable`. */
export interface NodeReadable extends AsyncIterable<unknown> {
  /** Pipes the stream into a writable stream. */
  pipe(destination: never): unknown;
  /** Reads a chunk. */
  read(size?: number): unknown;
  /** Returns a stream of the first chunks. */
  take(limit: number): unknown;
}

/**
 * A stream that `stageStream` can measure. `null` stands for an absent body, such as
 * `response.body` of an empty response.
 */
export type StreamSource =
  | ReadableStream
  | AsyncIterable<unknown>
  | NodeReadable
  | null;

/**
 * The type that `stageStream` returns for a source of type `S`: a `ReadableStream`,
 * async generator, async iterable or Node.js `Readable` of the same chunks, or `null`.
 * A subclass of `Readable` becomes a plain `Readable`.
 *
 * @typeParam S The type of the source.
 */
export type MeasuredStream<S> = S extends ReadableStream<infer T>
  ? ReadableStream<T>
  : S extends AsyncGenerator<infer T, infer R, infer N>
    ? AsyncGenerator<T, R, N>
  // `Readable` itself is not imported, as not every program has the types of Node.js.
  : S extends NodeReadable & { take(limit: number): infer R } ? R
  : S extends AsyncIterableIterator<infer T> ? AsyncIterableIterator<T>
  : S extends AsyncIterable<infer T> ? AsyncIterable<T>
  : S;

/** A function with the call forms of `stageStream`, without their types. */
export type StreamFunction = (
  name: string,
  ...rest: [source: unknown] | [options: unknown, source: unknown]
) => unknown;

/**
 * Creates a `stageStream` function.
 *
 * @param context Returns the context of a stage that starts now.
 */
export function createStreamFunction(
  context: () => CurrentContext,
): StreamFunction {
  return (name, ...rest) => {
    const [options, source] = rest.length === 1 ? [undefined, rest[0]] : rest;
    const action = "measure a stream";
    checkScopeName(action, name);
    checkScopeOptions(action, options);
    const streamOptions = (options ?? {}) as StreamOptions;
    checkString(action, "firstChunk", streamOptions.firstChunk);
    if (source === null) return null;
    const start = () => new StreamMeasurement(context(), name, streamOptions);
    // Checked first: if this throws, no stage has started.
    if (typeof source !== "function") {
      const measure = measurerOf(source);
      const measurement = start();
      return measurement.attempt(() => measure(measurement));
    }
    const measurement = start();
    return measurement.open(() => {
      const opened = source(measurement.scope);
      return opened === null ? null : measurerOf(opened)(measurement);
    });
  };
}

/**
 * Returns the function that measures a stream. It passes each chunk on when the consumer
 * reads it, and buffers nothing.
 *
 * @throws {TypeError} If the source is not a stream, or is locked.
 */
function measurerOf(
  source: unknown,
): (measurement: StreamMeasurement) => unknown {
  if (isReadableStream(source)) {
    if (!source.locked) {
      return (measurement) => measureWebStream(source, measurement);
    }
    throw new TypeError(
      "Cannot measure a stream: it is locked by another reader",
    );
  }
  if (isNodeReadable(source)) {
    return (measurement) => new MeasuredNodeStream(source, measurement);
  }
  if (isAsyncIterable(source)) {
    return (measurement) => new MeasuredIterator(source, measurement);
  }
  throw new TypeError(
    `Cannot measure a stream: expected a ReadableStream, an async iterable, a Node.js Readable, or a function that returns one, got ${typeof source}`,
  );
}
