/**
 * A `node:http` server with metrics.
 *
 * Install: npm install @lukhas/stage-metrics
 * Run:     node node_http.ts
 * Try:     curl -d Ada localhost:8000
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import process from "node:process";
import { text } from "node:stream/consumers";

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

const port = Number(process.env["PORT"] ?? 8000);
createServer(nodeMetricsHandler({ next: greet })).listen(port);
