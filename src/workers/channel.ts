import Module from "node:module";
import { countItems } from "../common/slices.ts";
import { InvalidMessage } from "./invalid_message.ts";
import { isWorkerId } from "./message_checks.ts";
import { fields, isBoolean, whole } from "./shape.ts";

/** The maximum size of a chunk, in bytes. */
const CHUNK_SIZE = 60 * 1024;

/** The number of UTF-16 code units that are buffered before they are sent. */
const BUFFER_SIZE = 30 * 1024;

/** The maximum size of all unread chunks, and of all incomplete messages, in bytes. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;

/** The maximum number of incomplete messages. */
const MAX_INCOMPLETE = 256;

/** The number of bytes that take about as long to write or read as one sample. */
const BYTES_PER_ITEM = 120;

/**
 * A part of a message. Chunks arrive in order, but some may be lost: Deno drops them when
 * the queue of a blocked thread is full.
 */
interface Chunk {
  readonly from: string;
  /** The number of the message. Chunks of several messages may interleave. */
  readonly message: number;
  /** The index of the chunk in its message. */
  readonly index: number;
  readonly isLast: boolean;
  /** Lines of JSON: the items, then the message itself. */
  readonly bytes: Uint8Array;
}

const isChunkShape = fields({
  from: isWorkerId,
  message: whole(),
  index: whole(),
  isLast: isBoolean,
  // Unlike `instanceof`, this accepts arrays of other realms, such as Jest's.
  bytes: (value) => ArrayBuffer.isView(value) && value.byteLength <= CHUNK_SIZE,
});

/** Validates and receives the messages of a channel. */
export interface Receiver<M, I> {
  isMessage(value: unknown): value is M;
  isItem(value: unknown): value is I;
  /** Called for each message of another thread, one at a time. */
  onMessage(from: string, message: M, items: I[]): Promise<void>;
  /** Called with the reason why a message or chunk was rejected. */
  onRejected(reason: string): void;
}

/** The part of `BroadcastChannel` that is used here. */
interface RawChannel {
  onmessage: (event: { readonly data: unknown }) => void;
  postMessage(message: Chunk): void;
  unref(): void;
}

/**
 * Sends messages to all other threads of the process, and receives their messages.
 *
 * A message can have any size. It is sent in chunks of less than 64 KB, read in slices,
 * and passed on once it is complete.
 *
 * @typeParam M The type of the messages; must be serializable as JSON.
 * @typeParam I The type of the items in a message; must be serializable as JSON.
 */
export class Channel<M extends { readonly kind: string }, I> {
  /** The id of this thread, as other threads receive it. */
  readonly id: string;
  readonly #raw: RawChannel;
  readonly #receiver: Receiver<M, I>;
  #count = 0;
  readonly #unread: Chunk[] = [];
  #unreadBytes = 0;
  #isReading = false;
  /** The incomplete messages, by sender and number. */
  readonly #incoming = new Map<string, Map<number, IncomingMessage<I>>>();

  /**
   * @param name The name of the channel. Channels with the same name are connected.
   * @param receiver Validates and receives the messages of other threads.
   * @throws {Error} If the runtime has no `BroadcastChannel`.
   */
  constructor(name: string, receiver: Receiver<M, I>) {
    this.#raw = openChannel(name);
    this.id = crypto.randomUUID();
    this.#receiver = receiver;
    this.#raw.onmessage = ({ data }) => {
      // The channel's name is public: any code can post to it.
      if (!isChunk(data)) {
        receiver.onRejected("not a chunk of a message");
        return;
      }
      if (this.#unreadBytes > MAX_PENDING_BYTES) {
        receiver.onRejected("too many unread chunks");
        return;
      }
      this.#unread.push(data);
      this.#unreadBytes += sizeOf(data);
      if (!this.#isReading) this.#readAll();
    };
    this.#raw.unref();
  }

  /** Whether there are received chunks that have not been read yet. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** Returns whether a sender has incomplete messages. */
  isReceiving(from: string): boolean {
    return this.#incoming.has(from);
  }

  /** Drops the incomplete messages of a sender that has exited. */
  dropSender(from: string): void {
    this.#incoming.delete(from);
  }

  /** Sends a message synchronously. */
  post(message: M, items: Iterable<I> = []): void {
    const outgoing = this.#open();
    for (const item of items) outgoing.write(item);
    outgoing.write(message);
    outgoing.close();
  }

