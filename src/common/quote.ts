/** The maximum length of a foreign text in a message, in UTF-16 code units. */
const MAX_LENGTH = 200;

/**
 * Matches the characters that could end a line of a log, move the cursor of a terminal
 * or reorder its text: controls, line and paragraph separators, marks and overrides of
 * the writing direction, the byte order mark, and lone surrogates.
 */
const UNPRINTABLE =
  /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/gu;

/**
 * Quotes a foreign text, such as a name, for a message.
 *
 * @param value The text, or another value.
 * @returns At most 200 characters of the text in double quotes, with JSON escapes. For an
 * object or a function, only its type.
 */
export function quote(value: unknown): string {
  if (Object(value) === value) return typeof value;
  const text = String(value);
  const shown = text.slice(0, MAX_LENGTH).replaceAll(/["\\]/g, "\\$&");
  return `"${escapeUnprintable(shown)}${text.length > MAX_LENGTH ? "…" : ""}"`;
}

/** Returns at most 200 characters of a foreign text for a message, unquoted. */
export function excerpt(text: string): string {
  const shown = escapeUnprintable(text.slice(0, MAX_LENGTH));
  return text.length > MAX_LENGTH ? `${shown}…` : shown;
}

/** Replaces unprintable characters by JSON escapes. */
function escapeUnprintable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) => {
    const json = JSON.stringify(character).slice(1, -1);
    if (json !== character) return json;
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
