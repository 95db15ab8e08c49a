import { assertEquals } from "@std/assert";
import { runFixture } from "../support/process.ts";

Deno.test("configure() adds options up, and changes nothing when it throws", async () => {
  assertEquals(
    await runFixture("configured", []),
    `RangeError: Cannot create a histogram: under the default prefix pipelineBuckets must begin with the standard 0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 1, 2.5, 5, which dashboards of other services use: add only larger ones, or set another prefix
RangeError: Cannot create stage metrics: cardinalityLimit must be an integer of at least 1, or Infinity, got 0
TypeError: Cannot create stage metrics: options must be an object, got null
issues: invalid_name
shop_pipeline_duration_seconds_bucket{lane="canary",pipeline_name="unknown",status="success",le="1.0"} 1
shop_pipeline_duration_seconds_bucket{lane="canary",pipeline_name="unknown",status="success",le="60.0"} 1
shop_pipeline_duration_seconds_bucket{lane="canary",pipeline_name="unknown",status="success",le="+Inf"} 1
Error: Cannot configure the default instance: it is already in use, call configure() before the first scope, record or scrape
TypeError: Cannot create stage metrics: lane must be a string, got number
`,
  );
});
