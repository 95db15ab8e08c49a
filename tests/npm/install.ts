/**
 * Installs npm packages into a cache.
 *
 * @module
 */

import config from "./deno.json" with { type: "json" };

/** A folder that git ignores, and that may be deleted at any time. */
export const CACHE = new URL("../../.cache/npm", import.meta.url).pathname;

/** The longest wait, in milliseconds. */
const TIMEOUT_MS = 300_000;

/** The error of a download that failed, which is not a fault of the package. */
export class Unavailable extends Error {
  override name = "Unavailable";
}

/** Creates an empty npm project in the cache, and returns its path. */
export async function createProject(name: string): Promise<string> {
  const folder = `${CACHE}/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(
    `${folder}/package.json`,
    JSON.stringify({ private: true, type: "module" }),
  );
  return folder;
}

/** Matches npm's error codes for network problems. */
const NETWORK =
  /\b(EAI_AGAIN|ENOTFOUND|ENOTCACHED|ECONN\w+|E\w*TIMEDOUT|ENETUNREACH|E5\d\d)\b/;

/**
 * Installs packages into a project of the cache.
 *
 * @throws {Unavailable} If there is no network, or no npm.
 */
export async function install(
  folder: string,
  packages: readonly string[],
): Promise<void> {
  const npm = new Deno.Command("npm", {
    args: [
      "install",
      // No package here needs its install scripts.
      "--ignore-scripts",
      "--no-package-lock",
      "--no-audit",
      "--no-fund",
      "--prefer-offline",
      "--loglevel=error",
      ...packages,
    ],
    cwd: folder,
    stdout: "null",
    stderr: "piped",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  let output;
  try {
    output = await npm.output();
  } catch (error) {
    throw new Unavailable(`npm does not run (${error})`);
  }
  const { code, signal, stderr } = output;
  if (code === 0) return;
  const text = new TextDecoder().decode(stderr).trim();
  const message = `npm install fails (${signal ?? code}): ${text}`;
  if (signal !== null || NETWORK.test(text)) throw new Unavailable(message);
  throw new Error(message);
}

/** Returns the versions of packages that the tests import. */
export function specifiersOf(
  names: readonly (keyof typeof config.imports)[],
): string[] {
  return names.map((name) => config.imports[name].replace(/^npm:/, ""));
}

/**
 * Installs packages into their own project, once.
 *
 * @returns The path of the project.
 * @throws {Unavailable} If the installation fails.
 */
export async function installOnce(
  name: string,
  packages: readonly string[],
): Promise<string> {
  const marker = `${CACHE}/${name}/installed.json`;
  const specifiers = JSON.stringify(packages);
  const installed = await Deno.readTextFile(marker).catch(() => "");
  if (installed === specifiers) return `${CACHE}/${name}`;
  const folder = await createProject(name);
  await install(folder, packages).catch((error) => {
    throw new Unavailable(error.message);
  });
  await Deno.writeTextFile(marker, specifiers);
  return folder;
}

/** Returns an installation, or prints the skipped tests if it is unavailable. */
export async function fetched<T>(
  tests: string,
  fetching: Promise<T>,
): Promise<T | undefined> {
  try {
    return await fetching;
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.warn(`Skipped: ${tests}, as ${error.message}`);
  }
}
