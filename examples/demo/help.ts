import type { NoteIndex } from "./note_index.ts";
import type { Suggestions } from "./suggestions.ts";

/**
 * Lists what to try, as commands that can be pasted as they are.
 *
 * @param origin The service's own; a request's header could hold any text.
 */
export function help(origin: string, suggestions: Suggestions): string {
  const lines = Object.entries(suggestions)
    .map(([kind, question]) => [kind, askCommand(origin, question)] as const);
  return [...lines, ["Metrics", `curl ${origin}/metrics`] as const]
    .map(([kind, command]) => `${`${kind}:`.padEnd(13)}${command}\n`).join("");
}

/** Says that the service is listening, and what to try first. */
export function greeting(
  origin: string,
  { files, isFull }: NoteIndex,
  question: string,
): string {
  const count = `${isFull ? "the first " : ""}${files.length}`;
  const noun = files.length === 1 ? "file" : "files";
  return `Answering from ${count} Markdown ${noun} on ${origin}

Ask it something, and see how it went about it:
  ${askCommand(origin, question)}
  curl ${origin}/metrics

More to ask: curl ${origin}`;
}

function askCommand(origin: string, question: string): string {
  const query = encodeURIComponent(question).replaceAll("%20", "+")
    .replaceAll("'", "%27");
  return `curl '${origin}/ask?q=${query}'`;
}
