/**
 * Runs the tests on a runtime.
 *
 * @module
 */
import { bundleTests } from "./bundle.ts";
import { EXCEPTIONS } from "./exceptions.ts";
import { installOnce, specifiersOf } from "./install.ts";
import { installPackage } from "./package.ts";
import type { Runtime } from "./runtimes.ts";

/** The packages that the tests import. prom-client comes with the package. */
const COMPANIONS = [
  "@opentelemetry/api",
  "@opentelemetry/sdk-trace-node",
  "@prometheus-io/client",
  "fast-check",
  "undici",
] as const;

/** The tests of the sources, bundled for the npm package. */
export interface Suite {
  /** The project that the package is installed in. */
  readonly folder: string;
  /** The paths of the test files. */
  readonly files: readonly string[];
  /** The number of tests. */
  readonly count: number;
}

/** The result of a run. */
export interface Result {
  readonly isOk: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly output: string;
}

/** Installs the package and the tests. */
export async function installSuite(tarball: string): Promise<Suite> {
  const folder = await installOnce("project", specifiersOf(COMPANIONS));
  await installPackage(folder, tarball);
  const files = await bundleTests(folder);
  const tests = await collectTests(files);
  for (const { test } of EXCEPTIONS) {
    if (!tests.includes(test)) {
      throw new Error(`There is no test "${test}", remove it from EXCEPTIONS`);
    }
  }
  return { folder, files, count: tests.length };
}

/** Runs the tests. */
export async function runSuite(
  runtime: Runtime,
  { folder, files }: Suite,
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

/** Runs a script, and returns its output. Throws if it fails. */
export async function run(
  { binary }: Pick<Runtime, "binary">,
  ...args: string[]
): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(binary, {
    args,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(decoder.decode(stderr));
  return decoder.decode(stdout);
}

/** Returns the names of the tests in files, by loading them. */
async function collectTests(files: readonly string[]): Promise<string[]> {
  const registeredTests: string[] = [];
  Object.assign(globalThis, { registeredTests });
  for (const file of files) await import(`file://${file}`);
  return registeredTests;
}
