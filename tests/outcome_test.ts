import { classifyError } from "../mod.ts";
import { assertEquals } from "@std/assert";

const timeout = new DOMException("Signal timed out", "TimeoutError");

Deno.test("classifyError() reads the error of AbortSignal.timeout() as a timeout", async () => {
  const signal = AbortSignal.timeout(1);
  await new Promise((resolve) => signal.addEventListener("abort", resolve));
  assertEquals(classifyError(signal.reason), "timeout");
});

Deno.test("classifyError() reads a plain cancellation as a failure", () => {
  assertEquals(classifyError(AbortSignal.abort().reason), "failure");
});

Deno.test("classifyError() reads an AbortError as a timeout if its reason or cause is one", () => {
  const abort = (more: object) =>
    Object.assign(new Error("Aborted"), { name: "AbortError" }, more);
  assertEquals(classifyError(abort({ reason: timeout })), "timeout");
  assertEquals(classifyError(abort({ cause: timeout })), "timeout");
  assertEquals(classifyError(abort({ reason: new Error("Bye") })), "failure");
  assertEquals(
    classifyError(Object.assign(new Error("Odd"), { reason: timeout })),
    "failure",
    "only of an AbortError does a reason count",
  );
});

Deno.test("classifyError() reads names that end in TimeoutError as timeouts", () => {
  class QueryTimeoutError extends Error {
    override name = "QueryTimeoutError";
  }
  assertEquals(classifyError(new QueryTimeoutError()), "timeout");
  assertEquals(classifyError({ name: "TimeoutError" }), "timeout");
  assertEquals(classifyError({ name: "TimeoutErrorHandler" }), "failure");
});

Deno.test("classifyError() reads the well-known codes as timeouts", () => {
  for (
    const code of [
      "ETIMEDOUT",
      "ESOCKETTIMEDOUT",
      "UND_ERR_CONNECT_TIMEOUT",
      "UND_ERR_HEADERS_TIMEOUT",
      "UND_ERR_BODY_TIMEOUT",
    ]
  ) {
    assertEquals(
      classifyError(Object.assign(new Error(), { code })),
      "timeout",
      code,
    );
  }
  for (const code of ["ECONNRESET", "UND_ERR_ABORTED", "XETIMEDOUT", 110]) {
    assertEquals(
      classifyError(Object.assign(new Error(), { code })),
      "failure",
      String(code),
    );
  }
});

Deno.test("classifyError() follows causes, bounded and safe from cycles", () => {
  const wrap = (error: unknown, times: number): unknown =>
    times === 0 ? error : new Error("Outer", { cause: wrap(error, times - 1) });
  assertEquals(classifyError(wrap(timeout, 15)), "timeout");
  assertEquals(classifyError(wrap(timeout, 16)), "failure");

  const a = new Error("a");
  const b = new Error("b", { cause: a });
  a.cause = b;
  assertEquals(classifyError(a), "failure");
});

Deno.test("classifyError() reads each error once, however often it is found", () => {
  let reads = 0;
  let error: unknown = new DOMException("Too late", "TimeoutError");
  for (let i = 0; i < 15; i++) {
    const errors = Array(10).fill(error);
    error = {
      get name() {
        reads++;
        return "AggregateError";
      },
      errors,
    };
  }
  assertEquals(classifyError(error), "timeout");
  assertEquals(reads, 15);
});

Deno.test("classifyError() reads an AggregateError as a timeout if all of its errors are", async () => {
  const all = await Promise.any([
    Promise.reject(timeout),
    Promise.reject(new Error("Outer", { cause: timeout })),
  ]).catch((error) => error);
  assertEquals(classifyError(all), "timeout");
  assertEquals(
    classifyError(new AggregateError([timeout, new Error("Other")])),
    "failure",
  );
  assertEquals(classifyError(new AggregateError([])), "failure");

  const cyclic = new AggregateError([]);
  cyclic.errors.push(cyclic, cyclic, timeout);
  assertEquals(classifyError(cyclic), "failure");
});

Deno.test("classifyError() reads everything that is no error as a failure", () => {
  const hostile = new Proxy({}, {
    get() {
      throw new Error("Not to be touched");
    },
  });
  for (
    const value of [undefined, null, 0, "TimeoutError", Symbol("x"), hostile]
  ) {
    assertEquals(classifyError(value), "failure");
  }
  assertEquals(classifyError(Object.freeze({ cause: timeout })), "timeout");
});
