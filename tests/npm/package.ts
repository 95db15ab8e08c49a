/**
 * Makes the npm package, and installs it as its users do.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };
import { install, installOnce } from "./install.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** What the tests import beside the package; prom-client comes with it. */
const COMPANIONS = ["@prometheus-io/client", "undici"] as const;

/** Makes the tarball, and gives its path. */
export async function pack(): Promise<string> {
  const folder = await Deno.makeTempDir();
  const tarball = `${folder}/package.tgz`;
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

/** Installs the tarball into a project that has nothing else of ours. */
export async function installPackage(tarball: string): Promise<string> {
  const companions = COMPANIONS.map((name) =>
    config.imports[name].replace(/^npm:/, "")
  );
  const folder = await installOnce("project", companions);
  // So that neither a file nor a dependency of an earlier one passes for new.
  await Deno.remove(`${folder}/node_modules/@lukhas`, { recursive: true })
    .catch(() => {});
  await install(folder, [tarball]);
  return folder;
}

/** The paths of the files in a tarball, sorted. */
export async function listFiles(tarball: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("tar", { args: ["-tzf", tarball] })
    .output();
  return new TextDecoder().decode(stdout).trim().split("\n")
    .map((path) => path.replace(/^package\//, "")).sort();
}
