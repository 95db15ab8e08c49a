/**
 * Runs the tests on a runtime.
 *
 * @module
 */
import type { Runtime } from "./runtimes.ts";

/** How many tests there were, and what was printed. */
export interface Result {
  readonly isOk: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly output: string;
}

/** Runs test files in the folder of their project. */
export async function runSuite(
  runtime: Runtime,
  folder: string,
  files: readonly string[],
): Promise<Result> {
  const { success, stdout, stderr } = await new Deno.Command(runtime.binary, {
    args: [...runtime.testArgs, ...files],
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  const output = decoder.decode(stdout) + decoder.decode(stderr);
  const [passed, failed, skipped] = runtime.counts.map((pattern) =>
    Number(pattern.exec(output)?.[1] ?? 0)
  ) as [number, number, number];
  return { isOk: success, passed, failed, skipped, output };
}

/** Runs a script, and gives what it prints on stdout; it must not fail. */
export async function run(runtime: Runtime, script: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(runtime.binary, {
    args: [script],
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return decoder.decode(stdout);
}

/** How many tests there are in files, by loading them without a runtime's help. */
export async function countTests(files: readonly string[]): Promise<number> {
  const registeredTests: string[] = [];
  Object.assign(globalThis, { registeredTests });
  for (const file of files) await import(`file://${file}`);
  return registeredTests.length;
}
