import { assertEquals, assertThrows } from "@std/assert";
import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../../mod.ts";
import { checkBuckets, checkExtends } from "../../src/registry/buckets.ts";

Deno.test("PIPELINE_BUCKETS and STAGE_BUCKETS equal the bounds of the Python fleet", () => {
  assertEquals(
    [...PIPELINE_BUCKETS],
    [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1, 2.5, 5],
  );
  assertEquals(
    [...STAGE_BUCKETS],
    [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1],
  );
});

Deno.test("PIPELINE_BUCKETS and STAGE_BUCKETS cannot be changed", () => {
  assertThrows(() => (PIPELINE_BUCKETS as number[]).push(10), TypeError);
  assertThrows(() => (STAGE_BUCKETS as number[])[0] = 10, TypeError);
});

Deno.test("checkBuckets() throws unless buckets are increasing finite numbers", () => {
  const check = (buckets: unknown) => () =>
    checkBuckets("stageBuckets", buckets as number[]);
  assertThrows(check("1"), TypeError, "stageBuckets must be an array");
  assertThrows(check([1, "2"]), TypeError, "must be an array of numbers");
  assertThrows(check([]), RangeError, "must not be empty");
  assertThrows(check([1, Infinity]), RangeError, "must be finite");
  assertThrows(check([NaN]), RangeError, "must be finite, got NaN");
  assertThrows(check([1, 0.5]), RangeError, "must increase, got 0.5 after 1");
  assertThrows(check([1, 1]), RangeError, "must increase, got 1 after 1");
  assertThrows(check([-1, 0]), RangeError, "must not be negative, got -1");
  check([0, 1])();
});

Deno.test("checkExtends() throws unless buckets begin with the standard buckets", () => {
  const check = (buckets: number[]) => () =>
    checkExtends("stageBuckets", buckets, STAGE_BUCKETS);
  check([...STAGE_BUCKETS])();
  check([...STAGE_BUCKETS, 10, 60])();
  assertThrows(check([0.0001, ...STAGE_BUCKETS]), RangeError, "begin with");
  assertThrows(check([0.001, 0.005]), RangeError, "set another prefix");
});
