/**
 * A service of Hono, for Deno and Bun, which serve what a module exports.
 *
 * Get it: bun add @lukhas/stage-metrics hono
 * Run it: bun hono.ts
 * Ask it: curl localhost:8000/greetings/Ada
 * See it: curl localhost:8000/metrics
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
