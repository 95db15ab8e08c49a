/** Tests behaviour that only Deno has: permissions, errors, its server, Web workers. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Registry } from "prom-client";
import { classifyError, createStageMetrics } from "../mod.ts";
import { fixtureUrl, runFixture } from "./support/process.ts";
import { startThread } from "./support/threads.ts";

Deno.test("pipeline() runs without permissions, a prompt or a warning", async () => {
  assertEquals(
    await runFixture("print_lane", [], { LUKHAS_LANE: "canary" }),
    "production\n",
  );
});

Deno.test("pipeline() has the lane production when the environment is unreadable", () => {
  const { querySync } = Deno.permissions;
  try {
    Deno.permissions.querySync = () => {
      throw new TypeError("Only looks like Deno");
    };
    const { pipeline } = createStageMetrics({ registry: new Registry() });
    assertEquals(pipeline("p", ({ lane }) => lane), "production");
  } finally {
    Deno.permissions.querySync = querySync;
  }
});

Deno.test("classifyError() classifies Deno.errors.TimedOut as timeout", () => {
  assertEquals(classifyError(new Deno.errors.TimedOut("Too late")), "timeout");
});

Deno.test("pipeline() leaves an unhandled TimeoutError an unhandled rejection", async () => {
  const { pipeline } = createStageMetrics({ registry: new Registry() });
  const { promise, resolve } = Promise.withResolvers<unknown>();
  const onUnhandled = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    resolve(event.reason);
  };
  addEventListener("unhandledrejection", onUnhandled, { once: true });
  pipeline("p", { timeout: 1 }, () => new Promise(() => {}));
  assertEquals((await promise as Error).name, "TimeoutError");
});

Deno.test("metricsHandler() serves over HTTP with Deno.serve", async () => {
  const { metricsHandler, pipeline } = createStageMetrics({
    registry: new Registry(),
    lane: "test",
  });
  const handler = metricsHandler({
    next: (request, info: Deno.ServeHandlerInfo) =>
      pipeline("p", () => new Response(`${request.method} ${info.remoteAddr}`)),
  });
  await using server = Deno.serve({ port: 0, onListen() {} }, handler);
  const url = `http://localhost:${(server.addr as Deno.NetAddr).port}`;
  await (await fetch(url)).text();
  // Deno's fetch accepts gzip, and decompresses it.
  const response = await fetch(`${url}/metrics`);
  assertStringIncludes(
    await response.text(),
    'pipeline_total{lane="test",pipeline_name="p",status="success"} 1',
  );
  assertEquals((await fetch(url, { method: "HEAD" })).status, 200);
});

/** Asserts the counts after a Web worker has counted a run, left one open and ended. */
async function assertCountsAfter(
  end: string,
  expected: { total: string; running: string },
): Promise<void> {
  await using thread = await startThread({ timeout: 1000 });
  const worker = new Worker(fixtureUrl("web_worker").href, { type: "module" });
  // An unhandled error of the worker would end this process.
  worker.onerror = (event) => event.preventDefault();
  await new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(end);
  let counts = {};
  // There is no event for the end of a worker.
  for (let tries = 0; tries < 100; tries++) {
    const text = await thread.call("scrape");
    const valueOf = (series: string) =>
      text.match(`lukhas_orchestration_${series}} (.*)`)?.[1];
    const labels = '{lane="test",pipeline_name="p"';
    counts = {
      total: valueOf(`pipeline_total${labels},status="failure"`),
      running: valueOf(`pipeline_in_progress${labels}`),
    };
    if (JSON.stringify(counts) === JSON.stringify(expected)) break;
  }
  worker.terminate();
  assertEquals(counts, expected);
}

for (const end of ["an error", "a rejection", "Deno.exit"]) {
  Deno.test(`shareMetrics() keeps the counts of a Web worker that ends by ${end}`, async () => {
    await assertCountsAfter(end, { total: "1", running: "0" });
  });
}

Deno.test("shareMetrics() keeps the gauges of a Web worker that handles an error", async () => {
  const end = "an error that it handles";
  await assertCountsAfter(end, { total: "1", running: "1" });
});

Deno.test("metricsHandler() does not read request.signal, so Deno.serve prints no warning", async () => {
  const { metricsHandler } = createStageMetrics({ registry: new Registry() });
  const request = new Request("http://localhost/metrics");
  Object.defineProperty(request, "signal", {
    get() {
      throw new Error("It prints a warning");
    },
  });
  const response = await metricsHandler()(request);
  assertEquals(response.status, 200);
  await response.body?.cancel();
});
