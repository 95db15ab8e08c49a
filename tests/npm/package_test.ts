/** Tests the files of the npm package. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { readdir } from "node:fs/promises";
import config from "../../deno.json" with { type: "json" };
import { pack, REPOSITORY, unpack } from "./package.ts";
import { NODE_MAJORS } from "./runtimes.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

const tarball = await pack();
const contents = await unpack(tarball);

Deno.test("npm package has each source as JavaScript, types, texts, nothing else", async () => {
  const sources = (await readdir(`${ROOT}/src`, { recursive: true }))
    .filter((path) => path.endsWith(".ts")).map((path) => `src/${path}`);
  assertEquals(
    [...contents.keys()].filter((path) => !path.endsWith(".d.ts")).sort(),
    [
      ...["mod.ts", ...sources].map((path) => path.replace(/ts$/, "js")),
      ...["CHANGELOG.md", "LICENSE", "README.md", "package.json"],
    ].sort(),
  );
  const strays = [...contents.keys()].filter((path) =>
    path.endsWith(".d.ts") && !contents.has(path.replace(/d\.ts$/, "js"))
  );
  assertEquals(strays, []);
});

Deno.test("npm package refers to no source map, and is small", async () => {
  const { size } = await Deno.stat(tarball);
  assert(size < 150_000, `${size} bytes`);
  for (const [path, text] of contents) {
    assert(!text.includes("sourceMapping" + "URL"), path);
    assert(text.length < 50_000, `${path}: ${text.length}`);
  }
});

Deno.test("package.json has the fields that npm shows and checks", () => {
  const { exports, dependencies, description, keywords, ...rest } = JSON.parse(
    contents.get("package.json")!,
  );
  assertEquals(rest, {
    name: config.name,
    version: config.version,
    type: "module",
    license: config.license,
    main: "./mod.js",
    types: "./mod.d.ts",
    engines: { node: `>=${NODE_MAJORS[0]}` },
    repository: { type: "git", url: `git+${REPOSITORY}.git` },
  });
  assertEquals(Object.keys(exports), Object.keys(config.exports));
  assertEquals(dependencies, {
    "@opentelemetry/api": config.imports["@opentelemetry/api"].split("@").at(
      -1,
    ),
    "prom-client": "^14.0.0 || ^15.0.0",
  });
  assert(
    contents.get("README.md")!.replaceAll("\n", " ").includes(description),
  );
  assert(keywords.includes("prometheus"));
});

Deno.test("README.md and CHANGELOG.md link to files of the repository at the version", async () => {
  const page = new RegExp(`^${REPOSITORY}/(?:blob|raw)/v${config.version}/`);
  const links = ["README.md", "CHANGELOG.md"].flatMap((name) =>
    [...contents.get(name)!.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link!)
  );
  assert(links.some((link) => page.test(link)));
  for (const link of links) {
    assertMatch(link, /^(#|https:)/);
    if (!page.test(link)) continue;
    const [path] = link.replace(page, "").split("#");
    assert((await Deno.stat(`${ROOT}${path}`)).isFile, link);
  }
});

/** Returns the imports that pass the filter, and the files that have them. */
function importsOf(filter: RegExp): (readonly [path: string, name: string])[] {
  const imports = /^(?:import|export|}).* from "(.*)"|\bimport\("(.*)"\)/gm;
  return [...contents].filter(([path]) => filter.test(path))
    .flatMap(([path, text]) =>
      [...text.matchAll(imports)].map(([, one, other]) =>
        [path, one ?? other!] as const
      )
    );
}

Deno.test("npm package has every file that one of its files imports", () => {
  const missing = importsOf(/./).filter(([path, name]) => {
    if (!name.startsWith(".")) return false;
    const file = new URL(name, `file:///${path}`).pathname.slice(1);
    return !contents.has(
      path.endsWith(".d.ts") ? file.replace(/js$/, "d.ts") : file,
    );
  });
  assertEquals(missing, []);
});

Deno.test("npm package imports no other package in its types", () => {
  const foreign = importsOf(/\.d\.ts$/).filter(([, name]) => !/^\./.test(name));
  assertEquals(foreign, []);
});
