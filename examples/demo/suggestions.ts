import type { NoteIndex } from "./note_index.ts";
import { parseQuestion } from "./question.ts";

/** Questions to try, by what they show. */
export interface Suggestions {
  readonly Ask: string;
  readonly [kind: string]: string;
}

/** Questions about this repository. */
export const REPOSITORY_QUESTIONS: Suggestions = {
  Ask: "which permissions does the library need",
  Exactly: 'what is "the async context"',
  Compare: "difference between a stage and a pipeline",
  "In one file": "which permissions in README.md",
};

/** Of how many passages, from the first on, questions are made. */
const MAX_PASSAGES = 1_000;

/**
 * Suggests questions about a folder that nobody knows: its headings, which are
 * questions with an answer, and words that stand in a row in it.
 */
export function suggestQuestions(
  { passages }: Pick<NoteIndex, "passages">,
): Suggestions {
  const all = passages.slice(0, MAX_PASSAGES);
  const titled = all.filter(({ file, heading }, i) =>
    countTerms(heading) > 0 &&
    !(heading === all[i - 1]?.heading && file === all[i - 1]?.file)
  );
  const [first] = titled;
  const second = titled.find(({ heading }) => heading !== first?.heading);
  const named = titled.map(({ heading, file }) => ({
    file,
    question: `${heading} in ${file}`,
  })).find(({ file, question }) => parseQuestion(question).file === file);
  const row = all.map(({ text }) => firstRow(text))
    .find((row) => row !== undefined);
  return {
    Ask: first?.heading ?? row ?? "anything",
    ...row !== undefined && { Exactly: `"${row}"` },
    ...second && { Compare: `${first!.heading} versus ${second.heading}` },
    ...named && { "In one file": named.question },
  };
}

/** Returns the first three words in a row that can all be searched for. */
function firstRow(text: string): string | undefined {
  return text.match(/(?<!\p{L})\p{L}+(?: \p{L}+){2}(?![\p{L}\p{N}_])/gu)
    ?.find((row) => countTerms(row) === 3);
}

/** Returns how many words a text has to search for, if it is of plain words. */
function countTerms(text: string): number {
  if (!/^[\p{L}\p{N}]+(?: [\p{L}\p{N}]+)*$/u.test(text)) return 0;
  try {
    const { sides } = parseQuestion(text);
    return sides.length === 1 ? sides[0]!.terms.length : 0;
  } catch {
    return 0;
  }
}
