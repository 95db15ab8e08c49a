/** Tests measured methods of NestJS, compiled as in its projects. */
import { assertEquals } from "@std/assert";
import { compileNest } from "./compile.ts";
import { fetched } from "./install.ts";
import { pack } from "./package.ts";
import { installBun, installNode, NODE_MAJORS } from "./runtimes.ts";
import { run } from "./suite.ts";

/** The expected output. Guards find their metadata, so only allowed requests run. */
const EXPECTED = `above 403  undefined
below 403  undefined
open 200 Hello, Ada 1
applied 200 Hello, Ada 1
find 1
greet 1
`;

const script = await fetched("NestJS", pack().then(compileNest));

const RUNTIMES = [
  { name: "the oldest Node", install: () => installNode(NODE_MAJORS[0]!) },
  { name: "the latest Node", install: () => installNode(NODE_MAJORS.at(-1)!) },
  { name: "Bun", install: installBun },
];

for (const { name, install } of RUNTIMES) {
  const runtime = await fetched(`NestJS in ${name}`, install());
  Deno.test({
    name: `NestJS finds the metadata of measured methods in ${name}`,
    ignore: script === undefined || runtime === undefined,
    async fn() {
      assertEquals(await run(runtime!, script!), EXPECTED);
    },
  });
}
