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
  const [first, second] = all.filter(({ heading }, i) =>
    isQuestion(heading) && heading !== all[i - 1]?.heading
  );
  const row = all.map(({ text }) => /\p{L}+(?: \p{L}+){2}/u.exec(text)?.[0])
    .find((row) => row !== undefined && isQuestion(row));
  return {
    Ask: first?.heading ?? row ?? "anything",
    ...row !== undefined && { Exactly: `"${row}"` },
    ...second && { Compare: `${first!.heading} versus ${second.heading}` },
    ...first && { "In one file": `${first.heading} in ${first.file}` },
  };
}

/** Returns whether a text is of plain words, and some of them to search for. */
function isQuestion(text: string): boolean {
  if (!/^[\p{L}\p{N}]+(?: [\p{L}\p{N}]+)*$/u.test(text)) return false;
  try {
    return parseQuestion(text).sides.length === 1;
  } catch {
    return false;
  }
}
