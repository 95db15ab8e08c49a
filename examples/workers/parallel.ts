/**
 * A service of several threads, each of which answers for all of them.
 *
 * Run it: deno serve --parallel examples/workers/parallel.ts
 * Ask it: curl -d 'some text' localhost:8000
 * See it: curl localhost:8000/metrics
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

async function checksum(request: Request): Promise<Response> {
  return await pipeline("checksum", async () => {
    const body = await stage("read", () => request.arrayBuffer());
    const hash = await stage("hash", () => crypto.subtle.digest("SHA-1", body));
    return stage("write", () => new Response(new Uint8Array(hash).toHex()));
  });
}

export default { fetch: metricsHandler({ workers: true, next: checksum }) };
