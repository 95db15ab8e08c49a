import type { GatherRequest } from "../registry/gather.ts";

/** The header in which Prometheus sends its scrape timeout, in seconds. */
export const SCRAPE_TIMEOUT_HEADER = "X-Prometheus-Scrape-Timeout-Seconds";

/** The longest time that a client can make the handler wait, in milliseconds. */
const MAX_TIMEOUT_MS = 60_000;

/** The suffixes that samples add to the name of their family. */
const SUFFIX = /_(?:bucket|sum|count|total)$/;

/**
 * The characters that no host contains: white space, and the characters that end a host
 * in a URL. A server that builds a URL from such a `Host` header gets a wrong path.
 */
const NOT_IN_HOST = /[\s/\\?#@]/;

/** Reads the scrape timeout and the requested names of a request. */
export function readScrapeRequest(
  { url, headers }: Pick<Request, "url" | "headers">,
): GatherRequest {
  const names = new URLSearchParams(queryOf(url)).getAll("name[]");
  return {
    timeoutMs: readTimeoutMs(headers.get(SCRAPE_TIMEOUT_HEADER)),
    names: names.length === 0 ? undefined : toFamilyNames(names),
  };
}

/**
 * Returns the path of a request.
 *
 * @param url The URL, or only the path. Servers build it from the `Host` header, which
 * may be invalid.
 * @returns The path as `URL` normalizes it, or `undefined` if the URL is invalid.
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
 * Returns whether the `Host` header of a request is missing or valid. With an invalid
 * one, the path in the request's URL may be wrong.
 */
export function hasValidHost({ headers }: Pick<Request, "headers">): boolean {
  return !NOT_IN_HOST.test(headers.get("host") ?? "");
}

/** Returns the query of a URL or a path, without the `?`. */
export function queryOf(url: string): string {
  return /\?([^#]*)/.exec(url)?.[1] ?? "";
}

/** Returns half of a scrape timeout, in milliseconds, if it is valid. */
function readTimeoutMs(seconds: string | null): number | undefined {
  if (!/^\d+(?:\.\d+)?$/.test(seconds ?? "")) return undefined;
  const timeoutMs = Math.ceil(Number(seconds) * 500);
  return timeoutMs === 0 ? undefined : Math.min(timeoutMs, MAX_TIMEOUT_MS);
}

/** Returns the names of all families that can have a sample with one of the names. */
function toFamilyNames(names: readonly string[]): ReadonlySet<string> {
  // OpenMetrics names a counter without the `_total` of its samples.
  return new Set(
    names.flatMap((name) => [name, name.replace(SUFFIX, ""), `${name}_total`]),
  );
}
