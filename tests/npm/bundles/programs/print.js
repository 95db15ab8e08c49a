/**
 * Prints expositions as JSON.
 *
 * @module
 */

/** Returns the exposition that a handler serves. */
export async function scrape(serve) {
  const response = await serve(new Request("http://localhost/metrics"));
  return await response.text();
}

/** Prints the expositions that handlers serve now, by their names. */
export async function printMetrics(handlers) {
  const texts = {};
  for (const [name, serve] of Object.entries(handlers)) {
    texts[name] = await scrape(serve);
  }
  console.log(JSON.stringify(texts));
}
