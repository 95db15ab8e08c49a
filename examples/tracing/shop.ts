/**
 * A service that calls another service, `prices.ts`, in the same trace. Deno sends the
 * trace context in the header `traceparent`, and exports the spans to a collector at
 * `http://localhost:4318` or `OTEL_EXPORTER_OTLP_ENDPOINT`.
 *
 * Run:     export OTEL_DENO=true
 *          OTEL_SERVICE_NAME=prices deno serve --port 8001 examples/tracing/prices.ts &
 *          OTEL_SERVICE_NAME=shop deno serve --allow-net --allow-env=PRICES examples/tracing/shop.ts
 * Try:     curl localhost:8000/tea
 *          curl localhost:8000/gold
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";
import process from "node:process";

const PRICES = process.env["PRICES"] ?? "http://localhost:8001";

async function fetchPrice(item: string, signal: AbortSignal): Promise<number> {
  const response = await fetch(`${PRICES}/${item}`, { signal });
  if (!response.ok) throw new RangeError(await response.text());
  return await response.json();
}

async function sell({ url }: Request): Promise<Response> {
  const item = new URL(url).pathname.slice(1);
  return await pipeline("checkout", { timeout: 2_000 }, async () => {
    const price = await stage(
      "price",
      ({ signal }) => fetchPrice(item, signal),
    );
    return stage("bill", () => new Response(`One ${item}: ${price}\n`));
  }).catch(({ message }) => new Response(`${message}\n`, { status: 502 }));
}

export default { fetch: metricsHandler({ next: sell }) };
