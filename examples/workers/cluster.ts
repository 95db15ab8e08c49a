/**
 * A server of several processes, started by `node:cluster` or PM2. Each process serves
 * its metrics on its own port, and Prometheus scrapes them all:
 *
 *     static_configs: [{ targets: ["localhost:8001", "localhost:8002"] }]
 *
 * Install: npm install @lukhas/stage-metrics
 * Run:     node cluster.ts
 *          pm2 start cluster.ts -i 2
 * Try:     curl -d Ada localhost:8000
 * Metrics: curl localhost:8001/metrics localhost:8002/metrics
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
import cluster from "node:cluster";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { env } from "node:process";
import { text } from "node:stream/consumers";

const PROCESSES = 2;

/** The delay that keeps a process that fails at once from restarting in a tight loop. */
const RESTART_DELAY_MS = 1_000;

if (cluster.isPrimary) {
  for (let number = 0; number < PROCESSES; number++) startProcess(number);
} else {
  serve();
}

/** Starts a process, and restarts it when it exits. */
function startProcess(number: number) {
  // PM2 sets this variable in its processes, too.
  cluster.fork({ NODE_APP_INSTANCE: number }).once("exit", () => {
    setTimeout(startProcess, RESTART_DELAY_MS, number);
  });
}

function serve() {
  const { PORT = 8000, METRICS_PORT = 8001, NODE_APP_INSTANCE = 0 } = env;
  createServer(greet).listen(Number(PORT));
  createServer(nodeMetricsHandler())
    .listen(Number(METRICS_PORT) + Number(NODE_APP_INSTANCE));
}

async function greet(request: IncomingMessage, response: ServerResponse) {
  try {
    await pipeline("greeting", async () => {
      const name = await stage("read", () => text(request));
      stage("write", () => response.end(`Hello, ${name}!\n`));
    });
  } catch {
    // An unhandled rejection would end the process.
    response.writeHead(500).end();
  }
}
