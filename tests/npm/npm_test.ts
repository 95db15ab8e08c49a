/** The npm package, as its users get it. */
import { installCompiler, SETUPS } from "./compile.ts";
import { fetched } from "./install.ts";
import { pack, unpack } from "./package.ts";
import {
  installBun,
  installNode,
  NODE_MAJORS,
  type Runtime,
} from "./runtimes.ts";
import { installSuite, run, runSuite } from "./suite.ts";
import { assert, assertEquals } from "@std/assert";

const tarball = await pack();
const contents = await unpack(tarball);

Deno.test("The npm package is JavaScript, types and what to read, and nothing else", () => {
  assertEquals(
    [...contents.keys()].filter((path) =>
      !/^(mod|src\/\w+)\.(js|d\.ts)$/.test(path)
    ).sort(),
    ["CHANGELOG.md", "LICENSE", "README.md", "package.json"],
  );
});

/** Each import in the package's files that the filter takes, and what imports it. */
function importsOf(filter: RegExp): (readonly [path: string, name: string])[] {
  const imports = /^(?:import|export|}).* from "(.*)"|\bimport\("(.*)"\)/gm;
  return [...contents].filter(([path]) => filter.test(path))
    .flatMap(([path, text]) =>
      [...text.matchAll(imports)].map(([, one, other]) =>
        [path, one ?? other!] as const
      )
    );
}

Deno.test("The npm package has every file that one of its files imports", () => {
  const missing = importsOf(/./).filter(([path, name]) => {
    if (!name.startsWith(".")) return false;
    const file = new URL(name, `file:///${path}`).pathname.slice(1);
    return !contents.has(
      path.endsWith(".d.ts") ? file.replace(/js$/, "d.ts") : file,
    );
  });
  assertEquals(missing, []);
});

Deno.test("The npm package's types want no other package's, which may want more", () => {
  const wanted = importsOf(/\.d\.ts$/).filter(([, name]) => !/^\./.test(name));
  assertEquals(wanted, []);
});

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
    name: `The tests pass on the npm package in ${name}`,
    ignore,
    async fn() {
      const result = await runSuite(runtime!, suite!);
      const { isOk, passed, failed, skipped, output } = result;
      for (const [line] of output.matchAll(/Skipped on .*/g)) {
        console.warn(line);
      }
      console.log(`${runtime!.name}: ${passed} passed`);
      assert(isOk, output);
      // None was lost on the way, as those of a file that does not load would be.
      assertEquals([passed + skipped, failed], [suite!.count, 0], output);
    },
  });

  Deno.test({
    name: `require() gives a user of CommonJS the npm package in ${name}`,
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
  name: "TypeScript takes the npm package, whatever it is set up for",
  ignore: !compiler,
  async fn() {
    for (const setup of SETUPS) {
      assertEquals(await compiler!.compile(setup), "", Deno.inspect(setup));
    }
  },
});
