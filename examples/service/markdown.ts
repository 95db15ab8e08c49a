import { join } from "node:path";

/** A paragraph of a Markdown file. */
export interface Passage {
  readonly file: string;
  /** The number of its first line, from 1. */
  readonly line: number;
  /** The heading that it stands under. */
  readonly heading: string;
  readonly text: string;
}

/** Larger ones are no prose. */
const MAX_FILE_BYTES = 1_000_000;
const MAX_FILES = 5_000;

/**
 * Finds the Markdown files below a folder, hidden ones and packages aside, without
 * following links. A folder below it that cannot be read has none.
 */
export async function findFiles(
  folder: string,
  below = "",
): Promise<string[]> {
  const files: string[] = [];
  for await (
    const { name, isFile, isDirectory } of Deno.readDir(join(folder, below))
  ) {
    if (name.startsWith(".") || name === "node_modules") continue;
    const path = below === "" ? name : `${below}/${name}`;
    if (isDirectory) {
      files.push(...await findFiles(folder, path).catch(() => []));
    } else if (isFile && name.endsWith(".md")) files.push(path);
    if (files.length >= MAX_FILES) break;
  }
  return files.sort().slice(0, MAX_FILES);
}

/** The file of a name, or else all those that end in it, whatever the case. */
export function named(
  files: readonly string[],
  name: string,
): readonly string[] {
  if (files.includes(name)) return [name];
  const end = `/${name}`.toLowerCase();
  return files.filter((file) => `/${file}`.toLowerCase().endsWith(end));
}

/** Reads a file's lines; one that is too large, or cannot be read, has none. */
export async function readLines(
  folder: string,
  file: string,
): Promise<string[]> {
  const path = join(folder, file);
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_FILE_BYTES) return [];
    return (await Deno.readTextFile(path)).split(/\r?\n/);
  } catch {
    // It may have been deleted since the folder was listed.
    return [];
  }
}

/** Splits a file's prose into its paragraphs, list items and table rows. */
export async function readPassages(
  folder: string,
  file: string,
): Promise<Passage[]> {
  const passages: Passage[] = [];
  let heading = "";
  let isCode = false;
  let paragraph: string[] = [];
  const lines = await readLines(folder, file);
  for (const [i, line] of [...lines, ""].entries()) {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    const title = isCode ? undefined : /^#+ (.*)/.exec(line)?.[1];
    const isRule = /^[\s|:=-]*$/.test(line);
    const isProse = !isCode && !isFence && title === undefined && !isRule;
    const isItem = /^\s*(?:[-*+] |\d+[.)] |\|)/.test(line);
    if (paragraph.length > 0 && (!isProse || isItem)) {
      const text = paragraph.join("\n");
      passages.push({ file, line: i + 1 - paragraph.length, heading, text });
      paragraph = [];
    }
    if (isProse) paragraph.push(line);
    if (isFence) isCode = !isCode;
    heading = title ?? heading;
  }
  return passages;
}
