/**
 * Stands in for `../copies.ts` in other runtimes, with copies of the package.
 *
 * @module
 */
import type { Copy } from "../copies.ts";
import { cp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

export type { Copy };

/** Loads the package once more. */
export async function loadCopy(): Promise<Copy> {
  const main = import.meta.resolve("@lukhas/stage-metrics");
  const root = new URL(".", main);
  // Beside it, where its dependencies are found.
  const folder = new URL(`../${crypto.randomUUID()}/`, root);
  await cp(fileURLToPath(root), fileURLToPath(folder), { recursive: true });
  const inCopy = (specifier: string) =>
    import.meta.resolve(specifier).replace(root.href, folder.href);
  const copy = {
    ...await import(inCopy("@lukhas/stage-metrics")),
    testing: await import(inCopy("@lukhas/stage-metrics/testing")),
  };
  await rm(fileURLToPath(folder), { recursive: true });
  return copy;
}
