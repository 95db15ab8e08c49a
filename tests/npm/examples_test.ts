/** Runs the examples for Node, Bun and PM2 as their readers do. */
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { basename, dirname } from "node:path";
import { eventually } from "../support/wait.ts";
import { fetched, installOnce, specifiersOf } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode } from "./runtimes.ts";

const EXAMPLES = new URL("../../examples/", import.meta.url);

const REQUESTS = 10;

const PLATFORMS = { node: "Node", bun: "Bun", pm2: "PM2" };

type Platform = keyof typeof PLATFORMS;

interface Example {
  /** The path below `examples/`. */
  readonly file: string;
  readonly platforms: readonly Platform[];
  /** The path of a request. */
  readonly path: string;
  readonly body?: string;
  readonly answer: string;
  readonly pipeline: string;
  /** The number of processes that serve metrics, each on its own port. */
  readonly metricsPorts?: number;
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

const NODE_HTTP: Example = {
  file: "servers/node_http.ts",
  platforms: BOTH,
  ...POSTED_GREETING,
};

const WORKER_THREADS: Example = {
  file: "workers/worker_threads.ts",
  platforms: BOTH,
  path: "/20",
  answer: "6765\n",
  pipeline: "fibonacci",
};

const CLUSTER: Example = {
  file: "workers/cluster.ts",
  platforms: ["node", "bun", "pm2"],
  metricsPorts: 2,
  ...POSTED_GREETING,
};

const EXAMPLES_TO_RUN: readonly Example[] = [
  NODE_HTTP,
  { file: "servers/express.ts", platforms: BOTH, ...GREETING },
  { file: "servers/fastify.ts", platforms: BOTH, ...GREETING },
  { file: "servers/hono.ts", platforms: ["bun"], ...GREETING },
  { file: "servers/bun.ts", platforms: ["bun"], ...POSTED_GREETING },
  WORKER_THREADS,
  CLUSTER,
];

async function install() {
  const names = ["express", "fastify", "hono", "prom-client"] as const;
  const folder = await installOnce("examples", [
    ...specifiersOf(names),
    "pm2@7",
  ]);
  await installPackage(folder, await pack());
  for (const { file } of EXAMPLES_TO_RUN) {
    await Deno.copyFile(
      new URL(file, EXAMPLES),
      `${folder}/${basename(file)}`,
    );
  }
  const node = (await installNode(26)).binary;
  const bun = (await installBun()).binary;
  const commands: Readonly<Record<Platform, readonly string[]>> = {
    node: [node],
    bun: [bun],
    pm2: [node, "node_modules/pm2/bin/pm2-runtime", "start", "-i", "2"],
  };
  return { folder, commands };
}

/** Returns the first of some free ports in a row. */
function freePorts(count: number): number {
  for (;;) {
    // Below the ports that the system assigns to clients.
    const first = 10_000 + Math.floor(20_000 * Math.random());
    try {
      for (let i = 0; i < count; i++) {
        Deno.listen({ port: first + i }).close();
      }
      return first;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

type Installed = Awaited<ReturnType<typeof install>>;

/** An example that is running. */
class RunningExample implements AsyncDisposable {
  readonly port: number;
  readonly #example: Example;
  readonly #metricsPorts: readonly number[];
  readonly #child: Deno.ChildProcess;
  readonly #home = Deno.makeTempDirSync();
  // A new connection for each request, so that all processes get some.
  readonly #client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });

  constructor(
    { folder, commands }: Installed,
    platform: Platform,
    example: Example,
  ) {
    const { file, metricsPorts = 0 } = example;
    const port = freePorts(1 + metricsPorts);
    const firstMetricsPort = port + 1;
    const [binary, ...args] = commands[platform];
    this.port = port;
    this.#example = example;
    this.#metricsPorts = metricsPorts === 0
      ? [port]
      : Array.from({ length: metricsPorts }, (_, i) => firstMetricsPort + i);
    this.#child = new Deno.Command(binary!, {
      args: [...args, basename(file)],
      cwd: folder,
      env: {
        NO_COLOR: "1",
        PORT: String(port),
        METRICS_PORT: String(firstMetricsPort),
        PM2_HOME: this.#home,
        // PM2 asks the first Node that it finds there for its version.
        PATH: `${dirname(commands.node[0]!)}:${Deno.env.get("PATH")}`,
      },
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
  }

  async ask(path = this.#example.path): Promise<string> {
    const { body = null } = this.#example;
    const response = await this.#fetch(this.port, path, {
      method: body === null ? "GET" : "POST",
      body,
    });
    const text = await response.text();
    if (response.ok) return text;
    throw new Error(`${response.status}: ${text}`);
  }

  async askOften(): Promise<void> {
    for (let i = 0; i < REQUESTS; i++) {
      assertStringIncludes(await this.ask(), this.#example.answer);
    }
  }

  /** Sends a part of a request, and disconnects. */
  async leaveEarly(): Promise<void> {
    using connection = await Deno.connect({ port: this.port });
    const request =
      "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nA";
    await connection.write(new TextEncoder().encode(request));
  }

  /** Returns the number of runs that each process with metrics has counted. */
  count(status: string): Promise<number[]> {
    return Promise.all(this.counts(status));
  }

  /** Returns the same as `count()`, one promise per process, as a process may hang. */
  counts(status: string): Promise<number>[] {
    const labels =
      `lane="production",pipeline_name="${this.#example.pipeline}",status="${status}"`;
    return this.#metricsPorts.map(async (port) => {
      const text = await (await this.#fetch(port, "/metrics")).text();
      const [total, observations] = ["total", "duration_seconds_count"].map(
        (name) => {
          const sample = `\nlukhas_orchestration_pipeline_${name}{${labels}} `;
          return Number(text.split(sample)[1]?.split("\n")[0] ?? 0);
        },
      );
      assertEquals(total, observations);
      return total!;
    });
  }

  /** Returns the ids of its child processes, as Linux lists them. */
  async processes(): Promise<number[]> {
    const { pid } = this.#child;
    const children = await Deno.readTextFile(
      `/proc/${pid}/task/${pid}/children`,
    );
    return children.trim().split(" ").map(Number);
  }

  async #fetch(
    port: number,
    path: string,
    options: RequestInit = {},
  ): Promise<Response> {
    const url = `http://127.0.0.1:${port}${path}`;
    return await fetch(url, { ...options, client: this.#client });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close();
    try {
      this.#child.kill();
    } catch {
      // It has already exited.
    }
    await this.#child.status;
    await Deno.remove(this.#home, { recursive: true });
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0);
}

const installed = await fetched("the examples for Node and Bun", install());

/** Starts an example, and waits until each of its processes serves. */
async function start(
  platform: Platform,
  example: Example,
): Promise<RunningExample> {
  const running = new RunningExample(installed!, platform, example);
  try {
    await eventually(() => running.count("success"));
    return running;
  } catch (error) {
    await running[Symbol.asyncDispose]();
    throw error;
  }
}

/** Tests an example on each of its platforms. */
function test(
  example: Example,
  behaviour: string,
  fn: (platform: Platform) => Promise<void>,
): void {
  for (const platform of example.platforms) {
    Deno.test({
      name: `examples/${example.file} ${behaviour} in ${PLATFORMS[platform]}`,
      ignore: installed === undefined,
      fn: () => fn(platform),
    });
  }
}

for (const example of EXAMPLES_TO_RUN) {
  test(example, "runs", async (platform) => {
    await using running = await start(platform, example);
    await running.askOften();
    await eventually(async () =>
      assertEquals(sum(await running.count("success")), REQUESTS)
    );
  });
}

for (const example of [NODE_HTTP, CLUSTER]) {
  test(example, "continues when a client disconnects", async (platform) => {
    await using running = await start(platform, example);
    await running.leaveEarly();
    await eventually(async () =>
      assertEquals(sum(await running.count("failure")), 1)
    );
    await running.askOften();
  });
}

test(CLUSTER, "replaces a process that is killed", async (platform) => {
  await using running = await start(platform, CLUSTER);
  await running.askOften();
  const before = await running.count("success");
  const processes = await running.processes();
  Deno.kill(processes[0]!, "SIGKILL");
  const after = await eventually(async () => {
    assert(!(await running.processes()).includes(processes[0]!));
    return await running.count("success");
  });
  // The new process begins at 0, which `rate()` recognises as a reset.
  const killed = after.indexOf(0);
  assertEquals(after, before.with(killed, 0));
  await running.askOften();
  assertEquals(sum(await running.count("success")), sum(after) + REQUESTS);
});

test(CLUSTER, "continues while a process hangs", async (platform) => {
  await using running = await start(platform, CLUSTER);
  const [hanging] = await running.processes();
  Deno.kill(hanging!, "SIGSTOP");
  const asked = Array.from({ length: REQUESTS }, () => running.ask());
  const counts = running.counts("success");
  try {
    await Promise.all([Promise.any(asked), Promise.any(counts)]);
  } finally {
    Deno.kill(hanging!, "SIGCONT");
  }
  await Promise.all([...asked, ...counts]);
  assertEquals(sum(await running.count("success")), REQUESTS);
});

/** Ends the thread that receives 13, before it can reply. */
const END_THREAD = `
  import { exit } from "node:process";
  import { parentPort } from "node:worker_threads";

  parentPort?.on("message", ({ n }) => {
    if (n === 13) exit(1);
  });
`;

test(
  WORKER_THREADS,
  "continues when a thread fails or ends",
  async (platform) => {
    const { folder } = installed!;
    const code = await Deno.readTextFile(
      `${folder}/${basename(WORKER_THREADS.file)}`,
    );
    await Deno.writeTextFile(`${folder}/end_thread.js`, END_THREAD);
    const file = "ending_threads.ts";
    await Deno.writeTextFile(
      `${folder}/${file}`,
      `import "./end_thread.js";\n${code}`,
    );
    await using running = await start(platform, { ...WORKER_THREADS, file });
    await running.askOften();
    await assertRejects(() => running.ask("/no-number"), Error, "500");
    assertEquals(await running.count("failure"), [1]);
    const [before = 0] = await running.count("success");
    assertEquals(before, REQUESTS);

    await assertRejects(() => running.ask("/13"), Error, "500");
    // Until the thread has ended, further requests to it are refused as well.
    await eventually(() => running.askOften());
    const [after = 0] = await running.count("success");
    assert(after >= before + REQUESTS, `${after}`);
  },
);

/** Returns the paths of the files in a folder of the examples, and below it. */
function findFiles(folder = ""): string[] {
  return [...Deno.readDirSync(new URL(folder, EXAMPLES))].flatMap(
    ({ name, isDirectory }) =>
      isDirectory ? findFiles(`${folder}${name}/`) : [`${folder}${name}`],
  );
}

Deno.test("examples/ has no example for Node or Bun that is not run", () => {
  const files = findFiles().filter((file) =>
    file.endsWith(".ts") &&
    /^ \* Run: +(node|bun) /m.test(
      Deno.readTextFileSync(new URL(file, EXAMPLES)),
    )
  );
  assertEquals(files.sort(), EXAMPLES_TO_RUN.map(({ file }) => file).sort());
});
