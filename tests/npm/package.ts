/**
 * Makes the npm package, and installs it as users do.
 *
 * @module
 */
import { readdir } from "node:fs/promises";
import { pack as packTo } from "../../.ci/pack.ts";
import { CACHE, install } from "./install.ts";

/** The address that the tarball is packed with. */
export const REPOSITORY = "https://example.com/owner/stage-metrics";

/** Makes the tarball as the publish workflow does, and returns its path. */
export async function pack(): Promise<string> {
  const tarball = `${CACHE}/package.tgz`;
  await Deno.mkdir(CACHE, { recursive: true });
  await packTo(tarball, REPOSITORY);
  return tarball;
}

/** Installs the tarball into a project of the cache. */
export async function installPackage(
  folder: string,
  tarball: string,
): Promise<void> {
  // Leaves no file of an earlier version.
  await Deno.remove(`${folder}/node_modules/@lukhas`, { recursive: true })
    .catch(() => {});
  await install(folder, [tarball]);
}

/** The files in a tarball: their texts, by their paths in the package. */
export async function unpack(tarball: string): Promise<Map<string, string>> {
  const into = await Deno.makeTempDir();
  await new Deno.Command("tar", { args: ["-xzf", tarball, "-C", into] })
    .output();
  const root = `${into}/package`;
  const texts = new Map<string, string>();
  for (const path of await readdir(root, { recursive: true })) {
    const { isFile } = await Deno.stat(`${root}/${path}`);
    if (isFile) texts.set(path, await Deno.readTextFile(`${root}/${path}`));
  }
  await Deno.remove(into, { recursive: true });
  return texts;
}
