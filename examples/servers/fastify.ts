/**
 * A service of Fastify.
 *
 * Get it: npm install @lukhas/stage-metrics fastify
 * Run it: node fastify.ts
 * Ask it: curl localhost:8000/greetings/Ada
 * See it: curl localhost:8000/metrics
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
  // From here on, the answer is the listener's.
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
