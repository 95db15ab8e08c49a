/**
 * Serves a module by Vite, and loads it again after it was edited: `node reload.js
 * external` or `node reload.js inlined`, which evaluates the library again, too.
 */
import { scrape } from "../print.js";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";

// Imported dynamically, as a static import would have to be in the import map.
const { createServer } = await import("vite");

const FILE = new URL("answering.js", import.meta.url);
const RUNS = 3;

const [library] = process.argv.slice(2);
const server = await createServer({
  root: fileURLToPath(new URL(".", import.meta.url)),
  configFile: false,
  appType: "custom",
  logLevel: "silent",
  server: { middlewareMode: true, hmr: false, ws: false, watch: null },
  ssr: library === "inlined" ? { noExternal: ["@lukhas/stage-metrics"] } : {},
});

/** Edits the lane in the file, and runs pipelines. */
async function load(lane) {
  const source = await readFile(FILE, "utf8");
  await writeFile(FILE, source.replace(/lane: "\w+"/, `lane: "${lane}"`));
  server.moduleGraph.invalidateAll();
  const module = await server.ssrLoadModule("/answering.js");
  for (let i = 0; i < RUNS; i++) module.answer();
  return module;
}

try {
  const before = await load("blue");
  const after = await load("green");
  before.answer();
  console.log(JSON.stringify({
    isEvaluatedAgain: before !== after,
    before: await scrape(before.serve),
    after: await scrape(after.serve),
  }));
} finally {
  await server.close();
}
