/**
 * Serves metrics by `node:http` and what is built on it, as Express and Fastify.
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

/** What is needed of a request of `node:http`. */
export interface NodeRequest {
  /** The method, in upper case. */
  readonly method?: string | undefined;
  /** The path and the query. */
  readonly url?: string | undefined;
  /** The headers, their names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
}

/** What is needed of a response of `node:http`, which is a writable stream. */
export interface NodeResponse {
  /** Sends the status and the headers. */
  writeHead(status: number, headers: Record<string, string>): unknown;
  /** Sends some of the body. */
  write(chunk: Uint8Array): boolean;
  /** Sends the last of the body, if there is more, and ends the response. */
  end(chunk?: string | Uint8Array): unknown;
  /** Whether the client has left. */
  readonly destroyed?: boolean | undefined;
  /** Whether the response has been ended. */
  readonly writableEnded?: boolean | undefined;
  /** Calls a function when the response is complete or the client has left. */
  once?(event: "close", listener: () => void): unknown;
}

/**
 * The options of {@linkcode nodeMetricsHandler}.
 *
 * @typeParam Q The request, as the server has it.
 * @typeParam S The response, as the server has it.
 */
export interface NodeMetricsHandlerOptions<
  Q extends NodeRequest = NodeRequest,
  S extends NodeResponse = NodeResponse,
> extends Omit<MetricsHandlerOptions, "next"> {
  /**
   * Handles the requests to all other paths. The listener's promise waits for a
   * promise that it returns, and rejects as that does.
   *
   * @default {none}
   */
  next?: ((request: Q, response: S) => unknown) | undefined;
}

/** The headers that decide on the answer. */
const HEADERS = [
  "accept",
  "accept-encoding",
  "authorization",
  "host",
  SCRAPE_TIMEOUT_HEADER.toLowerCase(),
];

/** The values that a header can have. A lenient parser lets others through. */
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Makes a listener for `node:http` that serves metrics, as `metricsHandler` does it
 * for the Web platform's servers.
 *
 * It serves `createServer(nodeMetricsHandler({ next }))` of `node:http`,
 * `app.get("/metrics", nodeMetricsHandler())` of Express, and with `request.raw` and
 * `reply.raw`, after `reply.hijack()`, Fastify.
 *
 * @typeParam Q The request, as the server has it.
 * @typeParam S The response, as the server has it.
 * @param options The options, those of `metricsHandler`.
 * @returns The listener. Its promise resolves when the response is complete or the
 * client has gone, and with `next` when the promise of `next` does.
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
  // Not async: an error that `next` throws is thrown here, too. Express 4 would not
  // see a rejection.
  return (request, response) => {
    if (next !== undefined && pathOf(request.url ?? "/") !== path) {
      return settle(next(request, response));
    }
    // A client that leaves early is no error of the server, nor is a response that
    // was ended elsewhere meanwhile.
    return answer(serve, request, response).catch(() => {});
  };
}

async function settle(result: unknown): Promise<void> {
  await result;
}

async function answer(
  serve: (request: Request) => Promise<Response>,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const client = new AbortController();
  response.once?.("close", () => client.abort());
  if (isOver(response)) return;
  const { status, headers, body } = await serve(
    toFetchRequest(request, client.signal),
  );
  if (body === null) {
    response.writeHead(status, Object.fromEntries(headers));
    response.end();
    return;
  }
  // The types of the Web's streams and of Node's differ in name alone.
  const source = Readable.fromWeb(body as never);
  // It can also fail while nothing is piped from it, which would end the process.
  source.on("error", () => {});
  try {
    if (isOver(response)) return;
    response.writeHead(status, Object.fromEntries(headers));
    await pipeline(source, response as unknown as NodeJS.WritableStream);
  } finally {
    source.destroy();
  }
}

/** Returns whether nobody is left to be answered. */
function isOver({ destroyed, writableEnded }: NodeResponse): boolean {
  return destroyed === true || writableEnded === true;
}

/** The request as far as it decides on the answer, its path aside. */
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
    // All others are refused alike, and some of them no `Request` can have.
    method: method === "GET" || method === "HEAD" ? method : "POST",
    headers: relevant,
    signal,
  });
}
