/**
 * Loads further copies of the library, as when one comes from JSR and another from npm,
 * or when a hot reload evaluates it again.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url);
const FILES = ["mod.ts", "src"];

/** The exports of a copy, and of its subpath `testing`. */
export type Copy = typeof import("../../mod.ts") & {
  readonly testing: typeof import("../../src/testing.ts");
};

/**
 * Loads the library once more.
 *
 * @param edits The texts to replace in its files, and their replacements.
 */
export async function loadCopy(
  edits: Readonly<Record<string, string>> = {},
): Promise<Copy> {
  // Inside the project, so that bare specifiers resolve.
  const folder = new URL(`.cache/copies/${crypto.randomUUID()}/`, ROOT);
  await Deno.mkdir(folder, { recursive: true });
  for (const name of FILES) await copy(new URL(name, ROOT), folder, edits);
  const main = await import(new URL("mod.ts", folder).href);
  const testing = await import(new URL("src/testing.ts", folder).href);
  await Deno.remove(folder, { recursive: true });
  return { ...main, testing };
}

async function copy(
  from: URL,
  into: URL,
  edits: Readonly<Record<string, string>>,
): Promise<void> {
  const to = new URL(from.pathname.split("/").at(-1)!, into);
  if ((await Deno.stat(from)).isFile) {
    let text = await Deno.readTextFile(from);
    for (const [old, replacement] of Object.entries(edits)) {
      text = text.replaceAll(old, replacement);
    }
    await Deno.writeTextFile(to, text);
    return;
  }
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) {
    await copy(new URL(`${from}/${name}`), new URL(`${to}/`), edits);
  }
}
