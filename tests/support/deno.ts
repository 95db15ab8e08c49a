/**
 * Runs a Deno command with the development dependencies. `@std/assert` comes from JSR
 * or, if JSR cannot be reached, from the stand-in `assert.ts`. Prints which one is used.
 *
 * Run it: `deno run --allow-all tests/support/deno.ts COMMAND ...`
 *
 * @module
 */
import tests from "../deno.json" with { type: "json" };
import all from "../npm/deno.json" with { type: "json" };

const ASSERT = "@std/assert";

/** The root of the project, where all commands run. */
export const root: string = new URL("../..", import.meta.url).pathname;

/** The options of a Deno command, valid until they are disposed. */
export interface ConfigOptions extends Disposable {
  readonly options: readonly string[];
}

/**
 * Returns the options that make a Deno command find the development dependencies: all of
 * them (`tests/npm/deno.json`), or only those of the tests in Deno (`tests/deno.json`).
 * They are two files because Deno downloads everything that a configuration imports.
 */
export async function configOptions(
  { onlyTests = false } = {},
): Promise<ConfigOptions> {
  const path = onlyTests ? "../deno.json" : "../npm/deno.json";
  const url = new URL(path, import.meta.url);
  const config = `--config=${url.pathname}`;
  if (await isReachable(ASSERT)) {
    console.log(`${ASSERT}: from JSR`);
    return { options: [config], [Symbol.dispose]() {} };
  }
  console.log(
    `${ASSERT}: JSR cannot be reached, using tests/support/assert.ts`,
  );
  const { imports } = onlyTests ? tests : all;
  const importMap = await writeImportMap(imports, url);
  return {
    options: [config, `--import-map=${importMap}`],
    [Symbol.dispose]: () => Deno.removeSync(importMap),
  };
}

async function isReachable(specifier: string): Promise<boolean> {
  try {
    await import(specifier);
    return true;
  } catch {
    return false;
  }
}

/** Writes an import map with the imports of a configuration, and the stand-in. */
async function writeImportMap(
  imports: Readonly<Record<string, string>>,
  config: URL,
): Promise<string> {
  const absolute = Object.entries(imports).map(([name, target]) => [
    name,
    target.startsWith(".") ? new URL(target, config).href : target,
  ]);
  const standIn = [ASSERT, import.meta.resolve("./assert.ts")];
  const text = JSON.stringify({
    imports: Object.fromEntries([...absolute, standIn]),
  });
  const file = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(file, text);
  return file;
}

async function run(args: string[]): Promise<number> {
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd: root })
    .spawn().status;
  return code;
}

if (import.meta.main) {
  const [command = "help", ...args] = Deno.args;
  const config = await configOptions();
  const code = await run([command, ...config.options, ...args]);
  config[Symbol.dispose]();
  Deno.exit(code);
}
