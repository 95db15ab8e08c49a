/**
 * A Fastify server with metrics.
 *
 * Install: npm install @lukhas/stage-metrics fastify
 * Run:     node fastify.ts
 * Try:     curl localhost:8000/greetings/Ada
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
import { fastify } from "fastify";
import process from "node:process";

const app = fastify();

const serveMetrics = nodeMetricsHandler();
app.get("/metrics", (request, reply) => {
  // Keeps Fastify from sending a reply of its own.
  reply.hijack();
  serveMetrics(request.raw, reply.raw);
});

app.get<{ Params: { name: string } }>(
  "/greetings/:name",
  ({ params }) =>
    pipeline("greeting", async () => {
      const day = await stage("date", () => Promise.resolve(new Date()));
      return stage("write", () =>
        `Hello, ${params.name}! It is ${day.toDateString()}.\n`);
    }),
);

await app.listen({ port: Number(process.env["PORT"] ?? 8000) });
