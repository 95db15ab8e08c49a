/**
 * Measures the library and the same metrics by hand, in Deno, Node and Bun. Writes the
 * tables to RESULTS.md and their summary to README.md, and prints the limits.
 *
 * In Deno it measures the sources, in Node and Bun the npm package.
 *
 * @module
 */
import { availableParallelism } from "node:os";
import { bundle } from "../npm/bundle.ts";
import { installOnce, specifiersOf } from "../npm/install.ts";
import { installPackage, pack } from "../npm/package.ts";
import { installBun, installNode } from "../npm/runtimes.ts";
import { run } from "../npm/suite.ts";
import { configOptions } from "../support/deno.ts";
import {
  limitsTable,
  type Report,
  runtimeTable,
  summaryTable,
  versionLine,
} from "./report.ts";
import type { Figures } from "./suite.ts";

const README = new URL("../../README.md", import.meta.url);
const RESULTS = new URL("RESULTS.md", import.meta.url);

/** The marks around the tables in both files. */
const [START, END] = ["<!-- bench: -->", "<!-- :bench -->"];

const MEASURES = [
  "pipelines",
  "largeScrape",
  "smallScrape",
  "memory",
  "threads",
] as const;

const COMPANIONS = [
  "@opentelemetry/sdk-metrics",
  "@prometheus-io/client",
  "mitata",
  "prom-client",
] as const;

/** A runtime, and how it runs the suite. */
interface Bench {
  readonly name: string;
  readonly binary: string;
  readonly args: readonly string[];
}

async function prepare(): Promise<{ benches: Bench[]; versions: string[] }> {
  const folder = await installOnce("bench", specifiersOf(COMPANIONS));
  await installPackage(folder, await pack());
  await bundle(folder, ["bench/suite.ts"]);
  const suite = `${folder}/tests/bench/suite.js`;
  const [node, bun] = [await installNode(26), await installBun()];
  const source = new URL("suite.ts", import.meta.url).pathname;
  const denoArgs = [
    ...["run", ...config.options],
    ...["--allow-all", "--v8-flags=--expose-gc"],
  ];
  const versions = COMPANIONS.filter((name) => name !== "mitata").map(
    (name) => {
      const path = `${folder}/node_modules/${name}/package.json`;
      return `${name} ${JSON.parse(Deno.readTextFileSync(path)).version}`;
    },
  );
  return {
    versions,
    benches: [
      {
        name: `Deno ${Deno.version.deno}`,
        binary: Deno.execPath(),
        args: [...denoArgs, source],
      },
      { ...node, args: ["--expose-gc", suite] },
      { ...bun, args: [suite] },
    ],
  };
}

async function measure(bench: Bench): Promise<Figures> {
  const figures: Record<string, unknown> = {};
  for (const name of MEASURES) {
    figures[name] = JSON.parse(await run(bench, ...bench.args, name));
  }
  return figures as unknown as Figures;
}

using config = await configOptions();
const { benches, versions } = await prepare();
const reports: Report[] = [];
for (const bench of benches) {
  console.log(`${bench.name} …`);
  reports.push({ name: bench.name, figures: await measure(bench) });
}
const cores = availableParallelism();
const source = versionLine(cores, versions);
const tables = reports.map(runtimeTable).join("\n\n");
await replaceTables(RESULTS, `${source}\n\n${tables}`);
await replaceTables(README, `${summaryTable(reports)}\n\n${source}`);
console.log(`\n${source}\n\n${tables}\n\n${limitsTable(reports)}`);

async function replaceTables(file: URL, text: string): Promise<void> {
  const [before, rest] = (await Deno.readTextFile(file)).split(START);
  const after = rest?.split(END)[1];
  if (after === undefined) throw new Error(`${file} has no ${START} … ${END}`);
  const parts = [`${before}${START}`, text, `${END}${after}`];
  await Deno.writeTextFile(file, parts.join("\n\n"));
  const args = ["fmt", "-q", file.pathname];
  await new Deno.Command(Deno.execPath(), { args }).output();
}
