/** Tests the npm package as users install it. */
import { assert, assertEquals } from "@std/assert";
import { installCompiler, SETUPS } from "./compile.ts";
import { fetched } from "./install.ts";
import { pack } from "./package.ts";
import {
  installBun,
  installNode,
  NODE_MAJORS,
  type Runtime,
} from "./runtimes.ts";
import { installSuite, run, runSuite } from "./suite.ts";

const tarball = await pack();
const suite = await fetched("the npm package", installSuite(tarball));

const RUNTIMES: Record<string, () => Promise<Runtime>> = {
  ...Object.fromEntries(
    NODE_MAJORS.map((major) => [`Node ${major}`, () => installNode(major)]),
  ),
  Bun: installBun,
};

for (const [name, install] of Object.entries(RUNTIMES)) {
  const runtime = await fetched(`the npm package in ${name}`, install());
  const ignore = !suite || !runtime;

  Deno.test({
    name: `npm package passes the tests in ${name}`,
    ignore,
    async fn() {
      const result = await runSuite(runtime!, suite!);
      const { isOk, passed, failed, skipped, output } = result;
      for (const [line] of output.matchAll(/Skipped on .*/g)) {
        console.warn(line);
      }
      console.log(`${runtime!.name}: ${passed} passed`);
      assert(isOk, output);
      // Every test must be counted: a file that does not load would lose its tests.
      assertEquals([passed + skipped, failed], [suite!.count, 0], output);
    },
  });

  Deno.test({
    name: `require() loads the npm package in ${name}`,
    ignore,
    async fn() {
      const script = `${suite!.folder}/require.cjs`;
      await Deno.copyFile(new URL("require.cjs", import.meta.url), script);
      assertEquals(await run(runtime!, script), "worked\n1\nworked\n1\n");
    },
  });
}

const compiler = await fetched(
  "TypeScript on the npm package",
  installCompiler(tarball),
);

Deno.test({
  name: "tsc compiles programs that use the npm package, with any settings",
  ignore: !compiler,
  async fn() {
    for (const setup of SETUPS) {
      assertEquals(await compiler!.compile(setup), "", Deno.inspect(setup));
    }
  },
});
