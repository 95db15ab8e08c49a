import { BroadcastChannel } from "node:worker_threads";

/** Bytes of a letter that go into one message. */
const PIECE_SIZE = 60 * 1024;

/** A piece of a letter: pieces of one sender arrive in the order they were sent. */
interface Piece {
  readonly from: string;
  readonly isLast: boolean;
  readonly bytes: Uint8Array;
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
 * A letter is of any size, and read when it is there as a whole; no message is
 * larger than 64 KB, so that none keeps its receivers' loops for long.
 *
 * @typeParam L The letters; anything that JSON can hold.
 */
export class Channel<L> {
  readonly #raw: RawChannel;
  readonly #id: string;
  readonly #incomplete = new Map<string, Uint8Array[]>();

  /**
   * @param name All channels of one name hear each other.
   * @param id Whom the others know this one by.
   * @param onLetter Called with each letter of another's.
   */
  constructor(
    name: string,
    id: string,
    onLetter: (from: string, letter: L) => void,
  ) {
    this.#id = id;
    // Node's channel: Deno's global one cannot be unref'd, and would keep the
    // process from ending.
    this.#raw = new BroadcastChannel(name) as unknown as RawChannel;
    this.#raw.onmessage = ({ data }) => {
      // The name is free to others: what is none of ours is nothing to us.
      if (!isPiece(data)) return;
      const letter = this.#complete(data);
      if (letter !== undefined) onLetter(data.from, letter);
    };
    this.#raw.unref();
  }

  post(letter: L): void {
    const bytes = new TextEncoder().encode(JSON.stringify(letter));
    for (let at = 0; at < bytes.length; at += PIECE_SIZE) {
      const end = at + PIECE_SIZE;
      this.#raw.postMessage({
        from: this.#id,
        isLast: end >= bytes.length,
        // A view would be sent with all of the buffer behind it.
        bytes: bytes.slice(at, end),
      });
    }
  }

  #complete({ from, isLast, bytes }: Piece): L | undefined {
    const pieces = this.#incomplete.get(from) ?? [];
    pieces.push(bytes);
    if (!isLast) {
      this.#incomplete.set(from, pieces);
      return undefined;
    }
    this.#incomplete.delete(from);
    try {
      return JSON.parse(decode(pieces));
    } catch {
      return undefined;
    }
  }
}

function isPiece(data: unknown): data is Piece {
  return (data as Partial<Piece> | null)?.bytes instanceof Uint8Array;
}

function decode(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  const text = pieces.map((piece) => decoder.decode(piece, { stream: true }));
  return text.join("") + decoder.decode();
}
