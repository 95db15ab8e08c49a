import { gzipSync } from "node:zlib";
import type { Format } from "../exposition/format.ts";
import type { Collect, GatherRequest } from "../registry/gather.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { InstanceSource } from "../scopes/context.ts";
import { acceptsGzip, negotiateFormat } from "./accept.ts";
import { InFlightScrapes, type ScrapeBody } from "./in_flight_scrapes.ts";
import { readScrapeRequest } from "./request.ts";
import { createTextResponse } from "./response.ts";
import type { NextChunk } from "./scrape_snapshot.ts";

/** The time that a scrape without a timeout waits for room, in milliseconds. */
const DEFAULT_TIMEOUT_MS = 5_000;

/** The time after which a refused client can retry, in seconds. */
const RETRY_AFTER_SECONDS = 1;

/**
 * Creates the function that answers GET and HEAD requests.
 *
 * @param chosen The registries to show instead of the instance's.
 * @param formats The formats to choose from.
 * @param maxInFlight The maximum number of scrapes in flight.
 */
export function createScrape(
  { instance, registries }: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
  collect: Collect,
  formats: readonly Format[],
  maxInFlight: number,
): (request: Request) => Promise<Response> {
  const inFlight = new InFlightScrapes(maxInFlight);
  /** Returns the registries to show, and the object that identifies them. */
  const sourceOf = () => {
    if (chosen !== undefined) {
      return { owner: chosen, shown: chosen, issues: () => instance().issues };
    }
    const owner = instance();
    // Computed for each scrape: other copies of prom-client may have been loaded.
    return { owner, shown: registries(), issues: () => owner.issues };
  };
  return async (request) => {
    const format = negotiateFormat(request.headers.get("Accept"), formats);
    const gzip = canEncode(request) &&
      acceptsGzip(request.headers.get("Accept-Encoding"));
    const headers = new Headers({
      "Content-Type": format.contentType,
      "Cache-Control": "no-store",
      "Vary": "Accept, Accept-Encoding",
    });
    if (gzip) headers.set("Content-Encoding", "gzip");
    if (isAborted(request)) return clientClosedRequest();
    if (request.method === "HEAD") {
      return new Response(createHeadBody(), { headers });
    }
    const scrape = readScrapeRequest(request);
    const { timeoutMs = DEFAULT_TIMEOUT_MS } = scrape;
    const { owner, shown, issues } = sourceOf();
    const body = await inFlight.admit({
      owner,
      key: keyOf(scrape),
      collect: () => collect(shown, issues, scrape),
      timeoutMs,
      isAborted: () => isAborted(request),
    });
    if (body === undefined) {
      return isAborted(request) ? clientClosedRequest() : serviceUnavailable();
    }
    try {
      const init: ResponseInit & WorkerdResponseInit = {
        headers,
        encodeBody: "manual",
      };
      return new Response(createContent(body, format, gzip), init);
    } catch (error) {
      body.end();
      throw error;
    }
  };
}

/**
 * An option that keeps workerd from compressing a compressed body again. Other runtimes
 * ignore it.
 *
 * @see {@link https://developers.cloudflare.com/workers/runtime-apis/response/#parameters | Cloudflare Workers, Response}
 */
interface WorkerdResponseInit {
  readonly encodeBody: "automatic" | "manual";
}

/**
 * Returns whether the response may be compressed. Next.js compresses responses itself,
 * and removes the `Content-Encoding` of a route handler's response.
 */
function canEncode(request: Request): boolean {
  return !("nextUrl" in request);
}

/** Returns the whole text if it is short, or else a stream. */
function createContent(
  body: ScrapeBody,
  format: Format,
  gzip: boolean,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array<ArrayBuffer>> {
  const { snapshot } = body;
  const short = snapshot.short(format);
  if (short === undefined) {
    return createStream(
      gzip ? snapshot.readCompressed(format) : snapshot.read(format),
      body,
    );
  }
  body.end();
  return gzip ? new Uint8Array(gzipSync(short)) : short;
}

/** Returns whether the server reports that the client has disconnected. */
function isAborted(request: Request): boolean {
  // Deno prints a warning when the signal is read, and cancels the body anyway.
  return !("Deno" in globalThis) && request.signal?.aborted;
}

/** Creates the response to a client that has disconnected, with nginx's status. */
function clientClosedRequest(): Response {
  return new Response(null, { status: 499 });
}

function serviceUnavailable(): Response {
  return createTextResponse(503, "Service Unavailable", {
    "Retry-After": `${RETRY_AFTER_SECONDS}`,
  });
}

/** Returns a text that is the same for requests that can share a snapshot. */
function keyOf({ timeoutMs, names }: GatherRequest): string {
  return JSON.stringify([timeoutMs, names && [...names].sort()]);
}

/**
 * Creates the body of a response to HEAD, which servers do not send. Without a body,
 * Deno and Bun send `Content-Length: 0`, unlike for GET.
 */
function createHeadBody(): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Not closed before the first read: Bun also sends that for a closed stream.
  return new ReadableStream({ pull: (controller) => controller.close() }, {
    highWaterMark: 0,
  });
}

/** Creates the stream of a body. */
function createStream(
  next: NextChunk,
  body: ScrapeBody,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream<Uint8Array<ArrayBuffer>>({
    start(controller) {
      body.start((reason) => controller.error(reason));
    },
    async pull(controller) {
      body.markRead();
      try {
        const chunk = await next();
        if (chunk !== undefined) {
          controller.enqueue(chunk);
          return;
        }
        controller.close();
        body.end();
      } catch (error) {
        body.end();
        throw error;
      }
    },
    cancel() {
      body.end();
    },
  }, { highWaterMark: 0 });
}
