import { join } from "node:path";

/** A paragraph or list item of a Markdown file. */
export interface Passage {
  readonly file: string;
  /** The number of its first line, from 1. */
  readonly line: number;
  /** The nearest heading above. */
  readonly heading: string;
  readonly text: string;
}

/** Limits that files written by hand do not reach. */
const MAX_FILE_BYTES = 1_000_000;
const MAX_FOLDERS = 10_000;
const MAX_PASSAGE_CHARS = 5_000;
const MAX_HEADING_CHARS = 200;

const EXTENSION = /\.(?:md|markdown)$/i;

/**
 * Finds the Markdown files in a folder and its subfolders. Leaves out hidden files,
 * `node_modules`, unreadable subfolders and symbolic links, which may form cycles.
 *
 * @throws If the folder itself cannot be read.
 */
export async function findFiles(folder: string): Promise<string[]> {
  const files: string[] = [];
  const folders = [""];
  // The loop also visits the folders that it adds.
  for (const subfolder of folders) {
    try {
      for await (const entry of Deno.readDir(join(folder, subfolder))) {
        const { name, isFile, isDirectory } = entry;
        if (name.startsWith(".") || name === "node_modules") continue;
        const path = subfolder === "" ? name : `${subfolder}/${name}`;
        if (isFile && EXTENSION.test(name)) files.push(path);
        if (isDirectory && folders.length < MAX_FOLDERS) folders.push(path);
      }
    } catch (error) {
      if (subfolder === "") throw error;
    }
  }
  return files.sort();
}

/**
 * Returns the file with a path, or else all files whose path ends with it, in any
 * letter case.
 */
export function filesNamed(
  files: readonly string[],
  name: string,
): readonly string[] {
  if (files.includes(name)) return [name];
  const end = `/${name}`.toLowerCase();
  return files.filter((file) => `/${file}`.toLowerCase().endsWith(end));
}

/**
 * Reads the text of a file. Returns an empty text if the file is too large, binary or
 * unreadable.
 *
 * @throws The signal's reason, if it aborts.
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
 * Splits the prose of a file into paragraphs and list items. Leaves out code, tables,
 * HTML, front matter and lists of links, which do not answer a question.
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

/** Removes the matches of the patterns, except for their line breaks. */
function blank(text: string, ...patterns: readonly RegExp[]): string {
  return patterns.reduce(
    (text, pattern) => text.replace(pattern, (part) => part.replace(/.+/g, "")),
    text,
  );
}

/**
 * Returns the heading that a line is or underlines, or `undefined`.
 *
 * @param paragraph The lines of the paragraph before the line.
 */
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

/** Returns whether a text has a letter outside its links and images. */
function hasProse(text: string): boolean {
  const withoutLinks = text.replace(/!\[[^[\]]*\]\([^()\s]*\)/g, "")
    .replace(/\[[^[\]]*\](?:\([^()\s]*\)|\[[^[\]]*\])/g, "");
  return /\p{L}/u.test(withoutLinks);
}

/** Returns whether a text begins like a list item. */
export function isItem(text: string): boolean {
  return /^\s*(?:[-*+] |\d+[.)] )/.test(text);
}
