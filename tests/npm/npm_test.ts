/** The npm package, as its users get it. */
import { bundleTests } from "./bundle.ts";
import { NoNetwork } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import {
  installBun,
  installNode,
  NODE_MAJORS,
  type Runtime,
} from "./runtimes.ts";
import { countTests, run, runSuite } from "./suite.ts";
import { assert, assertEquals } from "@std/assert";

/** Gives what was fetched; says what is skipped, and why, where that failed. */
async function fetched<T>(
  tests: string,
  fetching: Promise<T>,
): Promise<T | undefined> {
  try {
    return await fetching;
  } catch (error) {
    if (!(error instanceof NoNetwork)) throw error;
    console.warn(`Skipped: ${tests}, as ${error.message}`);
  }
}

const tarball = await pack();
const folder = await fetched("the npm package", installPackage(tarball));
const files = folder === undefined ? [] : await bundleTests(folder);
const registered = await countTests(files);

const RUNTIMES: Record<string, () => Promise<Runtime>> = {
  ...Object.fromEntries(
    NODE_MAJORS.map((major) => [`Node ${major}`, () => installNode(major)]),
  ),
  Bun: installBun,
};

for (const [name, install] of Object.entries(RUNTIMES)) {
  const runtime = folder && await fetched(`the tests on ${name}`, install());
  const ignore = !folder || !runtime;

  Deno.test({
    name: `The tests pass on the npm package in ${name}`,
    ignore,
    async fn() {
      if (!folder || !runtime) return;
      const { isOk, passed, failed, skipped, output } = await runSuite(
        runtime,
        folder,
        files,
      );
      for (const [line] of output.matchAll(/Skipped on .*/g)) {
        console.warn(line);
      }
      console.log(`${runtime.name}: ${passed} passed`);
      assert(isOk, output);
      // None was lost on the way, as those of a file that does not load would be.
      assertEquals([passed + skipped, failed], [registered, 0], output);
    },
  });

  Deno.test({
    name: `require() gives a user of CommonJS the npm package in ${name}`,
    ignore,
    async fn() {
      if (!folder || !runtime) return;
      const script = `${folder}/require.cjs`;
      await Deno.copyFile(new URL("require.cjs", import.meta.url), script);
      assertEquals(await run(runtime, script), "worked\n1\nworked\n1\n");
    },
  });
}
