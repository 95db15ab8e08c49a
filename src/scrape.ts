import { setImmediate } from "node:timers";
import type { InstanceSource } from "./context.ts";
import { shareTurn } from "./coalesce.ts";
import { CONTENT_TYPES, type Format, render } from "./exposition.ts";
import type { IssueReporter } from "./issues.ts";
import { acceptsGzip, negotiateFormat } from "./negotiate.ts";
import type { MetricsRegistry } from "./registry.ts";
import { readScrapeRequest, type ScrapeRequest } from "./request.ts";
import type { GatheredFamily } from "./samples.ts";
import type { Instance } from "./scope.ts";
import { type Reading, UnfinishedBodies } from "./unfinished.ts";

/**
 * Collects everything that takes time, and returns a function that gathers the metrics:
 * all own ones at the instant of its call.
 *
 * @param fallback Reports issues with a registry that has no metrics of this library.
 */
export type Collect = (
  registries: readonly MetricsRegistry[],
  fallback: () => IssueReporter,
  scrape: ScrapeRequest,
) => Promise<() => Promise<GatheredFamily[]>>;

type Gather = (scrape: ScrapeRequest) => Promise<readonly GatheredFamily[]>;

/**
 * Creates the function that answers GET and HEAD requests.
 *
 * @param chosen The registries, if not the instance's.
 * @param formats The formats that it may answer with.
 */
export function createScrape(
  { instance, registries }: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
  collect: Collect,
  formats: readonly Format[],
): (request: Request) => Promise<Response> {
  const unfinished = new UnfinishedBodies();
  const createGather = (
    registries: readonly MetricsRegistry[],
    fallback: () => IssueReporter,
  ): Gather =>
    shareTurn(
      keyOf,
      async (scrape) =>
        unfinished.admit(await collect(registries, fallback, scrape)),
    );
  const gatherChosen = chosen && createGather(chosen, () => instance().issues);
  const gathers = new WeakMap<Instance, Gather>();
  const gatherOf = (owner: Instance) => {
    // At each scrape, as it also looks for metrics in other clients.
    const shown = registries();
    const gather = gathers.get(owner) ??
      createGather(shown, () => owner.issues);
    gathers.set(owner, gather);
    return gather;
  };
  return async (request) => {
    const format = negotiateFormat(request.headers.get("Accept"), formats);
    const gzip = mayEncode(request) &&
      acceptsGzip(request.headers.get("Accept-Encoding"));
    const headers = new Headers({
      "Content-Type": CONTENT_TYPES[format],
      "Cache-Control": "no-store",
      "Vary": "Accept, Accept-Encoding",
    });
    if (gzip) headers.set("Content-Encoding", "gzip");
    if (request.signal?.aborted) return nobody();
    if (request.method === "HEAD") return new Response(unsent(), { headers });
    // Scrapes that wait here go on together and share one gathering.
    await unfinished.waitForRoom();
    const gather = gatherChosen ?? gatherOf(instance());
    const gathered = await gather(readScrapeRequest(request));
    const body = toStream(gathered, format, unfinished);
    const init: ResponseInit & WorkerdResponseInit = {
      headers,
      encodeBody: "manual",
    };
    return new Response(
      gzip ? body.pipeThrough(new CompressionStream("gzip")) : body,
      init,
    );
  };
}

/**
 * Keeps workerd from compressing a body again whose `Content-Encoding` is gzip. Other
 * runtimes ignore it.
 *
 * @see {@link https://developers.cloudflare.com/workers/runtime-apis/response/#parameters | Cloudflare Workers, Response}
 */
interface WorkerdResponseInit {
  readonly encodeBody: "automatic" | "manual";
}

/**
 * Returns whether a body may be encoded. Next.js removes the `Content-Encoding` of a
 * route handler's response, so that an encoded one cannot be read; it compresses the
 * body itself.
 */
function mayEncode(request: Request): boolean {
  return !("nextUrl" in request);
}

/** Returns a response to a client that has left, with the status of nginx for it. */
function nobody(): Response {
  return new Response(null, { status: 499 });
}

/** Returns a text that is the same for requests that may share an answer. */
function keyOf({ patience, names }: ScrapeRequest): string {
  return JSON.stringify([patience, names && [...names].sort()]);
}

/**
 * Returns a body for an answer to HEAD. Servers do not send it; without a body, Deno
 * and Bun send a `Content-Length` of 0, which the answer to GET does not have.
 */
function unsent(): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Closed by the first read only: Bun sends the length 0 for a closed stream, too.
  return new ReadableStream({ pull: (controller) => controller.close() }, {
    highWaterMark: 0,
  });
}

/** Lets everything else that waits have its turn after each slice. */
function toStream(
  gathered: readonly GatheredFamily[],
  format: Format,
  unfinished: UnfinishedBodies,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  const remaining = render(gathered, format)[Symbol.iterator]();
  let reading: Reading;
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      reading = unfinished.begin(gathered, controller);
    },
    async pull(controller) {
      const { done, value } = remaining.next();
      if (done) {
        reading.end();
        controller.close();
        return;
      }
      reading.progress();
      controller.enqueue(encoder.encode(value));
      await new Promise((resolve) => setImmediate(resolve));
    },
    cancel() {
      reading.end();
    },
  });
}
