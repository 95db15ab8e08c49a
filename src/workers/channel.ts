import Module from "node:module";
import { countItems } from "../common/slices.ts";
import { InvalidMessage } from "./invalid_message.ts";
import { isWorkerId } from "./message_checks.ts";
import { fields, isBoolean, whole } from "./shape.ts";

/** Bytes of a message that go into one message. */
const CHUNK_SIZE = 60 * 1024;

/** How many UTF-16 code units are collected before they are sent. */
const BATCH_SIZE = 30 * 1024;

/** The largest size of the messages that wait to be read, and of incomplete messages, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** How many messages may be incomplete at the same time. */
const MAX_INCOMPLETE = 256;

/** How many bytes take about as long to write or read as one sample takes to handle. */
const BYTES_PER_ITEM = 120;

/**
 * A chunk of a message. Pieces arrive in the order in which they were sent, but some may
 * be lost: Deno drops messages when the queue of a blocked thread is full.
 */
interface Chunk {
  readonly from: string;
  /** The number of the message. Pieces of several messages may alternate. */
  readonly message: number;
  /** The number of the chunk in its message, from 0. */
  readonly index: number;
  readonly isLast: boolean;
  /** Lines of JSON: the items items, then the message itself. */
  readonly bytes: Uint8Array;
}

const isChunkShape = fields({
  from: isWorkerId,
  message: whole(),
  index: whole(),
  isLast: isBoolean,
  // Unlike `instanceof`, it knows the arrays of other realms, as those of Jest.
  bytes: (value) => ArrayBuffer.isView(value) && value.byteLength <= CHUNK_SIZE,
});

/** Who reads the messages of a channel. */
export interface Reader<L, E> {
  isMessage(value: unknown): value is L;
  isItem(value: unknown): value is E;
  /** Called with each message of another's, one after the other. */
  onMessage(from: string, message: L, items: E[]): Promise<void>;
  /** Called with the reason for which something was not read. */
  onRejected(reason: string): void;
}

/** The part of `BroadcastChannel` that is used here. */
interface RawChannel {
  onmessage: (event: { readonly data: unknown }) => void;
  postMessage(message: Chunk): void;
  unref(): void;
}

/**
 * Sends messages to all threads of the process, and receives theirs.
 *
 * A message is of any size. It is read in slices, and passed on once it is complete; no
 * message is larger than 64 KB.
 *
 * @typeParam L The messages; anything that JSON can hold.
 * @typeParam E The items that a message may toItems.
 */
export class Channel<L extends { readonly kind: string }, E> {
  /** The name by which the others know this thread. */
  readonly id: string;
  readonly #raw: RawChannel;
  readonly #reader: Reader<L, E>;
  #count = 0;
  readonly #unread: Chunk[] = [];
  #unreadBytes = 0;
  #isReading = false;
  /** The messages that are not complete yet, by sender and then by number. */
  readonly #incoming = new Map<string, Map<number, Incoming<E>>>();

  /**
   * @param name All channels of one name receive each other.
   * @param reader Validates and receives the messages of other threads, one after the other.
   * @throws {Error} If the runtime has no `BroadcastChannel`.
   */
  constructor(name: string, reader: Reader<L, E>) {
    this.#raw = openChannel(name);
    this.id = crypto.randomUUID();
    this.#reader = reader;
    this.#raw.onmessage = ({ data }) => {
      // The channel's name is public: anyone can write anything.
      if (!isChunk(data)) {
        reader.onRejected("it is not a chunk of a message");
        return;
      }
      if (this.#unreadBytes > MAX_WAITING_BYTES) {
        reader.onRejected("there are too many at once");
        return;
      }
      this.#unread.push(data);
      this.#unreadBytes += sizeOf(data);
      if (!this.#isReading) this.#readAll();
    };
    this.#raw.unref();
  }

  /** Whether messages have arrived that were not read yet. */
  get isReading(): boolean {
    return this.#isReading;
  }

  /** Whether a message of a sender is not complete yet. */
  isReceiving(from: string): boolean {
    return this.#incoming.has(from);
  }

  /** Drops the incomplete messages of a sender that has ended. */
  forget(from: string): void {
    this.#incoming.delete(from);
  }

  /** Sends a message at once. */
  post(message: L, items: Iterable<E> = []): void {
    const outgoing = this.#open();
    for (const each of items) outgoing.write(each);
    outgoing.write(message);
    outgoing.close();
  }

