/**
 * A service of Node, or of Bun, whose work is done by threads. The main thread
 * serves the metrics of all of them.
 *
 * Get it: npm install @lukhas/stage-metrics
 * Run it: node worker_threads.ts
 * Ask it: curl localhost:8000/30
 * See it: curl localhost:8000/metrics
 *
 * @module
 */
import { pipeline, shareMetrics, stage } from "@lukhas/stage-metrics";
import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
import {
  createServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import process from "node:process";
import {
  isMainThread,
  MessageChannel,
  parentPort,
  Worker,
} from "node:worker_threads";

const THREADS = 2;

if (isMainThread) startService();
else startThread();

function startService() {
  const threads = Array.from(
    { length: THREADS },
    () => new Worker(new URL(import.meta.url)),
  );
  let asked = 0;

  function next(request: IncomingMessage, response: ServerResponse) {
    const { port1, port2 } = new MessageChannel();
    port1.once("message", (value) => {
      response.end(`${value}\n`);
      port1.close();
    });
    const n = Number(request.url?.slice(1));
    threads[asked++ % THREADS]?.postMessage({ n, reply: port2 }, [port2]);
  }

  const port = Number(process.env["PORT"] ?? 8000);
  createServer(nodeMetricsHandler({ workers: true, next })).listen(port);
}

function startThread() {
  shareMetrics();
  parentPort?.on("message", ({ n, reply }) => {
    pipeline("fibonacci", () => {
      const value = stage("compute", () => fibonacci(n));
      stage("reply", () => reply.postMessage(value));
    });
  });
}

function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
