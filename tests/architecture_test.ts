/** Tests the two import rules of `src/README.md`. */
import { assertEquals } from "@std/assert";

const SRC = new URL("../src/", import.meta.url);

/** The folders in the order of the import rule. The last one is `src/` itself. */
const FOLDERS = [
  "common",
  "exposition",
  "series",
  "registry",
  "tracing",
  "scopes",
  "instances",
  "pipelines",
  "workers",
  "http",
  "",
];

/** The only file of a folder that files of other folders may import. */
const FRONT_FILES: Readonly<Record<string, string>> = {
  tracing: "tracing/tracer.ts",
  workers: "workers/share.ts",
  http: "http/handler.ts",
};

/** Matches the relative imports and exports of a module. */
const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*"(\.[^"]+)"/g;

function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** Returns the broken rules of modules, given their texts by their paths in `src/`. */
function findViolations(modules: ReadonlyMap<string, string>): string[] {
  return [...modules].flatMap(([path, text]) =>
    [...text.matchAll(IMPORT)].flatMap(([, specifier]) => {
      const target = new URL(specifier!, new URL(path, SRC)).href
        .slice(SRC.href.length);
      const [from, to] = [folderOf(path), folderOf(target)];
      if (from === to) return [];
      const front = FRONT_FILES[to] ?? target;
      return [
        ...FOLDERS.indexOf(to) >= FOLDERS.indexOf(from)
          ? [`${path} imports ${target}, of a folder that is not above`]
          : [],
        ...target !== front ? [`${path} imports ${target}, not ${front}`] : [],
      ];
    })
  );
}

function readModules(folder: URL = SRC): Map<string, string> {
  const modules = new Map<string, string>();
  for (const { name, isDirectory } of Deno.readDirSync(folder)) {
    const url = new URL(isDirectory ? `${name}/` : name, folder);
    if (isDirectory) {
      for (const [path, text] of readModules(url)) modules.set(path, text);
    } else if (name.endsWith(".ts")) {
      modules.set(url.href.slice(SRC.href.length), Deno.readTextFileSync(url));
    }
  }
  return modules;
}

Deno.test("src/README.md lists the folders of src/ in the order of the rules", () => {
  const readme = Deno.readTextFileSync(new URL("README.md", SRC));
  const rows = [...readme.matchAll(/^\| `(\w+)\/` .*$/gm)];
  assertEquals(rows.map(([, folder]) => folder), FOLDERS.slice(0, -1));
  const fronts = rows.flatMap(([row, folder]) => {
    const [, file] = /enter by `(.*?)`/.exec(row) ?? [];
    return file === undefined ? [] : [[folder, `${folder}/${file}`]];
  });
  assertEquals(Object.fromEntries(fronts), FRONT_FILES);
  const folders = new Set([...readModules().keys()].map(folderOf));
  assertEquals([...folders].sort(), FOLDERS.toSorted());
});

Deno.test("src/ imports only from folders above and through front files", () => {
  assertEquals(findViolations(readModules()), []);
});

Deno.test("findViolations() finds a planted import of each kind", () => {
  const modules = new Map([
    ["common/labels.ts", 'import { Series } from "../series/series.ts";'],
    ["series/series.ts", 'export type { A } from "../common/a.ts";'],
    ["scopes/scope.ts", 'const span = await import("../tracing/span.ts");'],
    ["http/scrape.ts", 'import "../stage_metrics.ts";'],
    ["node.ts", 'export * from "./http/handler.ts";'],
  ]);
  assertEquals(findViolations(modules), [
    "common/labels.ts imports series/series.ts, of a folder that is not above",
    "scopes/scope.ts imports tracing/span.ts, not tracing/tracer.ts",
    "http/scrape.ts imports stage_metrics.ts, of a folder that is not above",
  ]);
});
