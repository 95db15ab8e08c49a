/** Tests the npm package in programs that load it, or parts of it, several times. */
import { assertEquals, assertMatch } from "@std/assert";
import { build, type BuildOptions, stop } from "esbuild";
import { parseSamples, pipelineTotal, stageTotal } from "../support/samples.ts";
import { REQUIRE_BANNER } from "./bundle.ts";
import { fetched } from "./install.ts";
import { installBun, installNode, type Runtime } from "./runtimes.ts";
import { installScripts } from "./scripts.ts";
import { type Server, startServer } from "./server.ts";
import { run } from "./suite.ts";

/** The expositions that a script prints, by names. */
type Texts = Readonly<Record<string, string>>;

const NEXT = new URL("bundles/next/", import.meta.url);
const PROGRAMS = new URL("bundles/programs/", import.meta.url);

const NODE_RUNTIMES = [
  { name: "Node 20", install: () => installNode(20) },
  { name: "Node 26", install: () => installNode(26) },
];
const RUNTIMES = [...NODE_RUNTIMES, { name: "Bun", install: installBun }];

const ADDRESS = /http:\/\/127\.0\.0\.1:\d+/;

/** Runs of a pipeline with one stage that succeed. */
function succeeded(
  pipeline: string,
  stage: string,
  count: number,
  lane = "canary",
): Record<string, number> {
  return {
    [pipelineTotal(pipeline, "success", lane)]: count,
    [stageTotal(pipeline, stage, "success", lane)]: count,
  };
}

/** Sends a request to a server, as `curl` does. */
async function get(
  address: string,
  path: string,
  { method = "GET", encoding = "identity" } = {},
): Promise<string> {
  const headers = { "Accept-Encoding": encoding };
  const response = await fetch(address + path, { method, headers });
  assertEquals(response.status, 200, path);
  return await response.text();
}

// Next.js

/** Builds the application as `npx next build` does. */
async function buildNext(): Promise<{ folder: string; printed: string }> {
  const libraries = ["next@^16.4.6", "react@^19.3.1", "react-dom@^19.3.1"];
  const folder = await installScripts("next", libraries, NEXT);
  const { binary } = await installNode(20);
  const { success, stdout, stderr } = await new Deno.Command(binary, {
    args: ["node_modules/next/dist/bin/next", "build"],
    cwd: folder,
    env: NEXT_ENVIRONMENT,
  }).output();
  const printed = [stdout, stderr].map((bytes) =>
    new TextDecoder().decode(bytes)
  ).join("");
  if (!success) throw new Error(printed);
  return { folder, printed };
}

const NEXT_ENVIRONMENT = {
  NO_COLOR: "1",
  CI: "1",
  NEXT_TELEMETRY_DISABLED: "1",
};

const next = await fetched("Next.js", buildNext());

/** Serves the application as `npx next start` does. */
function startNext({ binary }: Runtime, cwd: string): Server {
  return startServer(binary, [
    ...["node_modules/next/dist/bin/next", "start"],
    ...["--hostname", "127.0.0.1", "--port", "0"],
  ], { cwd, env: NEXT_ENVIRONMENT });
}

for (const { name, install } of NODE_RUNTIMES) {
  const runtime = await fetched(`Next.js in ${name}`, install());

  Deno.test({
    name: `metricsHandler() shows every part of a Next.js build in ${name}`,
    ignore: next === undefined || runtime === undefined,
    async fn() {
      const { folder, printed } = next!;
      assertEquals(printed.match(/.*(?:warn|error).*/gi), null);
      await using server = startNext(runtime!, folder);
      const address = await server.waitFor(ADDRESS);
      await server.waitFor(/Ready/);
      for (let i = 0; i < 2; i++) {
        await get(address, "/api/work", { method: "POST" });
      }
      for (let i = 0; i < 3; i++) {
        assertMatch(await get(address, "/"), /app page/);
      }
      for (let i = 0; i < 4; i++) {
        assertMatch(await get(address, "/old"), /old page/);
      }
      const counts = {
        ...succeeded("warm_up", "load", 1),
        ...succeeded("work", "answer", 2),
        ...succeeded("app_page", "render", 3),
        ...succeeded("old_page", "load", 4),
      };
      assertEquals(
        parseSamples(await get(address, "/metrics")),
        { ...counts, scrapes_total: 1 },
      );
      assertEquals(parseSamples(await get(address, "/api/metrics")), counts);
      assertEquals(server.printed.match(/.*(?:warn|error|issue).*/gi), null);
    },
  });

  Deno.test({
    name: `metricsHandler() compresses in Next.js in ${name}`,
    ignore: next === undefined || runtime === undefined,
    async fn() {
      await using server = startNext(runtime!, next!.folder);
      const address = await server.waitFor(ADDRESS);
      await server.waitFor(/Ready/);
      for (const path of ["/metrics", "/api/metrics"]) {
        // As Prometheus sends it.
        const text = await get(address, path, { encoding: "gzip" });
        assertEquals(
          parseSamples(text, /^lukhas_orchestration_pipeline_total$/),
          { [pipelineTotal("warm_up", "success", "canary")]: 1 },
          path,
        );
      }
    },
  });
}

// Programs that are not built by a framework