  /**
   * Sends a message with many items in slices, and lets the event loop run in between.
   *
   * @param finish Returns the message itself. Called once all items have been sent.
   */
  async postInSlices(items: Iterable<I>, finish: () => M): Promise<void> {
    const outgoing = this.#open();
    for (const item of items) {
      const turn = countItems(outgoing.write(item) / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    outgoing.write(finish());
    outgoing.close();
  }

  #open(): OutgoingMessage {
    const message = ++this.#count;
    return new OutgoingMessage((bytes, index, isLast) =>
      this.#raw.postMessage({ from: this.id, message, index, isLast, bytes })
    );
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    for (;;) {
      const chunk = this.#unread.shift();
      if (chunk === undefined) break;
      this.#unreadBytes -= sizeOf(chunk);
      try {
        await this.#read(chunk);
      } catch (error) {
        this.#receiver.onRejected((error as InvalidMessage).message);
      }
      const turn = countItems(chunk.bytes.byteLength / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    this.#isReading = false;
  }

  async #read(chunk: Chunk): Promise<void> {
    const { from, message, index, isLast, bytes } = chunk;
    const messages = this.#incoming.get(from) ??
      new Map<number, IncomingMessage<I>>();
    const incoming = index === 0
      ? new IncomingMessage(this.#receiver.isItem)
      : messages.get(message);
    // A thread may start in the middle of a message.
    if (incoming === undefined) return;
    this.#drop(from, message);
    // A lost chunk loses the message; the full state is requested later.
    if (!incoming.isNext(index)) return;
    incoming.read(bytes, isLast);
    if (!isLast) {
      this.#incoming.set(from, messages.set(message, incoming));
      this.#dropExcess();
      return;
    }
    const { last, items, areItemsValid } = incoming;
    const { isMessage, onMessage, onRejected } = this.#receiver;
    if (!isMessage(last)) throw new InvalidMessage("not a valid message");
    if (!areItemsValid) onRejected(`"${last.kind}" has invalid items`);
    await onMessage(from, last, items);
  }

  #drop(from: string, message: number): void {
    const messages = this.#incoming.get(from);
    messages?.delete(message);
    if (messages?.size === 0) this.#incoming.delete(from);
  }

  /** Drops the oldest messages of the largest senders until the limits hold. */
  #dropExcess(): void {
    for (;;) {
      const sizes = [...this.#incoming].map(([from, messages]) => {
        const sizes = [...messages.values()].map(({ size }) => size);
        return { from, messages, bytes: sum(sizes), count: sizes.length };
      });
      const bytes = sum(sizes.map(({ bytes }) => bytes));
      const count = sum(sizes.map(({ count }) => count));
      if (bytes <= MAX_PENDING_BYTES && count <= MAX_INCOMPLETE) return;
      const key = bytes > MAX_PENDING_BYTES ? "bytes" : "count";
      const largest = sizes.reduce((a, b) => b[key] > a[key] ? b : a);
      const [oldest] = largest.messages.keys();
      this.#drop(largest.from, oldest!);
      this.#receiver.onRejected("too many incomplete messages");
    }
  }
}

/** A message being sent. */
class OutgoingMessage {
  readonly #post: (bytes: Uint8Array, index: number, isLast: boolean) => void;
  #text = "";
  #index = 0;

  constructor(
    post: (bytes: Uint8Array, index: number, isLast: boolean) => void,
  ) {
    this.#post = post;
  }

  /** Writes a line, and returns its length. */
  write(value: unknown): number {
    if (this.#text.length > BUFFER_SIZE) this.#flush(false);
    const line = `${JSON.stringify(value)}\n`;
    this.#text += line;
    return line.length;
  }

  close(): void {
    this.#flush(true);
  }

  #flush(isLast: boolean): void {
    const bytes = new TextEncoder().encode(this.#text);
    for (let at = 0; at < bytes.length; at += CHUNK_SIZE) {
      const end = at + CHUNK_SIZE;
      // Copied, as a view would be sent together with its whole buffer.
      const chunk = bytes.slice(at, end);
      this.#post(chunk, this.#index++, isLast && end >= bytes.length);
    }
    this.#text = "";
  }
}

/** A message being received. */
class IncomingMessage<I> {
  /** The value of the last line read. In a complete message, the message itself. */
  last: unknown;
  /** The valid items, from the lines before the last one. */
  readonly items: I[] = [];
  /** Whether all items were valid. */
  areItemsValid = true;
  readonly #isItem: (value: unknown) => value is I;
  readonly #decoder = new TextDecoder();
  /** The parts of the incomplete last line. */
  #lineParts: string[] = [];
  #next = 0;
  /** The approximate size in memory, in bytes. Empty chunks count, too. */
  size = 0;

  constructor(isItem: (value: unknown) => value is I) {
    this.#isItem = isItem;
  }

  /** Returns whether a chunk follows directly on the last one read. */
  isNext(index: number): boolean {
    return index === this.#next;
  }

  /**
   * Reads the next chunk.
   *
   * @throws {InvalidMessage} If its lines are not JSON.
   */
  read(bytes: Uint8Array, isLast: boolean): void {
    this.#next++;
    this.size += sizeOf({ bytes });
    try {
      const text = this.#decoder.decode(bytes, { stream: !isLast });
      const lines = text.split("\n");
      const rest = lines.pop()!;
      for (const line of lines) {
        this.#add(JSON.parse(this.#lineParts.join("") + line));
        this.#lineParts = [];
      }
      this.#lineParts.push(rest);
    } catch {
      throw new InvalidMessage("not JSON");
    }
  }

  #add(value: unknown): void {
    const { last } = this;
    this.last = value;
    if (last === undefined) return;
    if (this.#isItem(last)) this.items.push(last);
    else this.areItemsValid = false;
  }
}

/** Returns the approximate size of a chunk in memory, in bytes. */
function sizeOf({ bytes }: Pick<Chunk, "bytes">): number {
  return bytes.byteLength + BYTES_PER_ITEM;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/**
 * Opens a channel of `node:worker_threads`. Deno's global `BroadcastChannel` cannot be
 * unref'd, and would keep the process running. The module is loaded on demand, as some
 * hosts do not have it.
 */
function openChannel(name: string): RawChannel {
  try {
    const require = Module.createRequire("file:///");
    const { BroadcastChannel } = require("node:worker_threads");
    return new BroadcastChannel(name);
  } catch (cause) {
    throw new Error(
      "Cannot share metrics with other threads: this runtime has no BroadcastChannel",
      { cause },
    );
  }
}

function isChunk(data: unknown): data is Chunk {
  return isChunkShape(data);
}
