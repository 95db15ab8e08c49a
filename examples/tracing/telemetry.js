/**
 * Traces the pipelines and stages of a service in Node or Bun, without changes to the
 * service, and exports the spans to a collector at `http://localhost:4318` or
 * `OTEL_EXPORTER_OTLP_ENDPOINT`. Deno needs only `OTEL_DENO=true`.
 *
 * Install: npm install @opentelemetry/sdk-node
 * Run:     OTEL_SERVICE_NAME=greeting node --import ./telemetry.js node_http.ts
 *          OTEL_SERVICE_NAME=greeting bun --preload ./telemetry.js bun.ts
 *
 * @module
 */
import { NodeSDK } from "@opentelemetry/sdk-node";
import process from "node:process";

const sdk = new NodeSDK();
sdk.start();
// Without this, the spans of the last seconds would be lost.
process.once("SIGTERM", () => sdk.shutdown().finally(() => process.exit()));
