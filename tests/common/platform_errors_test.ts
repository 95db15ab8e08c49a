/** Tests `classifyError` with real errors of the platform. */
import { assertEquals, assertIsError } from "@std/assert";
import { execFile, execFileSync } from "node:child_process";
import { createServer, get, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Agent, request } from "undici";
import { classifyError, pipeline, stage } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { samplesOf, stageTotal } from "../support/samples.ts";

/** Starts a server that never responds, or never ends its response. */
async function serveUnresponsive(sent: "nothing" | "half") {
  const server: Server = createServer((_request, response) => {
    if (sent === "half") response.write("half of it");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Returns the error of a failing function. */
async function errorOf(fn: () => Promise<unknown>): Promise<Error> {
  const error = await fn().then(() => undefined, (error) => error);
  assertIsError(error);
  return error;
}

Deno.test("classifyError() returns timeout for a fetch without a response", async () => {
  await using server = await serveUnresponsive("nothing");
  const signal = AbortSignal.timeout(20);
  const error = await errorOf(() => fetch(server.url, { signal }));
  assertEquals([error.name, classifyError(error)], ["TimeoutError", "timeout"]);
});

Deno.test("classifyError() returns timeout for a fetch whose body never ends", async () => {
  await using server = await serveUnresponsive("half");
  const signal = AbortSignal.timeout(50);
  const response = await fetch(server.url, { signal });
  const error = await errorOf(() => response.text());
  assertEquals([error.name, classifyError(error)], ["TimeoutError", "timeout"]);
});

Deno.test("classifyError() returns failure for a fetch aborted by its caller", async () => {
  await using server = await serveUnresponsive("nothing");
  const controller = new AbortController();
  const error = await errorOf(() => {
    const response = fetch(server.url, { signal: controller.signal });
    controller.abort();
    return response;
  });
  assertEquals([error.name, classifyError(error)], ["AbortError", "failure"]);
});

Deno.test("classifyError() returns failure for a refused connection", async () => {
  let closed: string;
  {
    await using server = await serveUnresponsive("nothing");
    closed = server.url;
  }
  assertEquals(classifyError(await errorOf(() => fetch(closed))), "failure");
});

Deno.test("classifyError() returns timeout for undici's own timeouts", async () => {
  for (
    const [answer, options, code] of [
      ["nothing", { headersTimeout: 20 }, "UND_ERR_HEADERS_TIMEOUT"],
      ["half", { bodyTimeout: 20 }, "UND_ERR_BODY_TIMEOUT"],
    ] as const
  ) {
    await using server = await serveUnresponsive(answer);
    const dispatcher = new Agent();
    const error = await errorOf(async () => {
      const { body } = await request(server.url, { dispatcher, ...options });
      await body.text();
    });
    await dispatcher.destroy();
    assertEquals((error as Error & { code?: string }).code, code);
    assertEquals(classifyError(error), "timeout");
    assertEquals(
      classifyError(new TypeError("fetch failed", { cause: error })),
      "timeout",
      "as the fetch of Node wraps it",
    );
  }
});

Deno.test("classifyError() returns timeout for node:http's timeout, not for an abort", async () => {
  await using server = await serveUnresponsive("nothing");
  const failWith = (signal: AbortSignal) =>
    errorOf(() =>
      new Promise((resolve, reject) => {
        get(server.url, { signal }, resolve).on("error", reject);
      })
    );
  const late = await failWith(AbortSignal.timeout(20));
  // The timeout is the cause of the abort.
  assertEquals([late.name, classifyError(late)], ["AbortError", "timeout"]);
  const controller = new AbortController();
  setTimeout(() => controller.abort());
  const aborted = await failWith(controller.signal);
  assertEquals([aborted.name, classifyError(aborted)], [
    "AbortError",
    "failure",
  ]);
});

Deno.test("classifyError() reads all errors of a rejected Promise.any()", async () => {
  await using server = await serveUnresponsive("nothing");
  const late = () => fetch(server.url, { signal: AbortSignal.timeout(20) });
  const all = await errorOf(() => Promise.any([late(), late()]));
  assertEquals([all.name, classifyError(all)], ["AggregateError", "timeout"]);
  const some = await errorOf(() =>
    Promise.any([late(), Promise.reject(new Error("No"))])
  );
  assertEquals([some.name, classifyError(some)], ["AggregateError", "failure"]);
});

Deno.test("classifyError() reads both errors of a SuppressedError", async () => {
  const late = new DOMException("Too late", "TimeoutError");
  const errorOfUsing = (code: Error, disposal: Error) =>
    // deno-lint-ignore require-await
    errorOf(async () => {
      using _ = {
        [Symbol.dispose]() {
          throw disposal;
        },
      };
      throw code;
    });
  const other = new Error("Other");
  for (const [code, disposal] of [[late, other], [other, late]]) {
    const error = await errorOfUsing(code!, disposal!);
    assertEquals([error.name, classifyError(error)], [
      "SuppressedError",
      "timeout",
    ]);
  }
  assertEquals(classifyError(await errorOfUsing(other, other)), "failure");
});

Deno.test("classifyError() reads the timeout of a child process if Node reports it", async () => {
  const late = await errorOf(() =>
    Promise.resolve().then(() => execFileSync("sleep", ["60"], { timeout: 20 }))
  );
  assertEquals(classifyError(late), "timeout");
  const run = (options: { timeout?: number; signal?: AbortSignal }) =>
    errorOf(() =>
      new Promise((resolve, reject) =>
        execFile(
          "sleep",
          ["60"],
          options,
          (error) => error ? reject(error) : resolve(undefined),
        )
      )
    );
  const aborted = await run({ signal: AbortSignal.timeout(20) });
  assertEquals(classifyError(aborted), "timeout");
  // This error is the same as after `kill()`.
  const killed = await run({ timeout: 20 });
  assertEquals(classifyError(killed), "failure");
});

Deno.test("stage() aborts a fetch without a response after its timeout", async () => {
  await using server = await serveUnresponsive("nothing");
  await captureMetrics({ lane: "test" }, async (metrics) => {
    let fetched: Promise<unknown> | undefined;
    await pipeline("p", async () => {
      const error = await errorOf(() =>
        stage("s", { timeout: 20 }, ({ signal }) => {
          return fetched = fetch(server.url, { signal });
        })
      );
      // The request was aborted with the error that the caller received.
      assertEquals(await errorOf(() => fetched!), error);
    });
    const samples = await samplesOf(metrics);
    assertEquals(samples[stageTotal("p", "s", "timeout")], 1);
  });
});
