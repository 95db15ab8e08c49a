/** Tests the commands that test and publish the package. */
import { assert, assertEquals, assertMatch } from "@std/assert";

async function read(path: string): Promise<string> {
  return await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
}

const workflow = await read(".github/workflows/publish.yml");

Deno.test("publish.yml pins each action by its commit", () => {
  const actions = workflow.match(/(?<=uses: ).*/g) ?? [];
  assert(actions.length > 0);
  for (const action of actions) {
    assertMatch(action, /^[\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  }
});

Deno.test("publish.yml has no secret, and tokens only where it publishes", () => {
  assert(!/secrets\.|TOKEN/.test(workflow));
  assertMatch(workflow, /^permissions: \{\}$/m);
  const jobs = workflow.slice(workflow.indexOf("\njobs:")).split(
    /\n(?= {2}\w)/,
  );
  const publishing = jobs.filter((job) => /(?:deno|npm) publish/.test(job));
  assertEquals(publishing.length, 2);
  assertEquals(
    jobs.filter((job) => job.includes("id-token: write")),
    publishing,
  );
  for (const job of publishing) assertMatch(job, /needs: test$/m);
});

Deno.test(".ci/run and publish.yml use one exact version of Deno", async () => {
  assertMatch(await read(".dvmrc"), /^\d+\.\d+\.\d+\n$/);
  const script = await read(".ci/run");
  assertEquals(script.match(/deno@[^"\s]*/g), ["deno@$version"]);
  const setups = workflow.match(/setup-deno@.*\n.*\n.*/g) ?? [];
  assertEquals(setups.length, 2);
  for (const setup of setups) assertMatch(setup, /deno-version-file: \.dvmrc$/);
});
