/**
 * Makes the npm package: runs `deno pack`, and adds the fields of `package.json` that
 * `deno pack` does not write.
 *
 * Run it: `deno task pack package.tgz`. To publish, add the address of the repository,
 * which npm compares with the provenance:
 * `deno task pack package.tgz https://example.com/owner/name`.
 *
 * @module
 */

/** The fields that npm shows, searches and checks. */
const FIELDS = {
  description:
    "Prometheus metrics for multi-stage pipelines, in Deno, Node and Bun",
  keywords: [
    "prometheus",
    "metrics",
    "pipeline",
    "stage",
    "openmetrics",
    "observability",
    "async-context",
  ],
  engines: { node: ">=20" },
};

/**
 * The versions of prom-client that work. `deno.json` names only one major version. With
 * only that, npm may install a second prom-client beside the project's own, and the
 * package would not show the project's metrics.
 */
const PROM_CLIENT = "^14.0.0 || ^15.0.0";

/** The files whose links npm shows. */
const TEXTS = ["README.md", "CHANGELOG.md"];

/**
 * Makes the tarball.
 *
 * @param tarball The path to write it to.
 * @param repository The address of the repository's page.
 * @throws {Error} If a command fails.
 */
export async function pack(
  tarball: string,
  repository?: string,
): Promise<void> {
  const root = new URL("../", import.meta.url);
  const folder = await Deno.makeTempDir();
  try {
    // The package does not have the sources that source maps would lead to.
    const options = ["--allow-dirty", "--no-source-maps"];
    const packed = `${folder}/packed.tgz`;
    await run(Deno.execPath(), ["pack", ...options, "--output", packed], root);
    await run("tar", ["-xzf", packed, "-C", folder]);
    const path = `${folder}/package/package.json`;
    const fields = JSON.parse(await Deno.readTextFile(path));
    Object.assign(fields, FIELDS);
    fields.dependencies["prom-client"] = PROM_CLIENT;
    if (repository !== undefined) {
      fields.repository = { type: "git", url: `git+${repository}.git` };
      await linkTo(repository, fields.version, `${folder}/package`);
    }
    await Deno.writeTextFile(path, `${JSON.stringify(fields, null, 2)}\n`);
    await run("tar", ["-czf", tarball, "-C", folder, "package"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Makes relative links lead to the repository: the package lacks most of its files. */
async function linkTo(
  repository: string,
  version: string,
  folder: string,
): Promise<void> {
  for (const name of TEXTS) {
    const path = `${folder}/${name}`;
    const text = await Deno.readTextFile(path);
    const linked = text.replace(
      /(!?)(\[[^\]]*\]\()(?!#|[a-z]+:)/g,
      (_, image: string, label: string) => {
        const view = image === "" ? "blob" : "raw";
        return `${image}${label}${repository}/${view}/v${version}/`;
      },
    );
    await Deno.writeTextFile(path, linked);
  }
}

async function run(command: string, args: string[], cwd?: URL): Promise<void> {
  const options = { args, env: { NO_COLOR: "1" }, ...cwd && { cwd } };
  const { success, stdout, stderr } = await new Deno.Command(command, options)
    .output();
  if (success) return;
  const [printed, errors] = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  );
  throw new Error(`Cannot pack: ${command} fails: ${printed}${errors}`);
}

if (import.meta.main) {
  const [tarball, repository] = Deno.args;
  if (tarball === undefined) {
    throw new Error("Cannot pack: no file to write to");
  }
  await pack(tarball, repository);
}
