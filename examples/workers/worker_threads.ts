/**
 * A Node or Bun server that hands its work to threads. The main thread serves the
 * metrics of all threads.
 *
 * Install: npm install @lukhas/stage-metrics
 * Run:     node worker_threads.ts
 * Try:     curl localhost:8000/30
 * Metrics: curl localhost:8000/metrics
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
else answerMessages();

function startService() {
  const threads: Worker[] = [];

  /** Starts a thread, and replaces it when it exits. */
  function startThread(index: number) {
    threads[index] = new Worker(new URL(import.meta.url))
      // Without a listener, an error in a thread would end the process.
      .on("error", console.error)
      .once("exit", () => startThread(index));
  }
  for (let index = 0; index < THREADS; index++) startThread(index);

  let requests = 0;

  function next(request: IncomingMessage, response: ServerResponse) {
    const { port1, port2 } = new MessageChannel();
    port1.once("message", (value) => response.end(`${value}\n`));
    // The port also closes when the thread exits before it replies.
    port1.once("close", () => {
      if (!response.writableEnded) response.writeHead(500).end();
    });
    const n = Number(request.url?.slice(1));
    threads[requests++ % THREADS]?.postMessage({ n, reply: port2 }, [port2]);
  }

  const port = Number(process.env["PORT"] ?? 8000);
  createServer(nodeMetricsHandler({ workers: true, next })).listen(port);
}

function answerMessages() {
  shareMetrics();
  parentPort?.on("message", ({ n, reply }) => {
    try {
      pipeline("fibonacci", () => {
        const value = stage("compute", () => fibonacci(n));
        stage("reply", () => reply.postMessage(value));
      });
    } catch (error) {
      console.error(error);
    } finally {
      reply.close();
    }
  });
}

function fibonacci(n: number): number {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
