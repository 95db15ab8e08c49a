import Module from "node:module";
import { spend } from "./slices.ts";

/** Bytes of a letter that go into one message. */
const PIECE_SIZE = 60 * 1024;

/** How many UTF-16 code units are collected before they are sent. */
const BATCH_SIZE = 30 * 1024;

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

type OnLetter<L, E> = (
  from: string,
  letter: L,
  enclosed: E[],
) => Promise<void>;

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
export class Channel<L, E> {
  /** The name by which the others know this thread. */
  readonly id: string;
  readonly #raw: RawChannel;
  readonly #onLetter: OnLetter<L, E>;
  #count = 0;
  readonly #unread: Piece[] = [];
  #isReading = false;
  /** The letters that are not complete yet, by sender and then by number. */
  readonly #incoming = new Map<string, Map<number, Incoming>>();

  /**
   * @param name All channels of one name hear each other.
   * @param onLetter Called with the letters of other threads, one after the other.
   * @throws {Error} If the runtime has no `BroadcastChannel`.
   */
  constructor(name: string, onLetter: OnLetter<L, E>) {
    this.#raw = openChannel(name);
    this.id = crypto.randomUUID();
    this.#onLetter = onLetter;
    this.#raw.onmessage = ({ data }) => {
      // The name is free to others: what is none of ours is nothing to us.
      if (!isPiece(data)) return;
      this.#unread.push(data);
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
      const turn = spend(outgoing.write(each) / BYTES_PER_ITEM);
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
      await this.#read(piece);
      const turn = spend(piece.bytes.length / BYTES_PER_ITEM);
      if (turn !== undefined) await turn;
    }
    this.#isReading = false;
  }

  async #read(piece: Piece): Promise<void> {
    const { from, letter, index, isLast, bytes } = piece;
    const letters = this.#incoming.get(from) ?? new Map<number, Incoming>();
    const incoming = index === 0 ? new Incoming() : letters.get(letter);
    // A new thread receives the last pieces of letters that were sent before it started.
    if (incoming === undefined) return;
    const isValid = incoming.read(bytes, index, isLast);
    if (isValid && !isLast) letters.set(letter, incoming);
    else letters.delete(letter);
    if (letters.size > 0) this.#incoming.set(from, letters);
    else this.#incoming.delete(from);
    if (!isValid || !isLast) return;
    const { values } = incoming;
    const last = values.pop();
    await this.#onLetter(from, last as L, values as E[]);
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
class Incoming {
  /** The values of its lines: the enclosed items, then the letter itself. */
  readonly values: unknown[] = [];
  readonly #decoder = new TextDecoder();
  /** The pieces of a line that is not complete yet. */
  #pieces: string[] = [];
  #next = 0;

  /** Reads a piece, and returns whether it is valid and the next one. */
  read(bytes: Uint8Array, index: number, isLast: boolean): boolean {
    if (index !== this.#next++) return false;
    const text = this.#decoder.decode(bytes, { stream: !isLast });
    const lines = text.split("\n");
    const rest = lines.pop()!;
    try {
      for (const line of lines) {
        this.values.push(JSON.parse(this.#pieces.join("") + line));
        this.#pieces = [];
      }
    } catch {
      return false;
    }
    this.#pieces.push(rest);
    return true;
  }
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
  // Unlike `instanceof`, it knows the arrays of other realms, as those of Jest.
  return ArrayBuffer.isView((data as Partial<Piece> | null)?.bytes);
}
