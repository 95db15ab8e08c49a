/**
 * A service of several processes, by `node:cluster` or by PM2. Each process serves its
 * own metrics on a port of its own, and Prometheus scrapes all of them:
 *
 *     static_configs: [{ targets: ["localhost:8001", "localhost:8002"] }]
 *
 * Get it: npm install @lukhas/stage-metrics
 * Run it: node cluster.ts
 *         pm2 start cluster.ts -i 2
 * Ask it: curl -d Ada localhost:8000
 * See it: curl localhost:8001/metrics localhost:8002/metrics
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

/** Keeps processes that fail at once from being started without end. */
const RESTART_DELAY_MS = 1_000;

if (cluster.isPrimary) {
  for (let number = 0; number < PROCESSES; number++) startProcess(number);
} else {
  serve();
}

/** Starts a process, and starts it anew whenever it has ended. */
function startProcess(number: number) {
  // PM2 numbers its processes by this variable, too.
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
    // A rejection that is not handled would end the process.
    response.writeHead(500).end();
  }
}
