/**
 * The runtimes other than Deno that the npm package is for.
 *
 * @module
 */
import { arch, platform } from "node:process";
import { installOnce, Unavailable } from "./install.ts";

/** A runtime that is installed. */
export interface Runtime {
  /** Such as "Node 22.23.3". */
  readonly name: string;
  /** The path of its binary. */
  readonly binary: string;
  /** The arguments that run test files, followed by their paths. */
  readonly testArgs: readonly string[];
  /** Match the numbers of passed, failed and skipped tests in its output. */
  readonly counts: readonly [RegExp, RegExp, RegExp];
}

/** The supported major versions of Node. */
export const NODE_MAJORS = [20, 22, 24, 26];

const BUN_VERSION = "1.4";

/** Fetches Node, the latest of a major version. */
export async function installNode(major: number): Promise<Runtime> {
  // The package `node` would install this one by a script.
  const system = platform === "win32" ? "win" : platform;
  const name = `node-${system}-${arch}`;
  const folder = await installOnce(`node-${major}`, [`${name}@${major}`]);
  const binary = `${folder}/node_modules/${name}/bin/node`;
  return {
    name: `Node ${await versionOf(binary)}`,
    binary,
    testArgs: ["--test", "--test-reporter=tap"],
    counts: [/^# pass (\d+)$/m, /^# fail (\d+)$/m, /^# skipped (\d+)$/m],
  };
}

/** Fetches Bun. */
export async function installBun(): Promise<Runtime> {
  const folder = await installOnce("bun", [`bun@${BUN_VERSION}`]);
  // The package `bun` would copy one of the builds by a script.
  const builds = `${folder}/node_modules/@oven`;
  for await (const { name } of Deno.readDir(builds)) {
    const binary = `${builds}/${name}/bin/bun`;
    try {
      return {
        name: `Bun ${await versionOf(binary)}`,
        binary,
        // Some tests take longer than the default of 5 seconds.
        testArgs: ["test", "--timeout", "120000"],
        counts: [/^ *(\d+) pass$/m, /^ *(\d+) fail$/m, /^ *(\d+) skip$/m],
      };
    } catch {
      // A build for other processors, or for another C library.
    }
  }
  throw new Unavailable("no build of Bun runs here");
}

async function versionOf(binary: string): Promise<string> {
  const { stdout } = await new Deno.Command(binary, { args: ["--version"] })
    .output();
  return new TextDecoder().decode(stdout).trim().replace(/^v/, "");
}
