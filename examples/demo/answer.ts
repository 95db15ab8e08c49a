import { stage } from "@lukhas/stage-metrics";
import { linesOf, named, type Passage, readText } from "./markdown.ts";
import { NoAnswer } from "./no_answer.ts";
import type { NoteIndex } from "./note_index.ts";
import type { Question } from "./question.ts";
import { coverage, rank, relatives } from "./ranking.ts";

/** How a question is to be answered. */
export interface Plan {
  readonly files: readonly string[];
  /** Whether the quotes are compared with the files once more. */
  readonly verbatim: boolean;
}

/** What the files say. */
export interface Answer {
  readonly quotes: readonly Passage[];
  /** The share of the question's words that the quotes speak of, from 0 to 1. */
  readonly confidence: number;
}

const QUOTES_PER_SIDE = 2;

/**
 * Decides what to do about a question.
 *
 * @throws {NoAnswer} If it names a file that is not there.
 */
export function decide(
  index: NoteIndex,
  { file, phrases }: Question,
): Plan {
  const files = file === undefined ? index.files : named(index.files, file);
  if (files.length === 0) throw new NoAnswer(`There is no file "${file}"`);
  return { files, verbatim: phrases.length > 0 };
}

/** Quotes what fits a question best; of a comparison, for each side. */
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
  // Both sides of a comparison may find the same passage.
  const quotes = [...new Set(best)];
  const terms = sides.flatMap((side) => side.terms);
  return { quotes, confidence: coverage(quotes, terms) };
}

/**
 * Compares the quotes with the files as they are now, and with what the question
 * has in quotation marks.
 *
 * @throws {NoAnswer} If a quote does not hold, or none has the phrase.
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
      throw new NoAnswer(`${file}:${line} has changed meanwhile`);
    }
  }
  for (const phrase of phrases) {
    if (!quotes.some(({ text }) => oneLine(text).includes(oneLine(phrase)))) {
      throw new NoAnswer(`No quote has the words "${phrase}"`);
    }
  }
}

/** A phrase may stand across the end of a line. */
function oneLine(text: string): string {
  return text.replace(/\s+/g, " ");
}

/**
 * Looks once more, with the words that begin as those of the question do.
 *
 * @throws {NoAnswer} If that finds nothing better.
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
    for (const term of terms) groups.push(await relatives(index, term, signal));
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
