import { assertEquals } from "@std/assert";
import { formatBound, formatValue } from "../../src/exposition/numbers.ts";

Deno.test("formatBound() spells numbers as the Python client does", () => {
  // The results of prometheus_client.utils.floatToGoString.
  const spelled: [number, string][] = [
    [0, "0.0"],
    [0.000001, "1e-06"],
    [0.0000125, "1.25e-05"],
    [0.0001, "0.0001"],
    [0.001, "0.001"],
    [0.25, "0.25"],
    [1, "1.0"],
    [2.5, "2.5"],
    [5, "5.0"],
    [100, "100.0"],
    [123456, "123456.0"],
    [1000000, "1e+06"],
    [1234567, "1.234567e+06"],
    [-1, "-1.0"],
    [Infinity, "+Inf"],
    [-Infinity, "-Inf"],
    [NaN, "NaN"],
  ];
  for (const [value, text] of spelled) assertEquals(formatBound(value), text);
});

Deno.test("formatValue() spells numbers so that Prometheus reads the same values", () => {
  const spelled: [number, string][] = [
    [0, "0"],
    [1, "1"],
    [0.1 + 0.2, "0.30000000000000004"],
    [1e21, "1e+21"],
    [5e-324, "5e-324"],
    [Infinity, "+Inf"],
    [-Infinity, "-Inf"],
    [NaN, "NaN"],
  ];
  for (const [value, text] of spelled) assertEquals(formatValue(value), text);
});
