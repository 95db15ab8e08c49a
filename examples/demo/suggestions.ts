import type { NoteIndex } from "./note_index.ts";
import { parseQuestion } from "./question.ts";

/** Questions to try, by their kind. */
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

/** The number of passages from which questions are made. */
const MAX_PASSAGES = 1_000;

/** Suggests questions that a folder answers: its headings, and a phrase in it. */
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
  const phrase = all.map(({ text }) => findPhrase(text))
    .find((phrase) => phrase !== undefined);
  return {
    Ask: first?.heading ?? phrase ?? "anything",
    ...phrase !== undefined && { Exactly: `"${phrase}"` },
    ...second && { Compare: `${first!.heading} versus ${second.heading}` },
    ...named && { "In one file": named.question },
  };
}

/** Returns the first three consecutive words that can all be searched for. */
function findPhrase(text: string): string | undefined {
  return text.match(/(?<!\p{L})\p{L}+(?: \p{L}+){2}(?![\p{L}\p{N}_])/gu)
    ?.find((phrase) => countTerms(phrase) === 3);
}

/** Returns the number of words to search for in a text, or 0 if it has punctuation. */
function countTerms(text: string): number {
  if (!/^[\p{L}\p{N}]+(?: [\p{L}\p{N}]+)*$/u.test(text)) return 0;
  try {
    const { sides } = parseQuestion(text);
    return sides.length === 1 ? sides[0]!.terms.length : 0;
  } catch {
    return 0;
  }
}
