import { stage } from "@lukhas/stage-metrics";
import { filesNamed, linesOf, type Passage, readText } from "./markdown.ts";
import { NoAnswer } from "./no_answer.ts";
import type { NoteIndex } from "./note_index.ts";
import type { Question } from "./question.ts";
import { coverage, findRelatedWords, rank } from "./ranking.ts";

/** The way to answer a question. */
export interface Plan {
  /** The files to search. */
  readonly files: readonly string[];
  /** Whether to compare the quotes with the files. */
  readonly isVerbatim: boolean;
}

/** The answer to a question. */
export interface Answer {
  readonly quotes: readonly Passage[];
  /** The share of the question's terms that occur in the quotes, from 0 to 1. */
  readonly confidence: number;
}

const QUOTES_PER_SIDE = 2;

/**
 * Decides how to answer a question.
 *
 * @throws {NoAnswer} If the question names a file that does not exist.
 */
export function decide(
  index: NoteIndex,
  { file, phrases }: Question,
): Plan {
  const files = file === undefined
    ? index.files
    : filesNamed(index.files, file);
  if (files.length === 0) throw new NoAnswer(`There is no file "${file}"`);
  return { files, isVerbatim: phrases.length > 0 };
}

/** Finds the best passages for each side of a question. */
export async function search(
  index: NoteIndex,
  { sides }: Question,
  { files }: Plan,
  signal?: AbortSignal,
): Promise<Answer> {
  const best = [];
  for (const side of sides) {
    const found = await stage(
      "rank",
      () => rank(index, files, side, QUOTES_PER_SIDE, signal),
    );
    best.push(...found);
  }
  // The two sides of a comparison may find the same passage.
  const quotes = [...new Set(best)];
  const terms = sides.flatMap((side) => side.terms);
  return { quotes, confidence: coverage(quotes, terms) };
}

/**
 * Compares the quotes with the current files and with the phrases of the question.
 *
 * @throws {NoAnswer} If a file has changed, or no quote contains a phrase.
 */
export async function validate(
  { folder }: NoteIndex,
  { phrases }: Question,
  { quotes }: Answer,
  signal?: AbortSignal,
): Promise<void> {
  for (const { file, line, text } of quotes) {
    const lines = linesOf(await readText(folder, file, signal));
    const length = linesOf(text).length;
    if (lines.slice(line - 1, line - 1 + length).join("\n") !== text) {
      throw new NoAnswer(`${file}:${line} has changed since the demo started`);
    }
  }
  for (const phrase of phrases) {
    if (!quotes.some(({ text }) => oneLine(text).includes(oneLine(phrase)))) {
      throw new NoAnswer(`No quote contains "${phrase}"`);
    }
  }
}

/** Returns a text on one line, as a phrase may contain a line break. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}

/**
 * Searches again, with words that share their stem with the terms of the question.
 *
 * @throws {NoAnswer} If the wider search finds nothing better.
 */
export async function reflect(
  index: NoteIndex,
  { sides }: Question,
  { files }: Plan,
  { confidence }: Answer,
  signal?: AbortSignal,
): Promise<Answer> {
  const best = [];
  const wider = [];
  for (const { terms, wanted } of sides) {
    const groups = [];
    for (const term of terms) {
      groups.push(await findRelatedWords(index, term, signal));
    }
    const side = { terms: groups.flat(), wanted };
    best.push(...await rank(index, files, side, QUOTES_PER_SIDE, signal));
    wider.push(...groups);
  }
  const quotes = [...new Set(best)];
  const found = wider.filter((words) => coverage(quotes, words) > 0).length;
  if (found / wider.length <= confidence) {
    throw new NoAnswer("A wider search found nothing better");
  }
  return { quotes, confidence: found / wider.length };
}
