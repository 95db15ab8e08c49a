/**
 * The path that a request asks for.
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
