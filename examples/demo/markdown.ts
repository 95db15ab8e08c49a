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

const EXTENSION = /\.(?:md|markdown)$/i;

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
        if (isFile && EXTENSION.test(name)) files.push(path);
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
 * Splits a file's prose into its paragraphs and list items. Code, tables, HTML, front
 * matter and lists of links are left out: they do not answer a question.
 */
export function parsePassages(file: string, text: string): Passage[] {
  const passages: Passage[] = [];
  let heading = "";
  let isCode = false;
  let paragraph: string[] = [];
  const prose = blank(text, COMMENT, FRONT_MATTER);
  for (const [i, line] of [...linesOf(prose), ""].entries()) {
    const isFence = /^\s*(?:```|~~~)/.test(line);
    const title = isCode ? undefined : titleOf(line, paragraph);
    const isProse = !isCode && !isFence && title === undefined &&
      !NO_PROSE.test(line);
    if (paragraph.length > 0 && (!isProse || isItem(line))) {
      const text = paragraph.join("\n");
      const isTitle = title === paragraph[0];
      if (!isTitle && text.length <= MAX_PASSAGE_CHARS && hasProse(text)) {
        passages.push({ file, line: i + 1 - paragraph.length, heading, text });
      }
      paragraph = [];
    }
    if (isProse) paragraph.push(line);
    if (isFence) isCode = !isCode;
    heading = title?.trim().slice(0, MAX_HEADING_CHARS) ?? heading;
  }
  return passages;
}

/** A comment on lines of its own. */
const COMMENT = /^ *<!--.*?--> *$/gms;

/** The YAML at the beginning of a file. */
const FRONT_MATTER = /^---\r?\n.*?\n---(?=\s)/s;

/** A line that is blank, a rule, a row of a table or HTML. */
const NO_PROSE = /^[\s:=-]*$|^\s*\||^\s*<(?!https?:)/;

/** Removes what matches the patterns, and keeps its lines. */
function blank(text: string, ...patterns: readonly RegExp[]): string {
  return patterns.reduce(
    (text, pattern) => text.replace(pattern, (part) => part.replace(/.+/g, "")),
    text,
  );
}

/** Returns the heading that ends with a line, if one does. */
function titleOf(
  line: string,
  [first, ...others]: readonly string[],
): string | undefined {
  const title = /^ {0,3}#{1,6} (.*?)(?: #+)? *$/.exec(line)?.[1];
  if (title !== undefined) return title;
  const isUnderlined = first !== undefined && others.length === 0 &&
    !isItem(first) && /^(?:=+|-+) *$/.test(line);
  return isUnderlined ? first : undefined;
}

/** Returns whether a text has a letter outside of its links and images. */
function hasProse(text: string): boolean {
  const withoutLinks = text.replace(/!\[[^[\]]*\]\([^()\s]*\)/g, "")
    .replace(/\[[^[\]]*\](?:\([^()\s]*\)|\[[^[\]]*\])/g, "");
  return /\p{L}/u.test(withoutLinks);
}

/** Returns whether a text begins as an item of a list does. */
export function isItem(text: string): boolean {
  return /^\s*(?:[-*+] |\d+[.)] )/.test(text);
}
