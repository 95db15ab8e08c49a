/**
 * Makes the npm package, and installs it as its users do.
 *
 * @module
 */
import { CACHE, install } from "./install.ts";
import { readdir } from "node:fs/promises";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Makes the tarball, and gives its path. */
export async function pack(): Promise<string> {
  const tarball = `${CACHE}/package.tgz`;
  await Deno.mkdir(CACHE, { recursive: true });
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // The sources are not in it, which the maps would lead to.
    args: ["pack", "--allow-dirty", "--no-source-maps", "--output", tarball],
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  if (success) return tarball;
  const decoder = new TextDecoder();
  throw new Error(decoder.decode(stdout) + decoder.decode(stderr));
}

/** Installs the tarball into a project of the cache. */
export async function installPackage(
  folder: string,
  tarball: string,
): Promise<void> {
  // So that no file of an earlier one passes for new.
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
