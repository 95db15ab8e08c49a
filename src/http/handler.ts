import { createHash, timingSafeEqual } from "node:crypto";
import { describeError } from "../common/describe_error.ts";
import { quote } from "../common/quote.ts";
import {
  checkOptionalFunction,
  checkOptions,
  checkString,
  type OptionChecks,
  typeName,
} from "../common/validate.ts";
import { type Format, FORMATS } from "../exposition/text.ts";
import { collectRegistries } from "../registry/gather.ts";
import { checkRegistry, type MetricsRegistry } from "../registry/registry.ts";
import type { InstanceSource } from "../scopes/context.ts";
import { createWorkersCollect } from "../workers/share.ts";
import {
  hasValidHost,
  pathOf,
  queryOf,
  SCRAPE_TIMEOUT_HEADER,
} from "./request.ts";
import { createTextResponse } from "./response.ts";
import { createScrape } from "./scrape.ts";

export { pathOf, queryOf, SCRAPE_TIMEOUT_HEADER };

/**
 * The options of `metricsHandler`.
 *
 * @typeParam A What a server passes on after the request.
 */
export interface MetricsHandlerOptions<A extends unknown[] = unknown[]> {
  /**
   * The registry that is served, or several, merged: what they share by name and
   * labels is added up, or merged as the metric's `aggregator` says. The default
   * metrics that describe the process, `process_*` under any prefix, are shown once.
   *
   * @default {the registry of the instance}
   */
  registry?: MetricsRegistry | readonly MetricsRegistry[] | undefined;
  /**
   * The path that serves the metrics. It counts only with `next`: without, every
   * path does.
   *
   * @default {"/metrics"}
   */
  path?: string | undefined;
  /**
   * Handles the requests to all other paths, and those whose `Host` header cannot be a
   * host: servers build the URL of the request from it, so that their path is unknown.
   * Without `next`, such requests are answered with 400.
   *
   * @default {none}
   */
  next?:
    | ((request: Request, ...rest: A) => Response | Promise<Response>)
    | undefined;
  /**
   * The bearer token that a client must present to see the metrics.
   *
   * @default {none: everyone may see them}
   */
  token?: string | undefined;
  /**
   * Answers for all worker threads of the process that share their metrics, by
   * this option or by `shareMetrics`: counters, histograms and what is running
   * are summed, foreign metrics merged by their `aggregator`. The default metrics
   * that describe the process, `process_*` under any prefix, are shown once.
   *
   * A worker that does not answer within `timeout` milliseconds delays one scrape
   * by as much; its last known values stand in, `worker_unresponsive` is counted,
   * and it is not waited for until it is heard of again. A scrape whose own timeout
   * is less than twice as long waits for half of its own timeout instead. In every
   * worker, a collector may take half of this time; the values that it last gave stand
   * in for one that takes longer.
   *
   * Several registries of a worker go with those of the others in the order in
   * which they were shared.
   *
   * @default {false; as for the `timeout`, 500}
   */
  workers?: boolean | { timeout?: number | undefined } | undefined;
  /**
   * The formats that the handler may answer with: `"text"` is the text format 0.0.4
   * of Prometheus, `"openmetrics"` is OpenMetrics 1.0. The client's `Accept` header
   * chooses among them; a client that accepts none of them gets text, if that is
   * allowed. The order does not matter.
   *
   * @default {["text", "openmetrics"]}
   */
  formats?: readonly ("text" | "openmetrics")[] | undefined;
  /**
   * The number of scrapes that may be under way at the same time, from when their
   * metrics are collected until their clients have read them. A scrape beyond waits, at
   * most for half of its timeout, and is then answered with 503 and `Retry-After`. For
   * one that waits, others are cut off whose clients have not read anything for half a
   * second, or have read for more than four. After two minutes every one is cut off.
   *
   * @default {200}
   */
  maxRequestsInFlight?: number | undefined;
}

/** The ways to serve metrics. */
export interface HandlerMethods {
  /**
   * Makes a Fetch handler that serves metrics.
   *
   * A scrape waits for the collectors of foreign metrics at most for half of the
   * timeout that Prometheus announces, in seconds, in the request header
   * `X-Prometheus-Scrape-Timeout-Seconds`; without that header for 5 seconds, and
   * never longer than a minute. A metric whose collector takes longer is left out and
   * counted as `collector_error`. While its call has not finished, the collector is
   * not called again. The metrics of this library never wait for a collector.
   *
   * A query such as `?name[]=http_requests_total&name[]=jobs` restricts the answer to
   * the metrics of these names. The name of a sample, such as that of a bucket, stands
   * for its whole metric, and OpenMetrics's name of a counter for the one that ends in
   * `_total`. Without `workers`, collectors of foreign metrics that were not asked for
   * are not called. So a metric that is set by another one's collector keeps its last
   * value, unless it is one of prom-client's default metrics.
   *
   * @typeParam A What a server passes on after the request.
   * @param options The options.
   * @returns The handler, for `Deno.serve`, `Bun.serve` or Hono.
   * @throws {TypeError} If an option has the wrong type, or is unknown.
   * @throws {RangeError} If an option is out of range.
   */
  metricsHandler<A extends unknown[]>(
    options?: MetricsHandlerOptions<A>,
  ): (request: Request, ...rest: A) => Promise<Response>;
}

const DEFAULT_WORKERS_TIMEOUT_MS = 500;

const DEFAULT_MAX_REQUESTS_IN_FLIGHT = 200;

/** What a timer can wait for. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** Where Prometheus looks, unless it is told otherwise. */
export const DEFAULT_PATH = "/metrics";

