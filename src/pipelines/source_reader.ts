/** Reads a source for a measured stream. */
export interface SourceReader {
  /** Stops the source, as the measured stream was collected. */
  stop(): void;
}

const collected = new FinalizationRegistry<SourceReader>((reader) =>
  reader.stop()
);

/**
 * Stops a reader when the stream that it reads for is collected. A server that answers
 * a HEAD request without reading the body does not cancel it either.
 *
 * @param reader Must not refer to the stream, which could not be collected then.
 * @param stage The token for {@linkcode unregisterReader}.
 */
export function stopWhenCollected(
  stream: object,
  reader: SourceReader,
  stage: object,
): void {
  collected.register(stream, reader, stage);
}

/**
 * Lets go of the reader of a stream that has ended. Its source may lead to the stream,
 * and then neither of them could be collected.
 */
export function unregisterReader(stage: object): void {
  collected.unregister(stage);
}
