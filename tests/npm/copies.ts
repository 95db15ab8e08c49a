/**
 * Stands in for `../support/copies.ts` in other runtimes, with copies of the package.
 *
 * @module
 */
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Copy } from "../support/copies.ts";

export type { Copy };

/** Loads the package once more, with texts in its files replaced. */
export async function loadCopy(
  edits: Readonly<Record<string, string>> = {},
): Promise<Copy> {
  const main = import.meta.resolve("@lukhas/stage-metrics");
  const root = new URL(".", main);
  // Beside the package, so that its dependencies resolve.
  const folder = new URL(`../${crypto.randomUUID()}/`, root);
  await cp(fileURLToPath(root), fileURLToPath(folder), { recursive: true });
  for (
    const path of await readdir(fileURLToPath(folder), { recursive: true })
  ) {
    if (!path.endsWith(".js")) continue;
    let text = await readFile(new URL(path, folder), "utf8");
    for (const [old, replacement] of Object.entries(edits)) {
      text = text.replaceAll(old, replacement);
    }
    await writeFile(new URL(path, folder), text);
  }
  const inCopy = (specifier: string) =>
    import.meta.resolve(specifier).replace(root.href, folder.href);
  const copy = {
    ...await import(inCopy("@lukhas/stage-metrics")),
    testing: await import(inCopy("@lukhas/stage-metrics/testing")),
  };
  await rm(fileURLToPath(folder), { recursive: true });
  return copy;
}
