/**
 * An Express server with metrics.
 *
 * Install: npm install @lukhas/stage-metrics express
 * Run:     node express.ts
 * Try:     curl localhost:8000/greetings/Ada
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
import express from "express";
import process from "node:process";

const app = express();

app.get("/metrics", nodeMetricsHandler());

app.get("/greetings/:name", async (request, response) => {
  const greeting = await pipeline("greeting", async () => {
    const day = await stage("date", () => Promise.resolve(new Date()));
    return stage(
      "write",
      () => `Hello, ${request.params.name}! It is ${day.toDateString()}.\n`,
    );
  });
  response.send(greeting);
});

app.listen(Number(process.env["PORT"] ?? 8000));
