/**
 * Runs a command of Deno's with `@std/assert` from JSR, or, where JSR cannot be
 * reached, with the stand-in `assert.ts`, and prints which of the two it is.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

const ASSERT = "@std/assert";

const [command = "help", ...args] = Deno.args;
if (await isReachable(ASSERT)) {
  console.log(`${ASSERT}: from JSR`);
  Deno.exit(await run([command, ...args]));
}
console.log(
  `${ASSERT}: JSR is out of reach, tests/support/assert.ts stands in`,
);
const importMap = await writeImportMap();
const code = await run([command, `--import-map=${importMap}`, ...args]);
await Deno.remove(importMap);
Deno.exit(code);

async function isReachable(specifier: string): Promise<boolean> {
  try {
    await import(specifier);
    return true;
  } catch {
    return false;
  }
}

async function writeImportMap(): Promise<string> {
  const standIn = import.meta.resolve("./assert.ts");
  const imports = { ...config.imports, [ASSERT]: standIn };
  const file = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(file, JSON.stringify({ imports }));
  return file;
}

async function run(args: string[]): Promise<number> {
  const cwd = new URL("../..", import.meta.url);
  const { code } = await new Deno.Command(Deno.execPath(), { args, cwd })
    .spawn().status;
  return code;
}
