/** Tests the names of families in OpenMetrics. */
import { assertEquals } from "@std/assert";
import { nameForOpenMetrics } from "../../src/exposition/open_metrics_names.ts";

/** Returns the names and types in OpenMetrics of families given as "name type". */
function names(...families: string[]): string[] {
  const given = families.map((each) => {
    const [name = "", type = ""] = each.split(" ");
    return { name, type };
  });
  const named = nameForOpenMetrics(given);
  return given.map((family) => {
    const shown = named.get(family);
    return shown === undefined ? "left out" : `${shown.name} ${shown.type}`;
  });
}

Deno.test("nameForOpenMetrics() names each type", () => {
  assertEquals(
    names(
      "a_total counter",
      "b counter",
      "c gauge",
      "d histogram",
      "e summary",
    ),
    ["a counter", "b unknown", "c gauge", "d histogram", "e summary"],
  );
  assertEquals(names("f untyped", "g info"), ["f unknown", "g unknown"]);
  assertEquals(names("_total counter", "_total_total counter"), [
    "_total unknown",
    "_total_total unknown",
  ]);
});

Deno.test("nameForOpenMetrics() keeps the full name of a counter if the short one is taken", () => {
  const full = "jobs_total unknown";
  assertEquals(names("jobs gauge", "jobs_total counter"), ["jobs gauge", full]);
  assertEquals(names("jobs_total counter", "jobs gauge"), [full, "jobs gauge"]);
  assertEquals(names("jobs_total counter", "jobs histogram"), [
    full,
    "jobs histogram",
  ]);
  assertEquals(names("jobs_total counter", "jobs_created gauge"), [
    full,
    "jobs_created gauge",
  ]);
  assertEquals(names("a_total counter", "a_created_total counter"), [
    "a counter",
    "a_created_total unknown",
  ]);
});

Deno.test("nameForOpenMetrics() leaves out families with sample names of another family", () => {
  for (const suffix of ["bucket", "count", "sum", "created"]) {
    assertEquals(names("x histogram", `x_${suffix} gauge`), [
      "x histogram",
      "left out",
    ]);
  }
  assertEquals(names("x_count gauge", "x summary"), [
    "x_count gauge",
    "left out",
  ]);
  assertEquals(names("x gauge", "x_info gauge", "x_bucket gauge"), [
    "x gauge",
    "x_info gauge",
    "x_bucket gauge",
  ]);
});
