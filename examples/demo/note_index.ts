import {
  findFiles,
  parsePassages,
  type Passage,
  readText,
} from "./markdown.ts";
import { words } from "./question.ts";

/** The limits of an index, which bound its memory. */
const MAX_FILES = 5_000;
const MAX_CHARS = 32_000_000;
const MAX_PASSAGES = 500_000;
const MAX_WORDS = 1_000_000;

/**
 * The passages of a folder's Markdown files, and the passages in which each word
 * occurs. It is built once, before the first question.
 */
export class NoteIndex {
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

  /** Whether the index has reached a limit. */
  get isFull(): boolean {
    return this.files.length >= MAX_FILES || this.#chars >= MAX_CHARS ||
      this.passages.length >= MAX_PASSAGES || this.#places.size >= MAX_WORDS;
  }

  /** The average number of words in a passage and its heading. */
  get averageLength(): number {
    return this.#words / this.passages.length;
  }

  /** All words of the passages, in lower case. */
  get vocabulary(): Iterable<string> {
    return this.#places.keys();
  }

  /**
   * Returns the indices of the passages that contain a word, in ascending order, once
   * for each occurrence.
   */
  placesOf(word: string): readonly number[] {
    return this.#places.get(word) ?? [];
  }

  /** Adds the passages of a file. */
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
 * Indexes the Markdown files of a folder, until the index is full.
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
