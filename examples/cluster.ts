/**
 * A service of several processes, by `node:cluster`. prom-client's own
 * `AggregatorRegistry` sums the metrics of all of them.
 *
 * Get it: npm install @lukhas/stage-metrics prom-client
 * Run it: node cluster.ts
 * Ask it: curl -d Ada localhost:8000
 * See it: curl localhost:8001/metrics
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import cluster from "node:cluster";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import process from "node:process";
import { text } from "node:stream/consumers";
import { AggregatorRegistry } from "prom-client";

const PROCESSES = 2;

// In the workers it answers the one of the primary, which asks them.
const registry = new AggregatorRegistry();

async function serveMetrics(_: IncomingMessage, response: ServerResponse) {
  response.setHeader("Content-Type", registry.contentType);
  response.end(await registry.clusterMetrics());
}

async function greet(request: IncomingMessage, response: ServerResponse) {
  await pipeline("greeting", async () => {
    const name = await stage("read", () => text(request));
    stage("write", () => response.end(`Hello, ${name}!\n`));
  });
}

if (cluster.isPrimary) {
  for (let i = 0; i < PROCESSES; i++) cluster.fork();
  createServer(serveMetrics)
    .listen(Number(process.env["METRICS_PORT"] ?? 8001));
} else {
  createServer(greet).listen(Number(process.env["PORT"] ?? 8000));
}
