import type { ScrapeRequest } from "../registry/gather.ts";

/** The header by which Prometheus says how long it waits. */
export const SCRAPE_TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds";

/** The longest that a client can have the handler wait, in milliseconds. */
const MAX_TIMEOUT_MS = 60_000;

/** The suffixes by which the names of samples differ from that of their family. */
const SUFFIX = /_(?:bucket|sum|count|total)$/;

/**
 * The characters that end a host in a URL, and white space. No host contains them, and
 * a URL that a server builds from such a host has a path that was not requested.
 */
const NOT_IN_HOST = /[\s/\\?#@]/;

/** Reads the parts of a request that decide which metrics are collected. */
export function readScrapeRequest(
  { url, headers }: Pick<Request, "url" | "headers">,
): ScrapeRequest {
  const names = new URLSearchParams(queryOf(url)).getAll("name[]");
  return {
    patience: readTimeoutMs(headers.get(SCRAPE_TIMEOUT_HEADER)),
    names: names.length === 0 ? undefined : toFamilyNames(names),
  };
}

/**
 * Returns the path that a request asks for.
 *
 * @param url What the server has for its URL: it may be no more than the path, and
 * servers put the header `Host` into it, which clients fill with anything.
 * @returns The path as URLs spell it, or `undefined` if nothing of it makes sense.
 */
export function pathOf(url: string): string | undefined {
  try {
    return new URL(url.startsWith("/") ? `http://localhost${url}` : url)
      .pathname;
  } catch {
    return undefined;
  }
}

/**
 * Returns whether the header `Host` of a request is missing or can be a host. If it is
 * neither, the URL of the request is not to be relied on.
 */
export function hasValidHost({ headers }: Pick<Request, "headers">): boolean {
  return !NOT_IN_HOST.test(headers.get("host") ?? "");
}

/** Returns the query of a URL, or of no more than a path, without the `?`. */
export function queryOf(url: string): string {
  return /\?([^#]*)/.exec(url)?.[1] ?? "";
}

function readTimeoutMs(seconds: string | null): number | undefined {
  if (!/^\d+(?:\.\d+)?$/.test(seconds ?? "")) return undefined;
  const timeoutMs = Math.ceil(Number(seconds) * 500);
  return timeoutMs === 0 ? undefined : Math.min(timeoutMs, MAX_TIMEOUT_MS);
}

/** Returns every name that a family with a sample of one of these names can have. */
function toFamilyNames(names: readonly string[]): ReadonlySet<string> {
  // OpenMetrics names a counter without the `_total` of its samples.
  return new Set(
    names.flatMap((name) => [name, name.replace(SUFFIX, ""), `${name}_total`]),
  );
}
