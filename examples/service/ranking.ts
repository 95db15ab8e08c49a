import type { Passage } from "./markdown.ts";
import { words } from "./question.ts";

/** The usual parameters of BM25: saturation by frequency, and by length. */
const K1 = 1.2;
const B = 0.75;

/**
 * Ranks passages by how well they match the terms, best first, and before all
 * others those that have wanted words in a row; those without a match are left out.
 *
 * @see {@link https://doi.org/10.1561/1500000019 | Robertson and Zaragoza, BM25 and Beyond}
 */
export function rank(
  passages: readonly Passage[],
  terms: readonly string[],
  wanted: readonly string[] = [],
): Passage[] {
  const documents = passages.map(({ heading, text }) => {
    const counts = new Map<string, number>();
    const all = words(`${heading} ${text}`);
    for (const word of all) counts.set(word, (counts.get(word) ?? 0) + 1);
    const row = ` ${words(text).join(" ")} `;
    const isWanted = wanted.some((each) => row.includes(` ${each} `));
    return { counts, length: all.length, isWanted };
  });
  const averageLength = documents.reduce((sum, { length }) => sum + length, 0) /
    documents.length;
  const weights = terms.map((term) => {
    const matches = documents.filter(({ counts }) => counts.has(term)).length;
    return Math.log(1 + (documents.length - matches + 0.5) / (matches + 0.5));
  });
  const scores = documents.map(({ counts, length }) =>
    terms.reduce((score, term, i) => {
      const count = counts.get(term) ?? 0;
      const saturation = count + K1 * (1 - B + B * length / averageLength);
      return score + weights[i]! * count * (K1 + 1) / saturation;
    }, 0)
  );
  return passages
    .map((passage, i) => ({ passage, score: scores[i]!, ...documents[i]! }))
    .filter(({ score }) => score > 0)
    .sort((a, b) =>
      Number(b.isWanted) - Number(a.isWanted) || b.score - a.score
    )
    .map(({ passage }) => passage);
}

/** The share of the terms that occur in the passages, from 0 to 1. */
export function coverage(
  passages: readonly Passage[],
  terms: readonly string[],
): number {
  const found = new Set(
    passages.flatMap(({ heading, text }) => words(`${heading} ${text}`)),
  );
  return terms.filter((term) => found.has(term)).length / terms.length;
}

/** Words of the passages that begin as the term does: "lanes" for "laned". */
export function relatives(
  passages: readonly Passage[],
  term: string,
): string[] {
  const stem = term.slice(0, Math.max(4, term.length - 3));
  const all = new Set(passages.flatMap(({ text }) => words(text)));
  return [...all].filter((word) => word.startsWith(stem));
}
