/**
 * Runs the tests, each file in its own process and several at once, and prints a
 * line for each file when it ends. Failures follow in full at the end.
 *
 * Run it: `deno task test`, or `deno task test tests/scopes/` for some of the files.
 * Options are passed on to `deno test`, such as `--filter=timeout`.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import { configOptions, root } from "./deno.ts";

/** The tests of the npm package, which `deno task npm` runs. */
const NPM = "tests/npm/";

/** The name of the snippets in the docs, and the example of a test. */
const DOCS = "docs";

/** Where the docs are. */
const DOC_PATHS = [
  "README.md",
  "CHANGELOG.md",
  ".github",
  "examples",
  "mod.ts",
  "src",
];

/** The folders of the slowest files, which start first. */
const SLOW = ["workers", "http", "model", "prometheus"];

/** How many files run at once. Most tests wait more than they compute. */
const CONCURRENCY = availableParallelism() + 2;

/** The longest time that a file may take, in milliseconds. */
const TIMEOUT_MS = 300_000;

/** The result of a file's tests. */
interface Result {
  readonly name: string;
  readonly isOk: boolean;
  readonly passed: number;
  readonly failed: number;
  readonly ignored: number;
  readonly seconds: number;
  readonly output: string;
}

/** Returns the paths of the test files in a folder. */
function findTests(folder: string): string[] {
  if (folder === NPM) return [];
  return [...Deno.readDirSync(`${root}${folder}`)].flatMap((entry) => {
    const path = `${folder}${entry.name}`;
    if (entry.isDirectory) return findTests(`${path}/`);
    return path.endsWith("_test.ts") ? [path] : [];
  });
}

/** Sorts the paths of test files, the probably slowest first. */
function sortBySlowness(files: readonly string[]): string[] {
  const isSlow = (file: string) => SLOW.includes(file.split("/")[1]!);
  const sizeOf = (file: string) => Deno.statSync(`${root}${file}`).size;
  return files.toSorted((a, b) =>
    Number(isSlow(b)) - Number(isSlow(a)) || sizeOf(b) - sizeOf(a)
  );
}

/** Returns the arguments of `deno test` for a test file, or for the docs. */
function argsOf(name: string): string[] {
  if (name === DOCS) return ["--doc", ...DOC_PATHS];
  // `deno task check` checks its types.
  return ["--no-check", name];
}

async function runTests(
  name: string,
  args: readonly string[],
): Promise<Result> {
  const start = performance.now();
  const { success, signal, stdout, stderr } = await new Deno.Command(
    Deno.execPath(),
    {
      args: [...args],
      cwd: root,
      env: { NO_COLOR: "1" },
      stdin: "null",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    },
  ).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout) + decoder.decode(stderr);
  const output = signal === null ? text : `${text}\n(ended by ${signal})`;
  const summary = output.match(/^(?:ok|FAILED) \| .*$/gm)?.at(-1) ?? "";
  const count = (status: string) =>
    Number(new RegExp(`(\\d+) ${status}`).exec(summary)?.[1] ?? 0);
  return {
    name,
    isOk: success,
    passed: count("passed"),
    // A file that does not load, or that is killed, has no summary.
    failed: Math.max(count("failed"), success ? 0 : 1),
    ignored: count("ignored"),
    seconds: (performance.now() - start) / 1000,
    output,
  };
}

/** Prints the line of a file, and why some of its tests are skipped. */
function print({ name, isOk, passed, failed, seconds, output }: Result): void {
  const status = isOk ? "ok    " : "FAILED";
  const count = String(passed + failed).padStart(4);
  const time = seconds.toFixed(1).padStart(6);
  console.log(`${status} ${name.padEnd(48)}${count} tests${time} s`);
  for (const [line] of output.matchAll(/^Skipped.*/gm)) console.log(line);
}

const options = Deno.args.filter((arg) => arg.startsWith("-"));
const paths = Deno.args.filter((arg) => !arg.startsWith("-"))
  .map((path) => path.replace(/^[.][/]/, ""));

const queue = [DOCS, ...sortBySlowness(findTests("tests/"))].filter((name) =>
  paths.length === 0 || paths.some((path) => name.startsWith(path))
);
if (queue.length === 0) {
  throw new Error(`Cannot test: no test file in "${paths.join('", "')}"`);
}

const config = await configOptions({ onlyTests: true });
// Downloads all dependencies, so that the files do not do so concurrently.
await new Deno.Command(Deno.execPath(), {
  args: ["cache", ...config.options, "tests/support/sdk.ts"],
  cwd: root,
}).spawn().status;
const start = performance.now();
const results: Result[] = [];

async function runQueue(): Promise<void> {
  for (let name; (name = queue.shift()) !== undefined;) {
    const result = await runTests(name, [
      ...["test", ...config.options, "--allow-all"],
      ...["--sanitize-ops", "--sanitize-resources"],
      ...options,
      ...argsOf(name),
    ]);
    results.push(result);
    print(result);
  }
}

await Promise.all(Array.from({ length: CONCURRENCY }, runQueue));
config[Symbol.dispose]();

const failures = results.filter(({ isOk }) => !isOk);
for (const { name, output } of failures) console.log(`\n${name}\n\n${output}`);

function sum(count: "passed" | "failed" | "ignored"): number {
  return results.reduce((total, result) => total + result[count], 0);
}

const status = failures.length === 0 ? "ok" : "FAILED";
const counts = [
  `${sum("passed")} passed`,
  `${sum("failed")} failed`,
  ...sum("ignored") > 0 ? [`${sum("ignored")} ignored`] : [],
];
const seconds = Math.round((performance.now() - start) / 1000);
console.log(`\n${[status, ...counts].join(" | ")} (${seconds}s)`);
Deno.exit(failures.length === 0 ? 0 : 1);