/** Turns a part of a program into bundles, as users of esbuild do. */
async function bundleParts(folder: string): Promise<void> {
  const options: BuildOptions = {
    absWorkingDir: `${folder}/esbuild`,
    entryPoints: ["part.js"],
    bundle: true,
    platform: "node",
    target: "node20",
    logLevel: "error",
  };
  for (const format of ["esm", "cjs"] as const) {
    for (const external of [[], ["prom-client"]]) {
      const name = external.length === 0 ? "inlined" : "beside";
      for (const number of [1, 2]) {
        await build({
          ...options,
          format,
          external,
          outfile: `${name}_${number}.${format === "esm" ? "mjs" : "cjs"}`,
          banner: format === "esm" ? { js: REQUIRE_BANNER } : {},
        });
      }
    }
  }
  await stop();
}

/** Pairs of parts: "beside" and "part.js" have one prom-client, "inlined" its own. */
const PARTS = [
  ["inlined_1.mjs", "inlined_2.mjs"],
  ["inlined_1.cjs", "inlined_2.cjs"],
  ["inlined_1.mjs", "part.js"],
  ["part.js", "inlined_1.cjs"],
  ["beside_1.mjs", "beside_2.mjs"],
  ["beside_1.cjs", "beside_2.cjs"],
  ["beside_1.mjs", "part.js"],
  ["part.js", "beside_1.cjs"],
];

async function installPrograms(): Promise<string> {
  const libraries = ["tsx@^4.23.15", "vite@^8.3.8"];
  const folder = await installScripts("bundles", libraries, PROGRAMS);
  await bundleParts(folder);
  return folder;
}

/** Runs a program, and returns the JSON that it prints. */
async function runProgram(
  runtime: Runtime,
  ...args: string[]
): Promise<Texts> {
  return JSON.parse(await run(runtime, ...args));
}

const folder = await fetched("programs with bundles", installPrograms());

for (const { name, install } of RUNTIMES) {
  const runtime = await fetched(`programs with bundles in ${name}`, install());
  const ignore = folder === undefined || runtime === undefined;

  for (const parts of PARTS) {
    Deno.test({
      name: `metricsHandler() shows esbuild's ${
        parts.join(" and ")
      } in ${name}`,
      ignore,
      async fn() {
        const texts = await runProgram(
          runtime!,
          `${folder}/esbuild/parts.js`,
          ...parts.map((part) => `${folder}/esbuild/${part}`),
        );
        const counts = {
          ...succeeded("declared", "s", 1),
          ...succeeded("of_first", "s", 1),
          ...succeeded("of_second", "s", 1),
        };
        // Only the first handler was scraped before the second part's own metric existed.
        assertEquals(parseSamples(texts.first!), { ...counts, first_total: 1 });
        assertEquals(parseSamples(texts.second!), {
          ...counts,
          first_total: 1,
          second_total: 1,
        });
      },
    });
  }

  Deno.test({
    name: `configure() reaches the reload of a module by Vite in ${name}`,
    ignore,
    fn: () => checkReload(runtime!, "external"),
  });

  Deno.test({
    name: `configure() reaches a library that Vite inlines in ${name}`,
    ignore,
    fn: () => checkReload(runtime!, "inlined"),
  });

  Deno.test({
    name: `configure() reaches require() and import() by tsx in ${name}`,
    ignore,
    async fn() {
      // Bun compiles TypeScript itself.
      const tsx = name === "Bun"
        ? []
        : [`${folder}/node_modules/tsx/dist/cli.mjs`];
      const { required, imported } = await runProgram(
        runtime!,
        ...tsx,
        `${folder}/tsx/both.ts`,
      );
      const counts = {
        ...succeeded("required", "s", 1),
        ...succeeded("imported", "s", 1),
        ...succeeded("both", "s", 1),
      };
      assertEquals(parseSamples(required!), counts);
      assertEquals(parseSamples(imported!), counts);
    },
  });
}

/** Reloads a module that sets another lane. */
async function checkReload(runtime: Runtime, library: string): Promise<void> {
  const script = `${folder}/vite/reload.js`;
  const { isEvaluatedAgain, before, after } = await runProgram(
    runtime,
    script,
    library,
  );
  const counts = {
    ...succeeded("answering", "search", 3, "blue"),
    // The code from before the reload has the current options.
    ...succeeded("answering", "search", 4, "green"),
  };
  assertEquals(isEvaluatedAgain, true as unknown);
  assertEquals(parseSamples(before!), counts);
  assertEquals(parseSamples(after!), counts);
}

const bun = await fetched("programs reloaded by Bun", installBun());

Deno.test({
  name: "configure() reaches a reload by bun --hot, which keeps the counts",
  ignore: folder === undefined || bun === undefined,
  async fn() {
    const file = `${folder}/hot/server.js`;
    const source = await Deno.readTextFile(file);
    await using server: Server = startServer(
      bun!.binary,
      ["--hot", "--no-clear-screen", file],
      { env: { NO_COLOR: "1" } },
    );
    const address = await server.waitFor(ADDRESS);
    for (let i = 0; i < 2; i++) await get(address, "/");
    await Deno.writeTextFile(file, source.replace("blue", "green"));
    assertEquals(await server.waitFor(ADDRESS, 2), address);
    for (let i = 0; i < 3; i++) await get(address, "/");
    await Deno.writeTextFile(file, source);
    assertEquals(await server.waitFor(ADDRESS, 3), address);
    for (let i = 0; i < 4; i++) await get(address, "/");
    assertEquals(parseSamples(await get(address, "/metrics")), {
      ...succeeded("answering", "search", 6, "blue"),
      ...succeeded("answering", "search", 3, "green"),
    });
    assertEquals(server.printed, `Listening on ${address}/\n`.repeat(3));
  },
});
