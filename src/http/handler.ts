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
import { FORMATS } from "../exposition/format.ts";
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
 * @typeParam A The arguments that the server passes after the request.
 */
export interface MetricsHandlerOptions<A extends unknown[] = unknown[]> {
  /**
   * The registry to serve, or several registries, merged: samples with the same name
   * and labels are summed, or merged by the metric's `aggregator`. The default metrics
   * of the process (`process_*`, under any prefix) are shown once.
   *
   * @default {the registry of the instance}
   */
  registry?: MetricsRegistry | readonly MetricsRegistry[] | undefined;
  /**
   * The path that serves the metrics. Used only with `next`; otherwise every path
   * serves metrics.
   *
   * @default {"/metrics"}
   */
  path?: string | undefined;
  /**
   * Handles requests to all other paths, and requests with an invalid `Host` header:
   * servers build the URL of a request from that header, so the path may be wrong.
   * Without `next`, a request with an invalid `Host` header is answered with 400.
   *
   * @default {none}
   */
  next?:
    | ((request: Request, ...rest: A) => Response | Promise<Response>)
    | undefined;
  /**
   * The bearer token that clients must send.
   *
   * @default {none: the metrics are public}
   */
  token?: string | undefined;
  /**
   * Whether to serve the metrics of all worker threads of the process that share them,
   * by this option or by `shareMetrics`. Counters, histograms and the numbers of
   * running scopes are summed; foreign metrics are merged by their `aggregator`. The
   * default metrics of the process (`process_*`, under any prefix) are shown once.
   *
   * A worker that does not respond within `timeout` milliseconds delays one scrape by
   * that time. The scrape shows its last known values, and `worker_unresponsive` is
   * counted. Later scrapes do not wait for the worker until it responds again. A scrape
   * waits for at most half of its own timeout. In each worker, a collector may take
   * half of the `timeout`; for a slower one, its last values are shown.
   *
   * If workers share several registries, the first ones are merged, the second ones,
   * and so on, in the order in which they were shared.
   *
   * @default {false; 500 for the `timeout`}
   */
  workers?: boolean | { timeout?: number | undefined } | undefined;
  /**
   * The formats of the response: `"text"` is the Prometheus text format 0.0.4,
   * `"openmetrics"` is OpenMetrics 1.0. The client's `Accept` header chooses among
   * them. A client that accepts none of them gets text, if it is among the formats. The
   * order does not matter.
   *
   * @default {["text", "openmetrics"]}
   */
  formats?: readonly ("text" | "openmetrics")[] | undefined;
  /**
   * The maximum number of scrapes in flight, from when their metrics are collected
   * until their clients have read them. A further scrape waits for at most half of its
   * timeout, and is then answered with 503 and `Retry-After`. While it waits, a response
   * is aborted if its client has read nothing for half a second, or has been reading for
   * more than four seconds. Every response is aborted after two minutes.
   *
   * @default {200}
   */
  maxRequestsInFlight?: number | undefined;
}

const DEFAULT_WORKERS_TIMEOUT_MS = 500;

const DEFAULT_MAX_REQUESTS_IN_FLIGHT = 200;

/** The longest delay of a timer, in milliseconds. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

/** The path that Prometheus scrapes by default. */
export const DEFAULT_PATH = "/metrics";

/** A token that a client can send in a header. */
const TOKEN = /^[\x21-\x7e]+$/;

/** Creates a `metricsHandler` function. */
export function createHandlerFunction(
  source: InstanceSource,
): <A extends unknown[]>(
  options?: MetricsHandlerOptions<A>,
) => (request: Request, ...rest: A) => Promise<Response> {
  return (options = {}) => {
    checkOptions("create a metrics handler", options, HANDLER_OPTION_CHECKS);
    const { registry, path = DEFAULT_PATH, next, token, workers, formats } =
      options;
    const { maxRequestsInFlight = DEFAULT_MAX_REQUESTS_IN_FLIGHT } = options;
    // A registry that is passed twice must not be counted twice.
    const chosen = registry === undefined
      ? undefined
      : [...new Set([registry].flat())];
    const allowed = FORMATS.filter(({ name }) =>
      formats?.includes(name) ?? true
    );
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
        // Reported, but not sent to the client: the error may contain secrets.
        source.instance().issues.report(
          "collector_error",
          `Cannot collect the metrics: ${describeError(error)}`,
        );
        return createTextResponse(500, "Internal Server Error");
      }
    };
  };
}

/**
 * Returns a function that checks the `Authorization` header. It compares digests of the
 * same length, so its duration reveals nothing about the token.
 */
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

/** The check of each option, also for `nodeMetricsHandler`. */
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
  // The path of a request is never equal to any other path.
  if (path === undefined || pathOf(path as string) === path) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must be a URL path such as "/metrics", got ${
      quote(path)
    }`,
  );
}

function checkToken(action: string, name: string, token: unknown): void {
  checkString(action, name, token);
  if (token === undefined || TOKEN.test(token as string)) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must consist of visible ASCII characters, at least one`,
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
    if (FORMATS.some(({ name }) => name === format)) continue;
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
