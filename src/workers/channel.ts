import Module from "node:module";
import { countItems } from "../common/slices.ts";
import { InvalidMessage } from "./invalid_message.ts";
import { isWorkerId } from "./message_checks.ts";
import { fields, isBoolean, whole } from "./shape.ts";

/** Bytes of a letter that go into one message. */
const PIECE_SIZE = 60 * 1024;

/** How many UTF-16 code units are collected before they are sent. */
const BATCH_SIZE = 30 * 1024;

/** The largest size of the messages that wait to be read, and of incomplete letters, in bytes. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** How many letters may be incomplete at the same time. */
const MAX_INCOMPLETE = 256;

/** How many bytes take about as long to write or read as one sample takes to handle. */
const BYTES_PER_ITEM = 120;

/**
 * A piece of a letter. Pieces arrive in the order in which they were sent, but some may
 * be lost: Deno drops messages when the queue of a blocked thread is full.
 */
interface Piece {
  readonly from: string;
  /** The number of the letter. Pieces of several letters may alternate. */
  readonly letter: number;
  /** The number of the piece in its letter, from 0. */
  readonly index: number;
  readonly isLast: boolean;
  /** Lines of JSON: the enclosed items, then the letter itself. */
  readonly bytes: Uint8Array;
}

const isPieceShape = fields({
  from: isWorkerId,
  letter: whole(),
  index: whole(),
  isLast: isBoolean,
  // Unlike `instanceof`, it knows the arrays of other realms, as those of Jest.
  bytes: (value) => ArrayBuffer.isView(value) && value.byteLength <= PIECE_SIZE,
});

/** Who reads the letters of a channel. */
export interface Reader<L, E> {
  isLetter(value: unknown): value is L;
  isEnclosed(value: unknown): value is E;
  /** Called with each letter of another's, one after the other. */
  onLetter(from: string, letter: L, enclosed: E[]): Promise<void>;
  /** Called with the reason for which something was not read. */
  onRefused(reason: string): void;
}

/** The part of `BroadcastChannel` that is used here. */
interface RawChannel {
  onmessage: (event: { readonly data: unknown }) => void;
  postMessage(message: Piece): void;
  unref(): void;
}

/**
 * Sends letters to all threads of the process, and receives theirs.
 *
 * A letter is of any size. It is read in slices, and passed on once it is complete; no
 * message is larger than 64 KB.
 *
 * @typeParam L The letters; anything that JSON can hold.
 * @typeParam E The items that a letter may enclose.
 */
export class Channel<L extends { readonly kind: string }, E> {
  /** The name by which the others know this thread. */
  readonly id: string;
  readonly #raw: RawChannel;
  readonly #reader: Reader<L, E>;
  #count = 0;
  readonly #unread: Piece[] = [];
  #unreadBytes = 0;
  #isReading = false;
  /** The letters that are not complete yet, by sender and then by number. */
  readonly #incoming = new Map<string, Map<number, Incoming<E>>>();

