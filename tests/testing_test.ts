import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Gauge, Registry } from "prom-client";
import {
  currentPipeline,
  metricsHandler,
  pipeline,
  recordPipelineMetrics,
  stage,
} from "../mod.ts";
import { captureMetrics, manualClock, sampleValue } from "../src/testing.ts";
import { pipelineTotal, samplesOf, stageTotal } from "./support/samples.ts";

Deno.test("captureMetrics() returns the value of its function, and rethrows", async () => {
  assertEquals(captureMetrics(() => 1), 1);
  assertEquals(await captureMetrics(() => Promise.resolve(2)), 2);
  assertEquals(captureMetrics({ lane: "test" }, () => 3), 3);
  assertThrows(
    () =>
      captureMetrics(() => {
        throw new RangeError("Mine");
      }),
    RangeError,
    "Mine",
  );
  await assertRejects(
    () => captureMetrics(() => Promise.reject(new RangeError("Mine"))),
    RangeError,
    "Mine",
  );
  assertThrows(
    () => captureMetrics({ lane: 1 as unknown as string }, () => {}),
    TypeError,
    "lane must be a string",
  );
});

Deno.test("captureMetrics() keeps concurrent and enclosing code apart", async () => {
  const options = { lane: "test", onIssue() {} };
  await captureMetrics(options, async (outer) => {
    await pipeline("outer", async () => {
      await Promise.all(
        ["a", "b"].map((name) =>
          captureMetrics(options, async (inner) => {
            assertEquals(currentPipeline(), undefined);
            await pipeline(name, () => stage("s", () => Promise.resolve()));
            recordPipelineMetrics({
              pipelineName: name,
              durationSec: 1,
              status: "timeout",
            });
            assertEquals(await samplesOf(inner), {
              [pipelineTotal(name, "success")]: 1,
              [pipelineTotal(name, "timeout")]: 1,
              [stageTotal(name, "s", "success")]: 1,
            });
          })
        ),
      );
    });
    assertEquals(await samplesOf(outer), {
      [pipelineTotal("outer", "success")]: 1,
    });
  });
});

Deno.test("captureMetrics() does not change the default registry", async () => {
  await captureMetrics(() => pipeline("only captured", () => {}));
  const response = await metricsHandler()(new Request("http://localhost/"));
  assertEquals((await response.text()).includes("only captured"), false);
});

Deno.test("sampleValue() finds a sample by its name and all labels", async () => {
  const registry = new Registry();
  const gauge = new Gauge({
    name: "g",
    help: "Help",
    labelNames: ["a", "b"],
    registers: [registry],
  });
  gauge.set({ a: "1", b: 2 }, 3);
  assertEquals(await sampleValue(registry, "g", { b: "2", a: "1" }), 3);
  assertEquals(await sampleValue(registry, "g", { a: "1" }), undefined);
  assertEquals(await sampleValue(registry, "g"), undefined);
  assertEquals(await sampleValue(registry, "g", { a: "1", b: "3" }), undefined);
  assertEquals(
    await sampleValue(registry, "g", { a: "1", b: "2", c: "3" }),
    undefined,
  );
  assertEquals(await sampleValue(registry, "h", { a: "1", b: "2" }), undefined);
});

Deno.test("manualClock() changes only by advance()", () => {
  const clock = manualClock();
  assertEquals(clock(), 0);
  clock.advance(1.5);
  clock.advance(0.25);
  assertEquals(clock(), 1.75);
  assertEquals(clock(), 1.75);
});
