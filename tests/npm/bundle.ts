/**
 * Bundles the ordinary tests to import the npm package.
 *
 * @module
 */
import { build, type BuildOptions, type Plugin, stop } from "esbuild";
import config from "../../deno.json" with { type: "json" };

const TESTS = new URL("../", import.meta.url);

/** The test files that run in Deno only, and why. All others also run on the package. */
const DENO_ONLY: Readonly<Record<string, string>> = {
  "architecture_test.ts": "reads the sources",
  "config_test.ts": "reads the configuration",
  "common/async_test.ts": "tests functions that are not exported",
  "common/call_site_test.ts": "tests functions that are not exported",
  "common/clock_test.ts": "tests functions that are not exported",
  "common/quote_test.ts": "tests functions that are not exported",
  "deno_test.ts": "tests features that only Deno has",
  "examples/demo_test.ts": "runs the demo, a program for Deno",
  "examples/examples_test.ts": "runs examples for Deno",
  "exposition/numbers_test.ts": "tests functions that are not exported",
  "exposition/open_metrics_names_test.ts":
    "tests functions that are not exported",
  "http/accept_test.ts": "tests functions that are not exported",
  "http/request_test.ts": "tests functions that are not exported",
  "registry/buckets_test.ts": "tests functions that are not exported",
  "series/outcome_stats_test.ts": "tests functions that are not exported",
  "tracing/otlp_test.ts": "runs Deno, with its own tracing",
  "types_test.ts": "is only compiled; consumers/all.ts is its counterpart",
  "workers/channel_test.ts": "tests functions that are not exported",
  "workers/delta_test.ts": "tests functions that are not exported",
  "workers/foreign_replica_test.ts": "tests functions that are not exported",
  "workers/parallel_test.ts": "runs an example of deno serve",
};

/** The folders below `tests/` whose tests do not run on the package. */
const OTHER_FOLDERS = ["bench", "fixtures", "npm", "prometheus"];

/** Defines `require` in ES modules of esbuild, which prom-client calls for Node's modules. */
export const REQUIRE_BANNER =
  'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);';

/** The modules that the package exports, by their paths. */
const EXPORTS = new Map(
  Object.entries(config.exports).map(([subpath, path]) => [
    new URL(`../${path}`, TESTS).pathname,
    config.name + subpath.slice(1),
  ]),
);

/** Modules that are replaced outside Deno. */
const STAND_INS = new Map([
  ["@std/assert", "support/assert.ts"],
  [new URL("support/copies.ts", TESTS).href, "npm/copies.ts"],
  [new URL("support/process.ts", TESTS).href, "npm/process.ts"],
]);

const plugin: Plugin = {
  name: "npm package",
  setup({ onResolve }) {
    onResolve({ filter: /./ }, ({ path, resolveDir, kind }) => {
      if (kind === "entry-point") return;
      const isLocal = path.startsWith(".");
      const file = new URL(path, `file://${resolveDir}/`);
      const standIn = STAND_INS.get(isLocal ? file.href : path);
      if (standIn !== undefined) {
        return { path: new URL(standIn, TESTS).pathname };
      }
      if (!isLocal) return { path, external: true };
      const exported = EXPORTS.get(file.pathname);
      if (exported !== undefined) return { path: exported, external: true };
      if (file.href.startsWith(TESTS.href)) return;
      const text = `${path} is not exported: list the test under DENO_ONLY`;
      return { errors: [{ text }] };
    });
  },
};

/**
 * Bundles the tests, and the fixtures that they run, to import the package.
 *
 * @param folder Where the package is installed.
 * @returns The paths of the test files.
 */
export async function bundleTests(folder: string): Promise<string[]> {
  const tests = findTests(TESTS).sort();
  for (const name of Object.keys(DENO_ONLY)) {
    if (!tests.includes(name)) {
      throw new Error(`tests/${name} does not exist, remove it from DENO_ONLY`);
    }
  }
  const shared = tests.filter((name) => !(name in DENO_ONLY));
  const fixtures = [...Deno.readDirSync(new URL("fixtures", TESTS))]
    .map(({ name }) => `fixtures/${name}`);
  await Deno.remove(`${folder}/tests`, { recursive: true }).catch(() => {});
  await bundle(folder, fixtures);
  return await bundle(folder, shared, {
    define: {
      "Deno.test": "denoTest",
      "Promise.withResolvers": "withResolvers",
      "Array.fromAsync": "fromAsync",
    },
    inject: ["npm/shim.ts"],
  });
}

/** Returns the paths of the test files in a folder, from `tests/`. */
function findTests(folder: URL): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) => {
    const path = new URL(name, folder).href.slice(TESTS.href.length);
    if (!isDirectory) return name.endsWith("_test.ts") ? [path] : [];
    if (OTHER_FOLDERS.includes(path)) return [];
    return findTests(new URL(`${name}/`, folder));
  });
}

/**
 * Bundles files below `tests/`, to import the package.
 *
 * @param folder Where the package is installed.
 * @returns The paths of the bundles.
 */
export async function bundle(
  folder: string,
  files: readonly string[],
  options?: BuildOptions,
): Promise<string[]> {
  const outdir = `${folder}/tests`;
  await build({
    ...options,
    absWorkingDir: TESTS.pathname,
    entryPoints: [...files],
    outdir,
    outbase: TESTS.pathname,
    bundle: true,
    format: "esm",
    // Node 20 has neither decorators nor `using`.
    target: "node20",
    plugins: [plugin],
    logLevel: "error",
  });
  await stop();
  return files.map((name) => `${outdir}/${name.replace(/ts$/, "js")}`);
}
