import { isItem, type Passage } from "./markdown.ts";
import type { NoteIndex } from "./note_index.ts";
import { createPauses } from "./pauses.ts";
import { type Side, termsOf, words } from "./question.ts";

/** The usual parameters of BM25: term saturation and length normalization. */
const K1 = 1.2;
const B = 0.75;

/** The weight of a minor passage. */
const MINOR_WEIGHT = 0.5;

/** The number of passages that are scored at a time. */
const BLOCK = 4_096;

interface Candidate {
  readonly passage: Passage;
  /** Whether its text matches a wanted pattern. */
  readonly isWanted: boolean;
  /** Whether its heading consists of the terms. */
  readonly isTopic: boolean;
  readonly score: number;
}

/**
 * Finds the passages that answer one side of a question best, best first. Passages
 * that match a wanted pattern come first, then passages under a heading of the terms.
 *
 * @param files The files to search.
 * @throws The signal's reason, if it aborts.
 * @see {@link https://doi.org/10.1561/1500000019 | Robertson and Zaragoza, BM25 and Beyond}
 */
export async function rank(
  index: NoteIndex,
  files: readonly string[],
  { terms, wanted }: Side,
  limit: number,
  signal?: AbortSignal,
): Promise<Passage[]> {
  const { passages, lengths, averageLength } = index;
  const pause = createPauses(signal);
  const isAmongFiles = new Set(files);
  const topic = terms.join(" ");
  const lists = [];
  for (const term of new Set(terms)) {
    const places = index.placesOf(term);
    const matches = countDistinct(places);
    const others = passages.length - matches;
    const weight = Math.log(1 + (others + 0.5) / (matches + 0.5));
    lists.push({ places, weight, next: 0 });
    await pause();
  }
  const best: Candidate[] = [];
  const scores = new Float64Array(BLOCK);
  for (let start = 0; start < passages.length; start += BLOCK) {
    scores.fill(0);
    for (const list of lists) {
      const { places, weight } = list;
      while (places[list.next]! < start + BLOCK) {
        const place = places[list.next]!;
        const first = list.next;
        while (places[list.next] === place) list.next++;
        const count = list.next - first;
        const length = lengths[place]! / averageLength;
        const saturation = count + K1 * (1 - B + B * length);
        scores[place - start]! += weight * count * (K1 + 1) / saturation;
      }
    }
    for (const [i, score] of scores.entries()) {
      if (score === 0) continue;
      const passage = passages[start + i]!;
      const { file, heading, text } = passage;
      if (!isAmongFiles.has(file)) continue;
      best.push({
        passage,
        isWanted: !isQuestion(text) && wanted.some((each) => each.test(text)),
        isTopic: termsOf(heading).join(" ") === topic,
        score: isMinor(text) ? score * MINOR_WEIGHT : score,
      });
      best.sort(byFit).splice(limit);
    }
    await pause();
  }
  return best.map(({ passage }) => passage);
}

/**
 * Returns whether a text answers less than a paragraph does: a list item, a question, or
 * the introduction to a list or to code.
 */
function isMinor(text: string): boolean {
  return isItem(text) || isQuestion(text) || text.endsWith(":");
}

function isQuestion(text: string): boolean {
  return /\?[*_]*$/.test(text);
}

function byFit(a: Candidate, b: Candidate): number {
  return Number(b.isWanted) - Number(a.isWanted) ||
    Number(b.isTopic) - Number(a.isTopic) || b.score - a.score;
}

/** Returns the number of distinct numbers in a sorted list. */
function countDistinct(numbers: readonly number[]): number {
  return numbers.reduce(
    (count, number, i) => number === numbers[i - 1] ? count : count + 1,
    0,
  );
}

/** Returns the share of the terms that occur in the passages, from 0 to 1. */
export function coverage(
  passages: readonly Passage[],
  terms: readonly string[],
): number {
  const found = new Set(
    passages.flatMap(({ heading, text }) => words(`${heading} ${text}`)),
  );
  return terms.filter((term) => found.has(term)).length / terms.length;
}

/**
 * Finds the words of an index that share their stem with a term, such as "lanes" for
 * "laned".
 *
 * @throws The signal's reason, if it aborts.
 */
export async function findRelatedWords(
  { vocabulary }: NoteIndex,
  term: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const stem = term.slice(0, Math.max(4, term.length - 3));
  const pause = createPauses(signal);
  const found: string[] = [];
  for (const word of vocabulary) {
    if (word.startsWith(stem)) found.push(word);
    await pause();
  }
  return found;
}
