import type { NoteIndex } from "./note_index.ts";
import type { Suggestions } from "./suggestions.ts";

/**
 * Lists commands to try, ready to be pasted into a shell.
 *
 * @param origin The origin of the service. It must not come from a request, whose
 * `Host` header could hold a shell command.
 */
export function help(origin: string, suggestions: Suggestions): string {
  const lines = Object.entries(suggestions)
    .map(([kind, question]) => [kind, askCommand(origin, question)] as const);
  return [...lines, ["Metrics", `curl ${origin}/metrics`] as const]
    .map(([kind, command]) => `${`${kind}:`.padEnd(13)}${command}\n`).join("");
}

/** Returns the text that the service prints when it listens. */
export function greeting(
  origin: string,
  { files, isFull }: NoteIndex,
  question: string,
): string {
  const count = `${isFull ? "the first " : ""}${files.length}`;
  const noun = files.length === 1 ? "file" : "files";
  return `Answering from ${count} Markdown ${noun} on ${origin}

Ask it something, and look at the metrics:
  ${askCommand(origin, question)}
  curl ${origin}/metrics

More questions: curl ${origin}`;
}

function askCommand(origin: string, question: string): string {
  const query = encodeURIComponent(question).replaceAll("%20", "+")
    .replaceAll("'", "%27");
  return `curl '${origin}/ask?q=${query}'`;
}
