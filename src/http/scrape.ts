import { gzipSync } from "node:zlib";
import { CONTENT_TYPES, type Format } from "../exposition/text.ts";
import type { Collect, ScrapeRequest } from "../registry/gather.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { InstanceSource } from "../scopes/context.ts";
import { acceptsGzip, negotiateFormat } from "./accept.ts";
import { InFlightScrapes, type ScrapeBody } from "./in_flight_scrapes.ts";
import { readScrapeRequest } from "./request.ts";
import { createTextResponse } from "./response.ts";
import type { NextChunk } from "./scrape_snapshot.ts";

/** How long a scrape of unknown timeout may wait for room, in milliseconds. */
const DEFAULT_TIMEOUT_MS = 5_000;

/** After so many seconds, a client that got no metrics may ask again. */
const RETRY_AFTER_SECONDS = 1;

/**
 * Creates the function that answers GET and HEAD requests.
 *
 * @param chosen The registries, if not the instance's.
 * @param formats The formats that it may answer with.
 * @param maxInFlight How many scrapes may be under way at the same time.
 */
export function createScrape(
  { instance, registries }: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
  collect: Collect,
  formats: readonly Format[],
  maxInFlight: number,
): (request: Request) => Promise<Response> {
  const inFlight = new InFlightScrapes(maxInFlight);
  /** Returns the registries to show, and the object that stands for them. */
  const sourceOf = () => {
    if (chosen !== undefined) {
      return { owner: chosen, shown: chosen, issues: () => instance().issues };
    }
    const owner = instance();
    // At each scrape, as it also looks for metrics in other clients.
    return { owner, shown: registries(), issues: () => owner.issues };
  };
  return async (request) => {
    const format = negotiateFormat(request.headers.get("Accept"), formats);
    const gzip = canEncode(request) &&
      acceptsGzip(request.headers.get("Accept-Encoding"));
    const headers = new Headers({
      "Content-Type": CONTENT_TYPES[format],
      "Cache-Control": "no-store",
      "Vary": "Accept, Accept-Encoding",
    });
    if (gzip) headers.set("Content-Encoding", "gzip");
    if (isAborted(request)) return clientClosedRequest();
    if (request.method === "HEAD") {
      return new Response(createHeadBody(), { headers });
    }
    const scrape = readScrapeRequest(request);
    const { patience: timeoutMs = DEFAULT_TIMEOUT_MS } = scrape;
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
function canEncode(request: Request): boolean {
  return !("nextUrl" in request);
}

/** Returns all of a short text, which needs no room, or else a stream. */
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

/** Returns whether the client has left, as far as the server can say. */
function isAborted(request: Request): boolean {
  // Deno.serve prints a warning when the signal is read, and aborts the body anyway.
  return !("Deno" in globalThis) && request.signal?.aborted;
}

/** Returns a response to a client that has left, with the status of nginx for it. */
function clientClosedRequest(): Response {
  return new Response(null, { status: 499 });
}

function serviceUnavailable(): Response {
  return createTextResponse(503, "Service Unavailable", {
    "Retry-After": `${RETRY_AFTER_SECONDS}`,
  });
}

/** Returns a text that is the same for requests that may share an answer. */
function keyOf({ patience, names }: ScrapeRequest): string {
  return JSON.stringify([patience, names && [...names].sort()]);
}

/**
 * Returns a body for an answer to HEAD. Servers do not send it; without a body, Deno
 * and Bun send a `Content-Length` of 0, which the answer to GET does not have.
 */
function createHeadBody(): ReadableStream<Uint8Array<ArrayBuffer>> {
  // Closed by the first read only: Bun sends the length 0 for a closed stream, too.
  return new ReadableStream({ pull: (controller) => controller.close() }, {
    highWaterMark: 0,
  });
}

/** Sends a body, for as long as it is read fast enough. */
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
