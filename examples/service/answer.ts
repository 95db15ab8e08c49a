import { stage } from "@lukhas/stage-metrics";
import {
  findFiles,
  named,
  type Passage,
  readLines,
  readPassages,
} from "./markdown.ts";
import { NoAnswer } from "./no_answer.ts";
import type { Question } from "./question.ts";
import { coverage, rank, relatives } from "./ranking.ts";

/** How a question is to be answered. */
export interface Plan {
  readonly files: readonly string[];
  /** Whether the quotes are held against the files once more. */
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
export async function decide(
  folder: string,
  { file, phrases }: Question,
): Promise<Plan> {
  const all = await findFiles(folder);
  const files = file === undefined ? all : named(all, file);
  if (files.length === 0) throw new NoAnswer(`There is no file "${file}"`);
  return { files, verbatim: phrases.length > 0 };
}

/** Reads the files, and quotes what fits best; of a comparison, for each side. */
export async function search(
  folder: string,
  { sides, wanted }: Question,
  { files }: Plan,
): Promise<Answer & { readonly passages: readonly Passage[] }> {
  const passages = await stage("read", async () => {
    const all: Passage[] = [];
    for (const file of files) all.push(...await readPassages(folder, file));
    return all;
  });
  const best = sides.flatMap((terms) =>
    stage("rank", () => rank(passages, terms, wanted).slice(0, QUOTES_PER_SIDE))
  );
  // Both sides of a comparison may find the same passage.
  const quotes = [...new Set(best)];
  return { passages, quotes, confidence: coverage(quotes, sides.flat()) };
}

/**
 * Holds the quotes against the files as they are now, and against what the
 * question has in quotation marks.
 *
 * @throws {NoAnswer} If a quote does not hold, or none has the phrase.
 */
export async function validate(
  folder: string,
  { phrases }: Question,
  { quotes }: Answer,
): Promise<void> {
  for (const { file, line, text } of quotes) {
    const lines = await readLines(folder, file);
    const length = text.split("\n").length;
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
export function reflect(
  { sides, wanted }: Question,
  { passages, confidence }: Answer & { readonly passages: readonly Passage[] },
): Answer {
  const wider = sides.map((terms) =>
    terms.map((term) => relatives(passages, term))
  );
  const best = wider.flatMap((terms) =>
    rank(passages, terms.flat(), wanted).slice(0, QUOTES_PER_SIDE)
  );
  const quotes = [...new Set(best)];
  const terms = wider.flat();
  const found = terms.filter((words) => coverage(quotes, words) > 0).length;
  if (found / terms.length <= confidence) {
    throw new NoAnswer("A wider search found nothing better");
  }
  return { quotes, confidence: found / terms.length };
}
