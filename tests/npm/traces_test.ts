/** Tests traces of the npm package by OpenTelemetry's SDKs, in Node and Bun. */
import { assertEquals } from "@std/assert";
import { EXPECTED_TRACES, startCollector } from "../support/collector.ts";
import { eventually } from "../support/wait.ts";
import { bundle } from "./bundle.ts";
import { fetched, installOnce, specifiersOf } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode } from "./runtimes.ts";

const README = new URL("../../examples/tracing/README.md", import.meta.url);
const EXAMPLE = new URL("../../examples/tracing/telemetry.js", import.meta.url);

/**
 * The SDKs, one before and one after version 1.10 of the API, and their setup. Their
 * packages are installed for these tests only.
 */
const SDKS = [
  {
    name: "sdk-trace-node",
    packages: [
      "@opentelemetry/exporter-trace-otlp-http@^0.223.0",
      ...specifiersOf(["@opentelemetry/sdk-trace-node"]),
    ],
    setup: `
      import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
      import * as sdk from "@opentelemetry/sdk-trace-node";

      const processor = new sdk.BatchSpanProcessor(new OTLPTraceExporter());
      new sdk.NodeTracerProvider({ spanProcessors: [processor] }).register();
    `,
  },
  {
    name: "sdk-node",
    packages: ["@opentelemetry/sdk-node@0.301"],
    setup: Deno.readTextFileSync(EXAMPLE),
  },
];

/** The runtimes, and the flag that loads a module before all others. */
const RUNTIMES = [
  { name: "Node", install: () => installNode(26), flag: "--import" },
  { name: "Bun", install: installBun, flag: "--preload" },
];

async function installProject(
  { name, packages, setup }: typeof SDKS[number],
  tarball: string,
) {
  const folder = await installOnce(name, packages);
  await installPackage(folder, tarball);
  const file = `${folder}/setup.js`;
  await Deno.writeTextFile(file, setup);
  const [program] = await bundle(folder, ["fixtures/traced.ts"]);
  return { setup: file, program: program! };
}

Deno.test("examples/tracing/README.md shows telemetry.js as it is", () => {
  const snippet = /\/\/ telemetry[.]js.*\n([^`]*)```/
    .exec(Deno.readTextFileSync(README))![1]!;
  const example = Deno.readTextFileSync(EXAMPLE);
  assertEquals(example.slice(-snippet.length), snippet);
  assertEquals(snippet.startsWith("import "), true);
});

const tarball = await pack();

for (const sdk of SDKS) {
  const tests = `traces by ${sdk.name}`;
  const project = await fetched(tests, installProject(sdk, tarball));
  for (const { name, install, flag } of RUNTIMES) {
    const runtime = await fetched(`${tests} in ${name}`, install());
    Deno.test({
      name: `pipeline() and stage() have spans of ${sdk.name} in ${name}`,
      ignore: project === undefined || runtime === undefined,
      async fn() {
        await using collector = startCollector();
        const child = new Deno.Command(runtime!.binary, {
          args: [flag, project!.setup, project!.program],
          env: { NO_COLOR: "1", ...collector.environment },
          stdout: "inherit",
          stderr: "inherit",
        }).spawn();
        try {
          await eventually(() =>
            assertEquals(collector.draw(), EXPECTED_TRACES)
          );
        } finally {
          child.kill();
          await child.status;
        }
      },
    });
  }
}
