/**
 * Fetches from npm, and keeps what was fetched.
 *
 * @module
 */

/** A folder that git ignores, and that may be deleted at any time. */
const CACHE = new URL("../../.cache/npm", import.meta.url).pathname;

/** How long npm may take; it is there to end, not to measure. */
const PATIENCE_MS = 300_000;

/** Says that something could not be fetched; no fault of the package. */
export class NoNetwork extends Error {
  override name = "NoNetwork";
}

/** Makes an empty npm project in the cache, and gives its path. */
export async function createProject(name: string): Promise<string> {
  const folder = `${CACHE}/${name}`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(
    `${folder}/package.json`,
    JSON.stringify({ private: true, type: "module" }),
  );
  return folder;
}

/** Installs packages into a project of the cache. */
export async function install(
  folder: string,
  packages: readonly string[],
): Promise<void> {
  const { code, signal, stderr } = await new Deno.Command("npm", {
    args: [
      "install",
      // Nothing here needs a script of a package's to run.
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
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).output();
  if (code === 0) return;
  const text = new TextDecoder().decode(stderr).trim();
  throw new NoNetwork(`npm install fails (${signal ?? code}): ${text}`);
}

/** Installs packages into a project of their own, once; gives its path. */
export async function installOnce(
  name: string,
  packages: readonly string[],
): Promise<string> {
  const marker = `${CACHE}/${name}/installed.json`;
  const wanted = JSON.stringify(packages);
  const installed = await Deno.readTextFile(marker).catch(() => "");
  if (installed === wanted) return `${CACHE}/${name}`;
  const folder = await createProject(name);
  await install(folder, packages);
  await Deno.writeTextFile(marker, wanted);
  return folder;
}