  /**
   * @param name All channels of one name hear each other.
   * @param reader Validates and receives the letters of other threads, one after the other.
   * @throws {Error} If the runtime has no `BroadcastChannel`.
   */
  constructor(name: string, reader: Reader<L, E>) {
    this.#raw = openChannel(name);
    this.id = crypto.randomUUID();
    this.#reader = reader;
    this.#raw.onmessage = ({ data }) => {
      // The channel's name is public: anyone can write anything.
      if (!isPiece(data)) {
        reader.onRefused("it is not a piece of a letter");
        return;
      }
      if (this.#unreadBytes > MAX_WAITING_BYTES) {
        reader.onRefused("there are too many at once");
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

  /** Whether a letter of a sender is not complete yet. */
  isReceiving(from: string): boolean {
    return this.#incoming.has(from);
  }

  /** Drops the incomplete letters of a sender that has ended. */
  forget(from: string): void {
    this.#incoming.delete(from);
  }

  /** Sends a letter at once. */
  post(letter: L, enclosed: Iterable<E> = []): void {
    const outgoing = this.#open();
    for (const each of enclosed) outgoing.write(each);
    outgoing.write(letter);
    outgoing.close();
  }

  /**
   * Sends a letter that encloses many items, in slices.
   *
   * @param finish Returns the letter itself, once its items have been sent.
   */
  async postInSlices(enclosed: Iterable<E>, finish: () => L): Promise<void> {
    const outgoing = this.#open();
    for (const each of enclosed) {
      const turn = countItems(outgoing.write(each) / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    outgoing.write(finish());
    outgoing.close();
  }

  #open(): Outgoing {
    const letter = ++this.#count;
    return new Outgoing((bytes, index, isLast) =>
      this.#raw.postMessage({ from: this.id, letter, index, isLast, bytes })
    );
  }

  async #readAll(): Promise<void> {
    this.#isReading = true;
    for (;;) {
      const piece = this.#unread.shift();
      if (piece === undefined) break;
      this.#unreadBytes -= sizeOf(piece);
      try {
        await this.#read(piece);
      } catch (error) {
        this.#reader.onRefused((error as InvalidMessage).message);
      }
      const turn = countItems(piece.bytes.byteLength / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    this.#isReading = false;
  }

  async #read(piece: Piece): Promise<void> {
    const { from, letter, index, isLast, bytes } = piece;
    const letters = this.#incoming.get(from) ??
      new Map<number, Incoming<E>>();
    const incoming = index === 0
      ? new Incoming(this.#reader.isEnclosed)
      : letters.get(letter);
    // A new thread receives the last pieces of letters that were sent before it started.
    if (incoming === undefined) return;
    this.#drop(from, letter);
    // After a gap, the state is requested again.
    if (!incoming.isNext(index)) return;
    incoming.read(bytes, isLast);
    if (!isLast) {
      this.#incoming.set(from, letters.set(letter, incoming));
      this.#limit();
      return;
    }
    const { last, enclosed, isComplete } = incoming;
    const { isLetter, onLetter, onRefused } = this.#reader;
    if (!isLetter(last)) throw new InvalidMessage("it is not a letter");
    if (!isComplete) onRefused(`"${last.kind}" encloses invalid items`);
    await onLetter(from, last, enclosed);
  }

  #drop(from: string, letter: number): void {
    const letters = this.#incoming.get(from);
    letters?.delete(letter);
    if (letters?.size === 0) this.#incoming.delete(from);
  }

  /** Drops the oldest letters of the senders with the most incomplete ones. */
  #limit(): void {
    for (;;) {
      const sizes = [...this.#incoming].map(([from, letters]) => {
        const sizes = [...letters.values()].map(({ size }) => size);
        return { from, letters, bytes: sum(sizes), count: sizes.length };
      });
      const bytes = sum(sizes.map(({ bytes }) => bytes));
      const count = sum(sizes.map(({ count }) => count));
      if (bytes <= MAX_WAITING_BYTES && count <= MAX_INCOMPLETE) return;
      const key = bytes > MAX_WAITING_BYTES ? "bytes" : "count";
      const largest = sizes.reduce((a, b) => b[key] > a[key] ? b : a);
      const [oldest] = largest.letters.keys();
      this.#drop(largest.from, oldest!);
      this.#reader.onRefused("too many are incomplete");
    }
  }
}

/** A letter that is being sent. */
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
    for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
      const end = at + PIECE_SIZE;
      // A view would be sent with all of the buffer behind it.
      const piece = bytes.slice(at, end);
      this.#post(piece, this.#index++, isLast && end >= bytes.length);
    }
    this.#text = "";
  }
}

/** A letter that is being received. */
class Incoming<E> {
  /** The value of the last line read: in the end, the letter itself. */
  last: unknown;
  /** The valid values of the lines before it: the enclosed items. */
  readonly enclosed: E[] = [];
  /** Whether all enclosed items were valid. */
  isComplete = true;
  readonly #isEnclosed: (value: unknown) => value is E;
  readonly #decoder = new TextDecoder();
  /** The pieces of a line that is not complete yet. */
  #pieces: string[] = [];
  #next = 0;
  /** Its approximate size in memory, in bytes: an empty piece takes room, too. */
  size = 0;

  constructor(isEnclosed: (value: unknown) => value is E) {
    this.#isEnclosed = isEnclosed;
  }

  /** Returns whether no piece is missing before this one. */
  isNext(index: number): boolean {
    return index === this.#next;
  }

  /**
   * Reads the next piece.
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
        this.#add(JSON.parse(this.#pieces.join("") + line));
        this.#pieces = [];
      }
      this.#pieces.push(rest);
    } catch {
      throw new InvalidMessage("it is not JSON");
    }
  }

  #add(value: unknown): void {
    const { last } = this;
    this.last = value;
    if (last === undefined) return;
    if (this.#isEnclosed(last)) this.enclosed.push(last);
    else this.isComplete = false;
  }
}

/** Returns the approximate size of a piece in memory, in bytes. */
function sizeOf({ bytes }: Pick<Piece, "bytes">): number {
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

function isPiece(data: unknown): data is Piece {
  return isPieceShape(data);
}
