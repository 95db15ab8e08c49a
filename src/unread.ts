/** What reads from a source for a stream that somebody else holds. */
export interface Reader {
  /** Stops the source, as the stream was collected: nobody can read it any more. */
  stop(): void;
}

const collected = new FinalizationRegistry<Reader>((reader) => reader.stop());

/**
 * Stops a reader when the stream that it reads for is collected. A server that answers
 * a HEAD request without reading the body does not cancel it either.
 *
 * @param reader Must not lead to the stream, which could not be collected then.
 * @param stage The stage of the stream, by which this is called off.
 */
export function stopWhenCollected(
  stream: object,
  reader: Reader,
  stage: object,
): void {
  collected.register(stream, reader, stage);
}

/**
 * Lets go of the reader of a stream that has ended. Its source may lead to the stream,
 * and then neither of them could be collected.
 */
export function releaseReader(stage: object): void {
  collected.unregister(stage);
}
