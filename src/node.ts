/**
 * A metrics handler for `node:http` and frameworks that are built on it, such as Express
 * and Fastify.
 *
 * @example
 * ```ts
 * import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
 * import { createServer } from "node:http";
 *
 * const server = createServer(nodeMetricsHandler({
 *   next: (_request, response) => response.end("Hello\n"),
 * }));
 * // server.listen(8000);
 * ```
 *
 * @module
 */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { checkOptions, copyOptions } from "./common/validate.ts";
import { metricsHandler } from "./functions.ts";
import {
  DEFAULT_PATH,
  HANDLER_OPTION_CHECKS,
  type MetricsHandlerOptions,
  pathOf,
  queryOf,
  SCRAPE_TIMEOUT_HEADER,
} from "./http/handler.ts";

export type { MetricsHandlerOptions };

/** The part of a `node:http` request that the handler uses. */
export interface NodeRequest {
  /** The method, in upper case. */
  readonly method?: string | undefined;
  /** The path and the query. */
  readonly url?: string | undefined;
  /** The headers, their names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** The part of a `node:http` response that the handler uses. It is a writable stream. */
export interface NodeResponse {
  /** Sends the status and the headers. */
  writeHead(status: number, headers: Record<string, string>): unknown;
  /** Sends a part of the body. */
  write(chunk: Uint8Array): boolean;
  /** Sends the last part of the body, if any, and ends the response. */
  end(chunk?: string | Uint8Array): unknown;
  /** Whether the connection has been closed. */
  readonly destroyed?: boolean | undefined;
  /** Whether the response has been ended. */
  readonly writableEnded?: boolean | undefined;
  /** Calls a function when the response is complete or the connection is closed. */
  once?(event: "close", listener: () => void): unknown;
}

/**
 * The options of {@linkcode nodeMetricsHandler}.
 *
 * @typeParam Q The type of the server's request.
 * @typeParam S The type of the server's response.
 */
export interface NodeMetricsHandlerOptions<
  Q extends NodeRequest = NodeRequest,
  S extends NodeResponse = NodeResponse,
> extends Omit<MetricsHandlerOptions, "next"> {
  /**
   * Handles requests to all other paths. If it returns a promise, the promise of the
   * listener settles with it.
   *
   * @default {none: every path serves metrics}
   */
  next?: ((request: Q, response: S) => unknown) | undefined;
}

/** The headers on which the response depends. */
const HEADERS = [
  "accept",
  "accept-encoding",
  "authorization",
  "host",
  SCRAPE_TIMEOUT_HEADER.toLowerCase(),
];

/** A valid header value. A lenient parser also accepts others. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Returns a request listener for `node:http` that serves metrics, like `metricsHandler` for
 * servers of the Web platform.
 *
 * - `node:http`: `createServer(nodeMetricsHandler({ next }))`
 * - Express: `app.get("/metrics", nodeMetricsHandler())`
 * - Fastify: call the listener with `request.raw` and `reply.raw`, after `reply.hijack()`
 *
 * @typeParam Q The type of the server's request.
 * @typeParam S The type of the server's response.
 * @param options The options. They are the options of `metricsHandler`, with another `next`.
 * @returns The listener. Its promise resolves when the response is complete or its
 * connection is closed. For a request that `next` handles, it settles with the promise of
 * `next`.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range.
 *
 * @example
 * ```ts
 * import { nodeMetricsHandler } from "@lukhas/stage-metrics/node";
 * import { assertEquals } from "@std/assert";
 * import { createServer } from "node:http";
 *
 * const server = createServer(nodeMetricsHandler());
 * await new Promise<void>((resolve) => server.listen(0, resolve));
 *
 * const { port } = server.address() as { port: number };
 * const response = await fetch(`http://localhost:${port}/metrics`);
 * assertEquals(response.headers.get("Content-Type")?.split(";")[0], "text/plain");
 *
 * await response.body?.cancel();
 * await new Promise((resolve) => server.close(resolve));
 * ```
 */
export function nodeMetricsHandler<
  Q extends NodeRequest,
  S extends NodeResponse,
>(
  options: NodeMetricsHandlerOptions<Q, S> = {},
): (request: Q, response: S) => Promise<void> {
  checkOptions("create a metrics handler", options, HANDLER_OPTION_CHECKS);
  const { next, path = DEFAULT_PATH } = options;
  const serve = metricsHandler({
    ...copyOptions(options, HANDLER_OPTION_CHECKS),
    next: undefined,
  });
  // Not async: Express 4 handles an error that `next` throws, but not a rejection.
  return (request, response) => {
    if (next !== undefined && pathOf(request.url ?? "/") !== path) {
      return settle(next(request, response));
    }
    // A closed connection, or a response that was ended elsewhere, is not an error.
    return respond(serve, request, response).catch(() => {});
  };
}

async function settle(result: unknown): Promise<void> {
  await result;
}

async function respond(
  serve: (request: Request) => Promise<Response>,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const connection = new AbortController();
  response.once?.("close", () => connection.abort());
  if (isClosed(response)) return;
  const { status, headers, body } = await serve(
    toFetchRequest(request, connection.signal),
  );
  if (body === null) {
    response.writeHead(status, Object.fromEntries(headers));
    response.end();
    return;
  }
  // The global `ReadableStream` is not assignable to the type in `node:stream/web`.
  const source = Readable.fromWeb(body as never);
  // An error while the stream is not piped would end the process.
  source.on("error", () => {});
  try {
    if (isClosed(response)) return;
    response.writeHead(status, Object.fromEntries(headers));
    await pipeline(source, response as unknown as NodeJS.WritableStream);
  } finally {
    source.destroy();
  }
}

/** Returns whether the response can no longer be sent. */
function isClosed({ destroyed, writableEnded }: NodeResponse): boolean {
  return destroyed === true || writableEnded === true;
}

/** Returns the part of a request on which the response depends, without its path. */
function toFetchRequest(
  { method = "GET", url = "/", headers }: NodeRequest,
  signal: AbortSignal,
): Request {
  const relevant = new Headers();
  for (const name of HEADERS) {
    const value = headers[name];
    if (value === undefined || !HEADER_VALUE.test(String(value))) continue;
    relevant.set(name, String(value));
  }
  return new Request(`http://localhost/?${queryOf(url)}`, {
    // The handler rejects all other methods, and `Request` does not accept some of them.
    method: method === "GET" || method === "HEAD" ? method : "POST",
    headers: relevant,
    signal,
  });
}
