import { join } from "node:path";

/** A paragraph of a Markdown file, or an item of a list in it. */
export interface Passage {
  readonly file: string;
  /** The number of its first line, from 1. */
  readonly line: number;
  /** The heading that it stands under. */
  readonly heading: string;
  readonly text: string;
}

/** Larger files, folders and paragraphs are not written by hand. */
const MAX_FILE_BYTES = 1_000_000;
const MAX_FOLDERS = 10_000;
const MAX_PASSAGE_CHARS = 5_000;
const MAX_HEADING_CHARS = 200;

/**
 * Finds the Markdown files below a folder, without hidden ones and packages, and
 * without following links, which may lead in circles. Folders below it that cannot
 * be read are left out.
 *
 * @throws If the folder itself cannot be read.
 */
export async function findFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  const folders = [""];
  // The list grows while it is walked.
  for (const below of folders) {
    try {
      for await (const entry of Deno.readDir(join(folder, below))) {
        const { name, isFile, isDirectory } = entry;
        if (name.startsWith(".") || name === "node_modules") continue;
        const path = below === "" ? name : `${below}/${name}`;
        if (isFile && name.endsWith(".md")) files.push(path);
        if (isDirectory && folders.length < MAX_FOLDERS) folders.push(path);
      }
    } catch (error) {
      if (below === "") throw error;
    }
  }
  return files.sort();
}

/** Returns the file of a name, or else all that end in it, whatever the case. */
export function named(
  files: readonly string[],
  name: string,
): readonly string[] {
  if (files.includes(name)) return [name];
  const end = `/${name}`.toLowerCase();
  return files.filter((file) => `/${file}`.toLowerCase().endsWith(end));
}

/**
 * Reads a file's text; one that is too large, binary or cannot be read has none.
 *
 * @throws The signal's reason, if that aborts.
 */
export async function readText(
  folder: string,
  file: string,
  signal?: AbortSignal,
): Promise<string> {
  const path = join(folder, file);
  try {
    const { size } = await Deno.stat(path);
    if (size > MAX_FILE_BYTES) return "";
    const text = await Deno.readTextFile(path, signal && { signal });
    return text.includes("\0") ? "" : text;
  } catch {
    signal?.throwIfAborted();
    // It may have been deleted since the folder was listed.
    return "";
  }
}

/** Splits a text into its lines. */
export function linesOf(text: string): string[] {
  return text.split(/\r?\n/);
}

/**
 * Splits a file's prose into its paragraphs and list items. Code and tables are
 * left out, of which a part says nothing by itself.
 */
export function parsePassages(file: string, text: string): Passage[] {
  const passages: Passage[] = [];
  let heading = "";
  let isCode = false;
  let paragraph: string[] = [];
  for (const [i, line] of [...linesOf(text), ""].entries()) {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    const title = isCode ? undefined : /^#+ (.*)/.exec(line)?.[1];
    const isRule = /^[\s:=-]*$/.test(line);
    const isRow = /^\s*\|/.test(line);
    const isProse = !isCode && !isFence && title === undefined && !isRule &&
      !isRow;
    if (paragraph.length > 0 && (!isProse || isItem(line))) {
      const text = paragraph.join("\n");
      if (text.length <= MAX_PASSAGE_CHARS) {
        passages.push({ file, line: i + 1 - paragraph.length, heading, text });
      }
      paragraph = [];
    }
    if (isProse) paragraph.push(line);
    if (isFence) isCode = !isCode;
    heading = title?.slice(0, MAX_HEADING_CHARS) ?? heading;
  }
  return passages;
}

/** Returns whether a text begins as an item of a list does. */
export function isItem(text: string): boolean {
  return /^\s*(?:[-*+] |\d+[.)] )/.test(text);
}
