/**
 * Runs scripts that use real libraries together with the npm package.
 *
 * @module
 */
import { cp } from "node:fs/promises";
import { installOnce } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import type { Runtime } from "./runtimes.ts";

/**
 * Installs libraries and the package into a project of the cache, and copies scripts
 * there.
 *
 * @param name The name of the project.
 * @param scripts The folder of the scripts.
 * @returns The path of the project.
 */
export async function installScripts(
  name: string,
  libraries: readonly string[],
  scripts: URL,
): Promise<string> {
  const folder = await installOnce(name, libraries);
  await installPackage(folder, await pack());
  await cp(scripts, folder, { recursive: true });
  return folder;
}

/** Runs a script, and returns the JSON that it prints. */
export async function runScript(
  { binary }: Runtime,
  script: string,
  env: Record<string, string> = {},
): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(binary, {
    args: ["--expose-gc", script],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return JSON.parse(decoder.decode(stdout));
}
