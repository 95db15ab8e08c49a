/** What only Deno has: its permissions, its errors, its server. */
import { classifyError, createStageMetrics } from "../mod.ts";
import { runFixture } from "./process.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Registry } from "prom-client";

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
