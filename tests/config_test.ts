/** Tests the configurations for development, which extend that of the package. */
import { assertEquals } from "@std/assert";
import root from "../deno.json" with { type: "json" };
import tests from "./deno.json" with { type: "json" };
import all from "./npm/deno.json" with { type: "json" };

const CONFIGS = [
  { path: "tests/deno.json", config: tests, toRoot: ".." },
  { path: "tests/npm/deno.json", config: all, toRoot: "../.." },
];

for (const { path, config, toRoot } of CONFIGS) {
  Deno.test(`${path} has the compiler options of the package`, () => {
    assertEquals(config.compilerOptions, root.compilerOptions);
  });

  Deno.test(`${path} has the imports of the package`, () => {
    const imports: Record<string, string> = config.imports;
    assertEquals({ ...imports, ...root.imports }, imports);
  });

  Deno.test(`${path} has the modules that the package exports`, () => {
    assertEquals(
      Object.entries(config.imports)
        .filter(([name]) => name.startsWith(root.name)),
      Object.entries(root.exports).map(([subpath, target]) => [
        root.name + subpath.slice(1),
        target.replace(".", toRoot),
      ]),
    );
  });
}

Deno.test("tests/npm/deno.json has the imports of tests/deno.json", () => {
  const names = Object.keys(tests.imports) as (keyof typeof tests.imports)[];
  for (const name of names.filter((name) => !name.startsWith(root.name))) {
    assertEquals(all.imports[name], tests.imports[name]);
  }
});
