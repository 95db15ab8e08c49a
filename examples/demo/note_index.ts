import {
  findFiles,
  parsePassages,
  type Passage,
  readText,
} from "./markdown.ts";
import { words } from "./question.ts";

/** What an index holds at most, so that its memory has a limit, too. */
const MAX_FILES = 5_000;
const MAX_CHARS = 32_000_000;
const MAX_PASSAGES = 500_000;
const MAX_WORDS = 1_000_000;

/**
 * Holds the passages of a folder's Markdown files, and where each word occurs in
 * them. It is built once, before the first question, and shared by all of them.
 */
export class NoteIndex {
  /** The folder of the files. */
  readonly folder: string;
  readonly files: string[] = [];
  readonly passages: Passage[] = [];
  /** The number of words in each passage and its heading. */
  readonly lengths: number[] = [];
  readonly #places = new Map<string, number[]>();
  #chars = 0;
  #words = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Whether more files would take too much memory. */
  get isFull(): boolean {
    return this.files.length >= MAX_FILES || this.#chars >= MAX_CHARS ||
      this.passages.length >= MAX_PASSAGES || this.#places.size >= MAX_WORDS;
  }

  /** The average number of words in a passage and its heading. */
  get averageLength(): number {
    return this.#words / this.passages.length;
  }

  /** All words that occur, in lower case. */
  get vocabulary(): Iterable<string> {
    return this.#places.keys();
  }

  /**
   * Returns in which passages a word occurs, in their order; one in which it occurs
   * twice is listed twice.
   */
  placesOf(word: string): readonly number[] {
    return this.#places.get(word) ?? [];
  }

  /** Takes in a file. */
  add(file: string, text: string): void {
    this.files.push(file);
    this.#chars += text.length;
    for (const passage of parsePassages(file, text)) {
      const all = words(`${passage.heading} ${passage.text}`);
      for (const word of all) {
        const places = this.#places.get(word);
        if (places) places.push(this.passages.length);
        else this.#places.set(word, [this.passages.length]);
      }
      this.passages.push(passage);
      this.lengths.push(all.length);
      this.#words += all.length;
    }
  }
}

/**
 * Reads a folder's Markdown files into an index, until that is full.
 *
 * @throws If the folder cannot be read.
 */
export async function indexFolder(folder: string): Promise<NoteIndex> {
  const index = new NoteIndex(folder);
  for (const file of await findFiles(folder)) {
    if (index.isFull) break;
    index.add(file, await readText(folder, file));
  }
  return index;
}
