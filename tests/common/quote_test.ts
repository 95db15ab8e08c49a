/** Tests foreign text in messages. */
import { assertEquals } from "@std/assert";
import { excerpt, quote } from "../../src/common/quote.ts";

Deno.test("quote() escapes quotes and unprintable characters", () => {
  assertEquals(quote("plain name"), '"plain name"');
  assertEquals(quote('a "b" \\'), '"a \\"b\\" \\\\"');
  assertEquals(
    quote("\0\n\r\t\u001b\u007f\u0085\u009b"),
    '"\\u0000\\n\\r\\t\\u001b\\u007f\\u0085\\u009b"',
  );
  assertEquals(quote("\u2028\u2029\u202e"), '"\\u2028\\u2029\\u202e"');
  assertEquals(quote("\ufeff\u200f\u2066"), '"\\ufeff\\u200f\\u2066"');
  assertEquals(quote("\ud83d x \udc00"), '"\\ud83d x \\udc00"');
  assertEquals(quote("ü 👩‍🚀 é"), '"ü 👩‍🚀 é"');
});

Deno.test("quote() accepts values of any type", () => {
  assertEquals(quote(undefined), '"undefined"');
  assertEquals(quote(5n), '"5"');
  assertEquals(quote(Symbol("\n")), '"Symbol(\\n)"');
  const value = {
    toString() {
      throw new Error("Not to be called");
    },
  };
  assertEquals(quote(value), "object");
  assertEquals(quote(() => {}), "function");
});

Deno.test("quote() and excerpt() cut at 200 characters", () => {
  assertEquals(quote("x".repeat(200)), `"${"x".repeat(200)}"`);
  assertEquals(quote("x".repeat(201)), `"${"x".repeat(200)}…"`);
  assertEquals(excerpt("y".repeat(5e6)), `${"y".repeat(200)}…`);
  assertEquals(excerpt('a "b"\n'), 'a "b"\\n');
});
