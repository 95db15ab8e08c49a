/** The examples for Node and Bun, run as their readers would. */
import { eventually, freePort } from "../prometheus/prometheus.ts";
import { fetched, installOnce, specifiersOf } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode, type Runtime } from "./runtimes.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";

const EXAMPLES = new URL("../../examples/", import.meta.url);

const REQUESTS = 10;

interface Example {
  readonly file: string;
  readonly runtimes: readonly ("node" | "bun")[];
  /** What is asked of it, and what it answers. */
  readonly path: string;
  readonly body?: string;
  readonly answer: string;
  readonly pipeline: string;
  /** Whether its metrics are served elsewhere. */
  readonly hasMetricsPort?: boolean;
}

const GREETING = {
  path: "/greetings/Ada",
  answer: "Hello, Ada! It is ",
  pipeline: "greeting",
};

const POSTED_GREETING = {
  path: "/",
  body: "Ada",
  answer: "Hello, Ada!\n",
  pipeline: "greeting",
};

const BOTH = ["node", "bun"] as const;

const EXAMPLES_TO_RUN: readonly Example[] = [
  { file: "node_http.ts", runtimes: BOTH, ...POSTED_GREETING },
  { file: "express.ts", runtimes: BOTH, ...GREETING },
  { file: "fastify.ts", runtimes: BOTH, ...GREETING },
  { file: "hono.ts", runtimes: ["bun"], ...GREETING },
  { file: "bun.ts", runtimes: ["bun"], ...POSTED_GREETING },
  {
    file: "worker_threads.ts",
    runtimes: BOTH,
    path: "/20",
    answer: "6765\n",
    pipeline: "fibonacci",
  },
  {
    file: "cluster.ts",
    runtimes: ["node"],
    hasMetricsPort: true,
    ...POSTED_GREETING,
  },
];

/** Starts an example, asks it, and looks at its metrics. */
async function runExample(
  { binary }: Runtime,
  folder: string,
  { file, path, body, answer, pipeline, hasMetricsPort }: Example,
): Promise<void> {
  const port = freePort();
  const metricsPort = hasMetricsPort ? freePort() : port;
  const child = new Deno.Command(binary, {
    args: [`${folder}/${file}`],
    cwd: folder,
    env: {
      NO_COLOR: "1",
      PORT: String(port),
      METRICS_PORT: String(metricsPort),
    },
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // A connection of its own each time, so that all who listen get some.
  using client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const method = body === undefined ? "GET" : "POST";
  const ask = async () => {
    const url = `http://127.0.0.1:${port}${path}`;
    const options = { client, method, body: body ?? null };
    return await (await fetch(url, options)).text();
  };
  try {
    assertStringIncludes(await eventually(ask), answer);
    for (let i = 1; i < REQUESTS; i++) await ask();
    const labels =
      `lane="production",pipeline_name="${pipeline}",status="success"`;
    await eventually(async () => {
      const url = `http://127.0.0.1:${metricsPort}/metrics`;
      const text = await (await fetch(url, { client })).text();
      for (const name of ["total", "duration_seconds_count"]) {
        assertStringIncludes(
          text,
          `\nlukhas_orchestration_pipeline_${name}{${labels}} ${REQUESTS}\n`,
        );
      }
    });
  } finally {
    child.kill();
    await child.status;
  }
}

async function install() {
  const names = ["express", "fastify", "hono", "prom-client"] as const;
  const folder = await installOnce("examples", specifiersOf(names));
  await installPackage(folder, await pack());
  for (const { file } of EXAMPLES_TO_RUN) {
    await Deno.copyFile(new URL(file, EXAMPLES), `${folder}/${file}`);
  }
  const [node, bun] = [await installNode(26), await installBun()];
  return { folder, node, bun };
}

const installed = await fetched("the examples for Node and Bun", install());

for (const example of EXAMPLES_TO_RUN) {
  for (const runtime of example.runtimes) {
    Deno.test({
      name: `examples/${example.file} runs in ${
        runtime === "bun" ? "Bun" : "Node"
      }`,
      ignore: installed === undefined,
      fn: () => runExample(installed![runtime], installed!.folder, example),
    });
  }
}

Deno.test("Every example for Node and Bun is among those that are run", () => {
  const files = [...Deno.readDirSync(EXAMPLES)].map(({ name }) => name)
    .filter((name) =>
      /^ \* Run it: (node|bun) /m.test(
        name.endsWith(".ts")
          ? Deno.readTextFileSync(new URL(name, EXAMPLES))
          : "",
      )
    );
  assertEquals(files.sort(), EXAMPLES_TO_RUN.map(({ file }) => file).sort());
});
