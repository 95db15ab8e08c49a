/**
 * A Bun server with metrics.
 *
 * Install: bun add @lukhas/stage-metrics
 * Run:     bun bun.ts
 * Try:     curl -d Ada localhost:8000
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

/** The part of Bun that this example uses; `@types/bun` declares all of it. */
declare const Bun: {
  readonly env: Readonly<Record<string, string | undefined>>;
  serve(options: {
    port: number;
    fetch(request: Request): Promise<Response>;
  }): unknown;
};

async function greet(request: Request): Promise<Response> {
  return await pipeline("greeting", async () => {
    const name = await stage("read", () => request.text());
    return stage("write", () => new Response(`Hello, ${name}!\n`));
  });
}

Bun.serve({
  port: Number(Bun.env["PORT"] ?? 8000),
  fetch: metricsHandler({ next: greet }),
});
