import { NoAnswer } from "./no_answer.ts";

/** One subject of a question. */
export interface Side {
  /** The words to search for. */
  readonly terms: readonly string[];
  /** The patterns of the best passages: the phrases, or "A lane is". */
  readonly wanted: readonly RegExp[];
}

/** A parsed question. */
export interface Question {
  /** Its subject, or the two subjects of a comparison. */
  readonly sides: readonly Side[];
  /** The phrases in quotation marks, which the answer must contain. */
  readonly phrases: readonly string[];
  /** The only file to search, if the question names one. */
  readonly file: string | undefined;
}

const STOP_WORDS = new Set(
  ("a an and any are as at be by can could do does for from get give has have how " +
    "i in into is it its list me my no not of on one or please s should show so t " +
    "tell than that the their them then there these they this to use used using was we were " +
    "what when where which who why will with would you your").split(" "),
);

/** The maximum length of a question: a longer one would block the others. */
const MAX_CHARS = 500;

/** Matches a file, such as "in README.md", or a path, such as "in ../secrets". */
const FILE = /\bin ([^\s"“”?]+\.(?:md|markdown)\b|\.{1,2}\/[^\s"“”?]+)/i;

/** Matches the start of a question for a definition, such as "what is a lane". */
const DEFINITION = /^\s*what(?:['’]s| is| are) /i;

/** Match comparisons, such as "compare a and b" or "a vs b". */
const COMPARISONS = [
  /\b(?:between|compare) (.+?) (?:and|with|to) (.+)/i,
  /(.+?) (?:vs\.?|versus) (.+)/i,
];

/**
 * Parses a question.
 *
 * @throws {NoAnswer} If the question is too long, or has no word to search for.
 */
export function parseQuestion(text: string): Question {
  if (text.length > MAX_CHARS) {
    throw new NoAnswer(`A question has at most ${MAX_CHARS} characters`, 400);
  }
  const phrases = [...text.matchAll(/["“]([^"“”]+)["”]/g)].map((m) => m[1]!);
  const file = FILE.exec(text)?.[1];
  const rest = text.replace(FILE, " ");
  const compared = COMPARISONS.map((form) => form.exec(rest)?.slice(1))
    .find((sides) => sides !== undefined);
  const isDefinition = compared !== undefined || DEFINITION.test(rest);
  const sides = (compared ?? [rest]).map((side) => {
    const terms = termsOf(side);
    const definitions = isDefinition ? [definitionPattern(terms)] : [];
    const wanted = phrases.length > 0
      ? phrases.map(words).filter((row) => row.length > 0).map(rowPattern)
      : definitions;
    return { terms, wanted };
  });
  if (sides.some(({ terms }) => terms.length === 0)) {
    throw new NoAnswer("The question has no word to search for", 400);
  }
  return { sides, phrases, file };
}

/** Returns the words of a text to search for, in lower case. */
export function termsOf(text: string): string[] {
  return words(text).filter((word) => !STOP_WORDS.has(word));
}

/** Returns the words of a text, in lower case. */
export function words(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}_]+/gu) ?? [];
}

const NO_WORD = String.raw`[^\p{L}\p{N}_]`;

/** Returns a pattern for consecutive words with any separators. */
function rowPattern(row: readonly string[]): RegExp {
  const words = row.join(`${NO_WORD}+`);
  return new RegExp(`(?<=^|${NO_WORD})${words}(?=$|${NO_WORD})`, "iu");
}

/** Returns a pattern for a sentence that begins with "A lane is". */
function definitionPattern(terms: readonly string[]): RegExp {
  const subject = terms.join(`${NO_WORD}+`);
  return new RegExp(
    String.raw`(?:^|[.!?:]\s)${NO_WORD}*(?:(?:an?|the)\s+)?${NO_WORD}*` +
      String.raw`${subject}${NO_WORD}+(?:is|are)(?=$|${NO_WORD})`,
    "iu",
  );
}
