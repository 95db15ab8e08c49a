/** Runs the Node example of the README's quick start. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";
import { createProject, fetched } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode } from "./runtimes.ts";
import { startServer } from "./server.ts";

const README = new URL("../../README.md", import.meta.url);

/** Returns the example, on another port. */
function readExample(port: number): string {
  const [, code] = /```js ignore\n([^`]*createServer[^]*?)```/.exec(
    Deno.readTextFileSync(README),
  )!;
  return code!.replace("8000", String(port));
}

async function installProject() {
  const folder = await createProject("readme");
  await installPackage(folder, await pack());
  return {
    folder,
    runtimes: [
      await installNode(20),
      await installNode(26),
      await installBun(),
    ],
  };
}

const project = await fetched("the README's example", installProject());

Deno.test({
  name: "README.md's Node example measures and serves",
  ignore: project === undefined,
  async fn() {
    const { folder, runtimes } = project!;
    for (const { binary } of runtimes) {
      const port = freePort();
      await Deno.writeTextFile(`${folder}/main.mjs`, readExample(port));
      await using _server = startServer(binary, ["main.mjs"], { cwd: folder });
      await eventually(async () => {
        const response = await fetch(`http://localhost:${port}/Ada`);
        assertEquals(await response.text(), "Hello, Ada!\n");
      });
      const metrics = await fetch(`http://localhost:${port}/metrics`);
      assertStringIncludes(
        await metrics.text(),
        'stage_total{lane="production",pipeline_name="greeting",stage_name="write",outcome="success"} 1',
      );
    }
  },
});
