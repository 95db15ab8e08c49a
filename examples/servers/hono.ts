/**
 * A Hono server with metrics, for Deno and Bun.
 *
 * Install: bun add @lukhas/stage-metrics hono
 * Run:     bun hono.ts
 *          deno serve --allow-env=PORT examples/servers/hono.ts
 * Try:     curl localhost:8000/greetings/Ada
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";
import { Hono } from "hono";
import process from "node:process";

const app = new Hono();

const serveMetrics = metricsHandler();
app.get("/metrics", (context) => serveMetrics(context.req.raw));

app.get("/greetings/:name", (context) =>
  pipeline("greeting", async () => {
    const day = await stage("date", () => Promise.resolve(new Date()));
    return stage("write", () =>
      context.text(
        `Hello, ${context.req.param("name")}! It is ${day.toDateString()}.\n`,
      ));
  }));

export default {
  fetch: app.fetch,
  port: Number(process.env["PORT"] ?? 8000),
};
