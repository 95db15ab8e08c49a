/** Tests the npm package on hosts that lack or freeze a part of the runtime. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";
import { fetched, specifiersOf } from "./install.ts";
import { installBun, installNode, type Runtime } from "./runtimes.ts";
import { installScripts } from "./scripts.ts";

const SCRIPTS = new URL("hosts/", import.meta.url);

/** Packages for these tests only, so that no other command downloads them. */
const TOOLS = [
  "ses@^2.3.0",
  "workerd@^1.20261117.1",
  ...specifiersOf(["esbuild"]),
];

/** The counters that `host.js` prints: a hook's rejection is an issue, too. */
const COUNTS = [
  "p success 1",
  "unknown orphan success 1",
  "p quick success 1",
  "p slow timeout 1",
  "orphan_stage 1",
  "hook_error 1",
];

/** Compatibility dates of workerd that lack `node:worker_threads`, or have a stub. */
const COMPATIBILITY_DATES = ["2025-10-01", "2026-06-01"];

const folder = await fetched(
  "the package on other hosts",
  installScripts("hosts", TOOLS, SCRIPTS),
);

/** Runs a script, and returns all that it prints. */
async function run(binary: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(binary, {
    args,
    cwd: folder!,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stderr) + decoder.decode(stdout);
}

async function testHost(
  host: string,
  installing: () => Promise<Runtime>,
  ...args: string[]
): Promise<void> {
  const runtime = await fetched(host, installing());
  Deno.test({
    name: `pipeline() and metricsHandler() work in ${host}`,
    ignore: folder === undefined || runtime === undefined,
    async fn() {
      const printed = await run(runtime!.binary, ...args, "host.js");
      assertEquals(printed, `${JSON.stringify(COUNTS)}\n`);
    },
  });
}

const node = () => installNode(26);

await testHost(
  "Node without permissions",
  node,
  "--permission",
  "--allow-fs-read=*",
);
await testHost("Node with a frozen globalThis", node, "--import=./frozen.js");
await testHost("Node under SES lockdown", node, "--import=./lockdown.js");
await testHost(
  "Bun with a frozen globalThis",
  installBun,
  "--preload=./frozen.js",
);

Deno.test({
  name: "pipeline() and metricsHandler() work in workerd, and workers throw",
  ignore: folder === undefined,
  async fn() {
    assertEquals(await run("node", "build.js"), "");
    for (const date of COMPATIBILITY_DATES) await testWorkerd(date);
  },
});

async function testWorkerd(date: string): Promise<void> {
  const config = `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (
    modules = [(name = "worker", esModule = embed "worker.bundle.js")],
    compatibilityDate = "${date}",
    compatibilityFlags = ["nodejs_compat"],
  ))],
  sockets = [(name = "http", http = (), service = "main")],
);
`;
  await Deno.writeTextFile(`${folder}/config.capnp`, config);
  const port = freePort();
  const workerd = new Deno.Command("node_modules/.bin/workerd", {
    args: ["serve", "config.capnp", `--socket-addr=http=127.0.0.1:${port}`],
    cwd: folder!,
    stdout: "null",
    stderr: "null",
  }).spawn();
  const origin = `http://127.0.0.1:${port}`;
  const request = async (path: string, init?: RequestInit) =>
    await (await fetch(origin + path, init)).text();
  try {
    const body = { method: "POST", body: "Ada" };
    await eventually(async () =>
      assertEquals(await request("/", body), "Hello, Ada!")
    );
    const metrics = await request("/metrics");
    assertStringIncludes(
      metrics,
      'pipeline_total{lane="production",pipeline_name="greeting",status="success"} 1',
    );
    assertStringIncludes(metrics, 'stage_name="slow",outcome="timeout"} 1');
    assertEquals(
      await request("/workers"),
      "Error: Cannot share metrics with other threads: this runtime has no BroadcastChannel",
    );
  } finally {
    workerd.kill("SIGKILL");
    await workerd.status;
  }
}
