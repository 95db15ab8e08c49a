/** Reads the source of a measured stream. */
export interface SourceReader {
  /** Stops the source after the measured stream has been garbage-collected. */
  stop(): void;
}

const readers = new FinalizationRegistry<SourceReader>((reader) =>
  reader.stop()
);

/**
 * Stops a reader when its measured stream is garbage-collected. A server that answers a
 * HEAD request, for example, neither reads the body nor cancels it.
 *
 * @param stream The measured stream.
 * @param reader The reader. It must not refer to the stream, or the stream could not be
 * collected.
 * @param token The token for {@linkcode unregisterReader}.
 */
export function stopWhenCollected(
  stream: object,
  reader: SourceReader,
  token: object,
): void {
  readers.register(stream, reader, token);
}

/**
 * Releases the reader of a stream that has ended. Its source may refer to the stream, and
 * then neither could be collected.
 */
export function unregisterReader(token: object): void {
  readers.unregister(token);
}
