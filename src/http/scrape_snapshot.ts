import { setImmediate } from "node:timers";
import type { MetricFamily } from "../exposition/model.ts";
import { type Format, render } from "../exposition/text.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Returns the next chunk, or `undefined` at the end. */
export type NextChunk = () => Promise<Bytes | undefined>;

/** The metrics as they were at one time, for all bodies that show them. */
export class Snapshot {
  /** Stands for the registries that it shows. */
  readonly owner: object;
  /** The same for scrapes of the owner that may share it. */
  readonly key: string;
  /** Resolves when the metrics are there. */
  readonly collected: Promise<void>;
  /** The number of the last scrape that came before collecting began. */
  lastScrape = Infinity;
  isCollecting = true;
  /** How many bodies show it. */
  bodies = 0;
  /** How many samples of foreign metrics it retains: own ones are small. */
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
    // A body that was cut off does not wait for it.
    this.collected.catch(() => {});
  }

  async #collect(
    collect: () => Promise<() => Promise<readonly MetricFamily[]>>,
  ): Promise<void> {
    await null;
    try {
      const gather = await collect();
      // Own counts are read now, so later scrapes must not join.
      this.isCollecting = false;
      this.#families = await gather();
      for (const family of this.#families) {
        if (family.lines === undefined) {
          this.retainedSamples += family.samples.length;
        }
      }
    } finally {
      this.isCollecting = false;
    }
  }

  /** Returns the whole text, if that is short. */
  short(format: Format): Bytes | undefined {
    const slices = render(this.#families, format);
    const { value } = slices.next();
    return slices.next().done ? new TextEncoder().encode(value!) : undefined;
  }

  /** Reads the text. Each reader renders it, and retains no more than a slice. */
  read(format: Format): NextChunk {
    const encoder = new TextEncoder();
    const slices = render(this.#families, format);
    return async () => {
      // All that waits has its turn before the next slice.
      await new Promise((resolve) => setImmediate(resolve));
      const { value } = slices.next();
      return value === undefined ? undefined : encoder.encode(value);
    };
  }

  /** Reads the compressed text, which is small enough to be retained for all readers. */
  readCompressed(format: Format): NextChunk {
    const chunks = this.#compressed.get(format) ??
      new SharedChunks(createStream(this.read(format)));
    this.#compressed.set(format, chunks);
    let index = 0;
    return () => chunks.at(index++);
  }

  /** Stops compressing, as nobody reads it any more. */
  release(): void {
    for (const chunks of this.#compressed.values()) chunks.cancel();
  }
}

/** A compressed text, which is compressed once, as far as one of its readers is. */
class SharedChunks {
  readonly #chunks: Promise<Bytes | undefined>[] = [];
  readonly #reader: ReadableStreamDefaultReader<Bytes>;

  constructor(text: ReadableStream<Bytes>) {
    this.#reader = text.pipeThrough(new CompressionStream("gzip")).getReader();
  }

  /** Returns a chunk; each reader asks for one after the other. */
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
