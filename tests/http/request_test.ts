import { assertEquals } from "@std/assert";
import { readScrapeRequest } from "../../src/http/request.ts";

function read(query: string, timeout?: string) {
  const headers = new Headers();
  if (timeout !== undefined) {
    headers.set("X-Prometheus-Scrape-Timeout-Seconds", timeout);
  }
  return readScrapeRequest({
    url: `http://localhost/metrics${query}`,
    headers,
  });
}

Deno.test("readScrapeRequest() reads half of the scrape timeout, in milliseconds", () => {
  const timeouts: [string | undefined, number | undefined][] = [
    ["10", 5_000],
    ["3", 1_500],
    ["60.000000", 30_000],
    ["0.25", 125],
    ["0.0001", 1],
    ["119.9", 59_950],
    ["121", 60_000],
    ["9".repeat(400), 60_000],
    [undefined, undefined],
    ["", undefined],
    ["0", undefined],
    ["0.000", undefined],
    ["-1", undefined],
    ["10s", undefined],
    ["1e3", undefined],
    ["0x10", undefined],
    ["NaN", undefined],
    ["Infinity", undefined],
    ["10, 10", undefined],
    ["1.", undefined],
  ];
  for (const [timeout, timeoutMs] of timeouts) {
    assertEquals(read("", timeout).timeoutMs, timeoutMs, timeout);
  }
});

Deno.test("readScrapeRequest() reads the family names of the requested samples", () => {
  const names = (query: string) => {
    const { names } = read(query);
    return names && [...names].sort();
  };
  for (const query of ["", "?", "?name=a", "?collect[]=a", "?Name[]=a"]) {
    assertEquals(names(query), undefined, query);
  }
  assertEquals(names("?name[]=a"), ["a", "a_total"]);
  assertEquals(names("?name%5B%5D=a&x=y#name[]=b"), ["a", "a_total"]);
  assertEquals(
    names("?name[]=a_bucket&name%5b%5D=b_total&name[]=a_sum"),
    ["a", "a_bucket", "a_bucket_total", "a_sum", "a_sum_total", "b"]
      .concat("b_total", "b_total_total"),
  );
});

Deno.test("readScrapeRequest() reads a URL that is only a path", () => {
  const headers = new Headers();
  const { names } = readScrapeRequest({
    url: "/m?name[]=%zz&name[]=",
    headers,
  });
  assertEquals(names?.has("%zz"), true);
  assertEquals(names?.has(""), true);
});