  /**
   * Sends a message that encloses many items, in slices.
   *
   * @param finish Returns the message itself, once its items have been sent.
   */
  async postInSlices(items: Iterable<E>, finish: () => L): Promise<void> {
    const outgoing = this.#open();
    for (const each of items) {
      const turn = countItems(outgoing.write(each) / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    outgoing.write(finish());
    outgoing.close();
  }

  #open(): Outgoing {
    const message = ++this.#count;
    return new Outgoing((bytes, index, isLast) =>
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
        this.#reader.onRejected((error as InvalidMessage).message);
      }
      const turn = countItems(chunk.bytes.byteLength / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    this.#isReading = false;
  }

  async #read(chunk: Chunk): Promise<void> {
    const { from, message, index, isLast, bytes } = chunk;
    const messages = this.#incoming.get(from) ??
      new Map<number, Incoming<E>>();
    const incoming = index === 0
      ? new Incoming(this.#reader.isItem)
      : messages.get(message);
    // A new thread receives the last chunks of messages that were sent before it started.
    if (incoming === undefined) return;
    this.#drop(from, message);
    // After a gap, the state is requested again.
    if (!incoming.isNext(index)) return;
    incoming.read(bytes, isLast);
    if (!isLast) {
      this.#incoming.set(from, messages.set(message, incoming));
      this.#dropExcess();
      return;
    }
    const { last, items, isComplete } = incoming;
    const { isMessage, onMessage, onRejected } = this.#reader;
    if (!isMessage(last)) throw new InvalidMessage("it is not a message");
    if (!isComplete) onRejected(`"${last.kind}" encloses invalid items`);
    await onMessage(from, last, items);
  }

  #drop(from: string, message: number): void {
    const messages = this.#incoming.get(from);
    messages?.delete(message);
    if (messages?.size === 0) this.#incoming.delete(from);
  }

  /** Drops the oldest messages of the senders with the most incomplete ones. */
  #dropExcess(): void {
    for (;;) {
      const sizes = [...this.#incoming].map(([from, messages]) => {
        const sizes = [...messages.values()].map(({ size }) => size);
        return { from, messages, bytes: sum(sizes), count: sizes.length };
      });
      const bytes = sum(sizes.map(({ bytes }) => bytes));
      const count = sum(sizes.map(({ count }) => count));
      if (bytes <= MAX_WAITING_BYTES && count <= MAX_INCOMPLETE) return;
      const key = bytes > MAX_WAITING_BYTES ? "bytes" : "count";
      const largest = sizes.reduce((a, b) => b[key] > a[key] ? b : a);
      const [oldest] = largest.messages.keys();
      this.#drop(largest.from, oldest!);
      this.#reader.onRejected("too many are incomplete");
    }
  }
}

/** A message that is being sent. */
class Outgoing {
  readonly #post: (bytes: Uint8Array, index: number, isLast: boolean) => void;
  #text = "";
  #index = 0;

  constructor(
    post: (bytes: Uint8Array, index: number, isLast: boolean) => void,
  ) {
    this.#post = post;
  }

  /** Adds a line, and returns its length. */
  write(value: unknown): number {
    if (this.#text.length > BATCH_SIZE) this.#flush(false);
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
      // A view would be sent with all of the buffer behind it.
      const chunk = bytes.slice(at, end);
      this.#post(chunk, this.#index++, isLast && end >= bytes.length);
    }
    this.#text = "";
  }
}

/** A message that is being received. */
class Incoming<E> {
  /** The value of the last line read: in the end, the message itself. */
  last: unknown;
  /** The valid values of the lines before it: the items items. */
  readonly items: E[] = [];
  /** Whether all items items were valid. */
  isComplete = true;
  readonly #isItem: (value: unknown) => value is E;
  readonly #decoder = new TextDecoder();
  /** The chunks of a line that is not complete yet. */
  #chunks: string[] = [];
  #next = 0;
  /** Its approximate size in memory, in bytes: an empty chunk takes room, too. */
  size = 0;

  constructor(isItem: (value: unknown) => value is E) {
    this.#isItem = isItem;
  }

  /** Returns whether no chunk is missing before this one. */
  isNext(index: number): boolean {
    return index === this.#next;
  }

  /**
   * Reads the next chunk.
   *
   * @throws {InvalidMessage} If it cannot be read.
   */
  read(bytes: Uint8Array, isLast: boolean): void {
    this.#next++;
    this.size += sizeOf({ bytes });
    try {
      const text = this.#decoder.decode(bytes, { stream: !isLast });
      const lines = text.split("\n");
      const rest = lines.pop()!;
      for (const line of lines) {
        this.#add(JSON.parse(this.#chunks.join("") + line));
        this.#chunks = [];
      }
      this.#chunks.push(rest);
    } catch {
      throw new InvalidMessage("it is not JSON");
    }
  }

  #add(value: unknown): void {
    const { last } = this;
    this.last = value;
    if (last === undefined) return;
    if (this.#isItem(last)) this.items.push(last);
    else this.isComplete = false;
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
 * Opens Node's channel: Deno's global one cannot be unref'd, and would keep the process
 * from ending. It is loaded here, as some hosts have no `node:worker_threads`.
 */
function openChannel(name: string): RawChannel {
  try {
    const require = Module.createRequire("file:///");
    const { BroadcastChannel } = require("node:worker_threads");
    return new BroadcastChannel(name);
  } catch (cause) {
    throw new Error(
      "Cannot count with other threads: this runtime has no BroadcastChannel",
      { cause },
    );
  }
}

function isChunk(data: unknown): data is Chunk {
  return isChunkShape(data);
}
