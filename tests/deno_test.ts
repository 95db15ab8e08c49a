/** What only Deno has: its permissions, its errors, its server. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Registry } from "prom-client";
import { classifyError, createStageMetrics } from "../mod.ts";
import { fixtureUrl, runFixture } from "./support/process.ts";
import { startThread } from "./support/threads.ts";

Deno.test("The library runs with no permission at all: without a prompt, and without a warning", async () => {
  assertEquals(
    await runFixture("print_lane", [], { LUKHAS_LANE: "canary" }),
    "production\n",
  );
});

Deno.test("The lane is production where the environment cannot be read", () => {
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

Deno.test("classifyError() reads Deno.errors.TimedOut as a timeout", () => {
  assertEquals(classifyError(new Deno.errors.TimedOut("Too late")), "timeout");
});

Deno.test("A deadline's error that nobody handles is an unhandled rejection, as that of any promise", async () => {
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

Deno.test("metricsHandler() serves over HTTP, from Deno.serve", async () => {
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
  // Deno's fetch asks for gzip, and unpacks it.
  const response = await fetch(`${url}/metrics`);
  assertStringIncludes(
    await response.text(),
    'pipeline_total{lane="test",pipeline_name="p",status="success"} 1',
  );
  assertEquals((await fetch(url, { method: "HEAD" })).status, 200);
});

/** Has a Web worker count a run, leave one open and end, and awaits what is told. */
async function assertToldAfter(
  end: string,
  expected: { total: string; running: string },
): Promise<void> {
  await using thread = await startThread({ timeout: 1000 });
  const worker = new Worker(fixtureUrl("web_worker").href, { type: "module" });
  // Else this process would end with it.
  worker.onerror = (event) => event.preventDefault();
  await new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(end);
  let told = {};
  // Nobody can say when it has ended.
  for (let tries = 0; tries < 100; tries++) {
    const text = await thread.tell("scrape");
    const valueOf = (series: string) =>
      text.match(`lukhas_orchestration_${series}} (.*)`)?.[1];
    const labels = '{lane="test",pipeline_name="p"';
    told = {
      total: valueOf(`pipeline_total${labels},status="failure"`),
      running: valueOf(`pipeline_in_progress${labels}`),
    };
    if (JSON.stringify(told) === JSON.stringify(expected)) break;
  }
  worker.terminate();
  assertEquals(told, expected);
}

for (const end of ["an error", "a rejection", "Deno.exit"]) {
  Deno.test(`A Web worker that ends by ${end} leaves its counts, and takes its gauges`, async () => {
    await assertToldAfter(end, { total: "1", running: "0" });
  });
}

Deno.test("A Web worker that handles an error lives on", async () => {
  const end = "an error that it handles";
  await assertToldAfter(end, { total: "1", running: "1" });
});

Deno.test("metricsHandler() does not read the signal of a request, for which Deno.serve prints a warning", async () => {
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
