/**
 * Has Node and Bun trace the pipelines and stages of a service, whose own code stays
 * as it is, and send the spans to a collector at `http://localhost:4318`, or at
 * `OTEL_EXPORTER_OTLP_ENDPOINT`. Deno needs none of this: `OTEL_DENO=true` will do.
 *
 * Get it: npm install @opentelemetry/sdk-node
 * Use it: OTEL_SERVICE_NAME=greeting node --import ./telemetry.js node_http.ts
 *         OTEL_SERVICE_NAME=greeting bun --preload ./telemetry.js bun.ts
 *
 * @module
 */
import { NodeSDK } from "@opentelemetry/sdk-node";
import process from "node:process";

const sdk = new NodeSDK();
sdk.start();
// Without this, the spans of the last seconds would be lost.
process.once("SIGTERM", () => sdk.shutdown().finally(() => process.exit()));
