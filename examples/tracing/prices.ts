/**
 * The service that `shop.ts` calls.
 *
 * @module
 */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

const PRICES = new Map([["tea", 3], ["milk", 2]]);

function findPrice(item: string): Response {
  const price = PRICES.get(item);
  return price === undefined
    ? new Response(`There is no ${item}`, { status: 404 })
    : Response.json(price);
}

async function respond({ url }: Request): Promise<Response> {
  return await pipeline("pricing", () => {
    const item = stage("parse", () => new URL(url).pathname.slice(1));
    return stage("look_up", () => findPrice(item));
  });
}

export default { fetch: metricsHandler({ next: respond }) };