/** What the token may consist of: what a client can send in a header. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Makes a `metricsHandler` function. */
export function createHandlerFunction(
  source: InstanceSource,
): HandlerMethods["metricsHandler"] {
  return (options = {}) => {
    checkOptions("create a metrics handler", options, HANDLER_OPTION_CHECKS);
    const { registry, path = DEFAULT_PATH, next, token, workers, formats } =
      options;
    const { maxRequestsInFlight = DEFAULT_MAX_REQUESTS_IN_FLIGHT } = options;
    const chosen = registry === undefined ? undefined : [registry].flat();
    const allowed = FORMATS.filter((each) => formats?.includes(each) ?? true);
    const collect = workers === undefined || workers === false
      ? collectRegistries
      : createWorkersCollect(source, chosen, timeoutOf(workers));
    const scrape = createScrape(
      source,
      chosen,
      collect,
      allowed,
      maxRequestsInFlight,
    );
    const isAuthorized = token === undefined ? () => true : bearerCheck(token);
    return async (request, ...rest) => {
      const isValid = hasValidHost(request);
      if (next !== undefined && !(isValid && pathOf(request.url) === path)) {
        return await next(request, ...rest);
      }
      if (!isValid) return createTextResponse(400, "Bad Request");
      if (!isAuthorized(request.headers.get("Authorization"))) {
        return createTextResponse(401, "Unauthorized", {
          "WWW-Authenticate": 'Bearer realm="metrics"',
        });
      }
      if (request.method !== "GET" && request.method !== "HEAD") {
        return createTextResponse(405, "Method Not Allowed", {
          Allow: "GET, HEAD",
        });
      }
      try {
        return await scrape(request);
      } catch (error) {
        // What went wrong is for the owner to know, not for whoever scrapes.
        source.instance().issues.report(
          "collector_error",
          `The metrics could not be collected: ${describeError(error)}`,
        );
        return createTextResponse(500, "Internal Server Error");
      }
    };
  };
}

/** Digests are of one length, so that comparing them tells nothing by its time. */
function bearerCheck(token: string): (authorization: string | null) => boolean {
  const expected = sha256(token);
  return (authorization) => {
    const given = /^Bearer +(.*)$/i.exec(authorization ?? "")?.[1];
    return given !== undefined && timingSafeEqual(sha256(given), expected);
  };
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function timeoutOf(workers: true | { timeout?: number | undefined }): number {
  const { timeout } = workers === true ? {} : workers;
  return timeout ?? DEFAULT_WORKERS_TIMEOUT_MS;
}

/** The check of each option; a listener of Node has the same. */
export const HANDLER_OPTION_CHECKS: OptionChecks<MetricsHandlerOptions> = {
  registry: checkRegistries,
  path: checkPath,
  next: checkOptionalFunction,
  token: checkToken,
  workers: checkWorkers,
  formats: checkFormats,
  maxRequestsInFlight: checkMaxRequestsInFlight,
};

const WORKERS_OPTION_CHECKS: OptionChecks<{ timeout?: number | undefined }> = {
  timeout: checkWorkersTimeout,
};

function checkRegistries(action: string, name: string, value: unknown): void {
  if (value === undefined) return;
  const registries = [value].flat();
  if (registries.length === 0) {
    throw new RangeError(`Cannot ${action}: ${name} must not be empty`);
  }
  for (const each of registries) {
    checkRegistry(action, each as Partial<MetricsRegistry> | null);
  }
}

function checkPath(action: string, name: string, path: unknown): void {
  checkString(action, name, path);
  // Any other path could never be equal to that of a request.
  if (path === undefined || pathOf(path as string) === path) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must be the path of a URL, as "/metrics" is, got ${
      quote(path)
    }`,
  );
}

function checkToken(action: string, name: string, token: unknown): void {
  checkString(action, name, token);
  if (token === undefined || TOKEN.test(token as string)) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must consist of visible ASCII characters, one at least`,
  );
}

function checkWorkers(action: string, name: string, workers: unknown): void {
  if (workers === undefined || typeof workers === "boolean") return;
  checkOptions(action, workers as object, WORKERS_OPTION_CHECKS, name);
}

function checkFormats(action: string, name: string, formats: unknown): void {
  if (formats === undefined) return;
  if (!Array.isArray(formats)) {
    throw new TypeError(
      `Cannot ${action}: ${name} must be an array, got ${typeName(formats)}`,
    );
  }
  if (formats.length === 0) {
    throw new RangeError(`Cannot ${action}: ${name} must not be empty`);
  }
  for (const format of formats as readonly unknown[]) {
    if (FORMATS.includes(format as Format)) continue;
    throw new RangeError(
      `Cannot ${action}: ${name} must hold "text" or "openmetrics", got ${
        typeof format === "string" ? `"${format}"` : typeof format
      }`,
    );
  }
}

function checkMaxRequestsInFlight(
  action: string,
  name: string,
  value: unknown,
): void {
  if (value === undefined) return;
  if (typeof value !== "number") {
    throw new TypeError(
      `Cannot ${action}: ${name} must be a number, got ${typeof value}`,
    );
  }
  if (value >= 1) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must be at least 1, got ${value}`,
  );
}

function checkWorkersTimeout(
  action: string,
  _name: string,
  timeout: unknown,
): void {
  if (timeout === undefined) return;
  if (typeof timeout !== "number") {
    throw new TypeError(
      `Cannot ${action}: the timeout of workers must be a number of milliseconds, got ${typeof timeout}`,
    );
  }
  if (!(timeout >= 0 && timeout <= MAX_TIMEOUT_MS)) {
    throw new RangeError(
      `Cannot ${action}: the timeout of workers must be from 0 to ${MAX_TIMEOUT_MS} ms, got ${timeout}`,
    );
  }
}
