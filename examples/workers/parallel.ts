/**
 * A server of several threads. Whichever thread is scraped returns the metrics of all.
 *
 * Run:     deno serve --parallel examples/workers/parallel.ts
 * Try:     curl -d 'some text' localhost:8000
 * Metrics: curl localhost:8000/metrics
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

async function checksum(request: Request): Promise<Response> {
  return await pipeline("checksum", async () => {
    const body = await stage("read", () => request.arrayBuffer());
    const hash = await stage("hash", () => crypto.subtle.digest("SHA-1", body));
    const hex = new Uint8Array(hash).toHex();
    return stage("write", () => new Response(`${hex}\n`));
  });
}

export default { fetch: metricsHandler({ workers: true, next: checksum }) };
