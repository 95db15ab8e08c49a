import { setImmediate } from "node:timers";
import type { Format } from "../exposition/format.ts";
import type { MetricFamily } from "../exposition/model.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Returns the next chunk, or `undefined` at the end. */
export type NextChunk = () => Promise<Bytes | undefined>;

/** The metrics at one time, shared by the bodies that show them. */
export class Snapshot {
  /** The object that identifies the registries. */
  readonly owner: object;
  /** The same text for all scrapes of the owner that can share it. */
  readonly key: string;
  /** Resolves when the metrics have been gathered. */
  readonly collected: Promise<void>;
  /** The number of the last scrape that arrived before collecting began. */
  lastScrape = Infinity;
  /** Whether own metrics have not yet been read. */
  isCollecting = true;
  /** The number of bodies that show it. */
  bodies = 0;
  /** The number of foreign samples in it. Own series are small. */
  retainedSamples = 0;
  #families: readonly MetricFamily[] = [];
  readonly #compressed = new Map<Format, SharedChunks>();

  /** @param collect Collects the metrics, and returns a function that gathers them. */
  constructor(
    owner: object,
    key: string,
    collect: () => Promise<() => Promise<readonly MetricFamily[]>>,
  ) {
    this.owner = owner;
    this.key = key;
    this.collected = this.#collect(collect);
    // Aborted bodies do not await it.
    this.collected.catch(() => {});
  }

  async #collect(
    collect: () => Promise<() => Promise<readonly MetricFamily[]>>,
  ): Promise<void> {
    await null;
    try {
      const gather = await collect();
      // Own counts are read now: later scrapes must not share them.
      this.isCollecting = false;
      this.#families = await gather();
      for (const family of this.#families) {
        if (family.templated === undefined) {
          this.retainedSamples += family.samples.length;
        }
      }
    } finally {
      this.isCollecting = false;
    }
  }

  /** Returns the whole text if it is short. */
  short(format: Format): Bytes | undefined {
    const slices = format.encode(this.#families);
    const { value } = slices.next();
    return slices.next().done ? value : undefined;
  }

  /** Reads the text. Each reader renders it, and retains one slice at most. */
  read(format: Format): NextChunk {
    const slices = format.encode(this.#families);
    return async () => {
      // Other work runs between slices.
      await new Promise((resolve) => setImmediate(resolve));
      return slices.next().value;
    };
  }

  /** Reads the compressed text, which is small enough to retain for all readers. */
  readCompressed(format: Format): NextChunk {
    const chunks = this.#compressed.get(format) ??
      new SharedChunks(createStream(this.read(format)));
    this.#compressed.set(format, chunks);
    let index = 0;
    return () => chunks.at(index++);
  }

  /** Stops compressing when there is no reader left. */
  release(): void {
    for (const chunks of this.#compressed.values()) chunks.cancel();
  }
}

/** A text that is compressed once for all readers, at the pace of the fastest one. */
class SharedChunks {
  readonly #chunks: Promise<Bytes | undefined>[] = [];
  readonly #reader: ReadableStreamDefaultReader<Bytes>;

  constructor(text: ReadableStream<Bytes>) {
    this.#reader = text.pipeThrough(new CompressionStream("gzip")).getReader();
  }

  /** Returns a chunk. Each reader requests them in order. */
  at(index: number): Promise<Bytes | undefined> {
    return this.#chunks[index] ??= this.#reader.read()
      .then(({ value }) => value);
  }

  cancel(): void {
    this.#reader.cancel().catch(() => {});
  }
}

function createStream(next: NextChunk): ReadableStream<Bytes> {
  return new ReadableStream<Bytes>({
    async pull(controller) {
      const chunk = await next();
      if (chunk === undefined) controller.close();
      else controller.enqueue(chunk);
    },
  }, { highWaterMark: 0 });
}
