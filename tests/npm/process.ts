/**
 * Stands in for `../support/process.ts` in other runtimes, which have no permissions.
 *
 * @module
 */
import { execFile } from "node:child_process";
import { env, execPath } from "node:process";
import { fileURLToPath } from "node:url";

/** The longest wait, in milliseconds. */
const TIMEOUT_MS = 60_000;

/** Returns the URL of `fixtures/NAME.js`, for any folder of tests. */
export function fixtureUrl(name: string): URL {
  const [tests] = /^.*[/]tests[/]/.exec(import.meta.url)!;
  return new URL(`fixtures/${name}.js`, tests);
}

/** Runs `fixtures/NAME.js`, and returns its output. */
export function runFixture(
  name: string,
  permissions: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const script = fixtureUrl(name);
  const flags = permissions.includes("--v8-flags=--expose-gc")
    ? ["--expose-gc"]
    : [];
  const { LUKHAS_LANE: _, NODE_TEST_CONTEXT: __, ...inherited } = env;
  return new Promise((resolve) => {
    execFile(
      execPath,
      [...flags, fileURLToPath(script)],
      {
        env: { ...inherited, NO_COLOR: "1", ...environment },
        timeout: TIMEOUT_MS,
        killSignal: "SIGKILL",
      },
      (error, stdout, stderr) => {
        const printed = stderr + stdout;
        const signal = error?.signal;
        resolve(signal ? `${printed}(ended by ${signal})` : printed);
      },
    );
  });
}
