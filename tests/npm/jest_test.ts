/** Tests the npm package in CommonJS projects with Jest, which has its own `require`. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { fetched, installOnce } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installNode } from "./runtimes.ts";

const TEST = `
  const { pipeline, stage } = require("@lukhas/stage-metrics");
  const { captureMetrics, sampleValue } = require("@lukhas/stage-metrics/testing");
  const { register } = require("prom-client");

  const NAME = "lukhas_orchestration_pipeline_total";
  const LABELS = {
    lane: "production",
    pipeline_name: "answer",
    status: "success",
  };

  async function answer() {
    return await pipeline("answer", async () => stage("think", () => 42));
  }

  test("metrics are captured", async () => {
    await captureMetrics(async ({ registry }) => {
      expect(await answer()).toBe(42);
      expect(await sampleValue(registry, NAME, LABELS)).toBe(1);
    });
  });

  test("metrics are in prom-client's registry", async () => {
    await answer();
    expect(await sampleValue(register, NAME, LABELS)).toBe(1);
  });
`;

/** Returns the configuration in examples/compatibility.md. */
async function readConfiguration(): Promise<string> {
  const readme = await Deno.readTextFile(
    new URL("../../examples/compatibility.md", import.meta.url),
  );
  const [, code] = /```js ignore\n(\/\/ jest\.config\.js[^]*?)```/
    .exec(readme)!;
  return code!;
}

async function installProject() {
  const folder = await installOnce("jest", [
    "jest@30",
    "@babel/plugin-transform-modules-commonjs@7",
  ]);
  await installPackage(folder, await pack());
  const manifest = `${folder}/package.json`;
  const content = JSON.parse(await Deno.readTextFile(manifest));
  await Deno.writeTextFile(
    manifest,
    JSON.stringify({ ...content, type: "commonjs" }),
  );
  await Deno.writeTextFile(`${folder}/answer.test.js`, TEST);
  return { folder, old: await installNode(20), native: await installNode(24) };
}

const project = await fetched("Jest in CommonJS", installProject());

async function runJest(
  node: string,
  args: readonly string[],
  env: Record<string, string> = {},
) {
  const { code, stderr } = await new Deno.Command(node, {
    args: ["node_modules/jest/bin/jest.js", "--runInBand", ...args],
    cwd: project!.folder,
    env: { NO_COLOR: "1", ...env },
    stdout: "null",
  }).output();
  return { code, output: new TextDecoder().decode(stderr) };
}

Deno.test({
  name: "require() in Jest loads the package with the documented configuration",
  ignore: project === undefined,
  async fn() {
    const { folder, old } = project!;
    await Deno.writeTextFile(
      `${folder}/jest.config.js`,
      await readConfiguration(),
    );
    const { code, output } = await runJest(old.binary, []);
    assertStringIncludes(output, "2 passed, 2 total");
    assertEquals(code, 0, output);
  },
});

Deno.test({
  name: "require() in Jest takes the package by --experimental-vm-modules",
  ignore: project === undefined,
  async fn() {
    const { code, output } = await runJest(
      project!.native.binary,
      ["--config={}"],
      { NODE_OPTIONS: "--experimental-vm-modules" },
    );
    assertStringIncludes(output, "2 passed, 2 total");
    assertEquals(code, 0, output);
  },
});
