/** Tests metrics whose names clash in OpenMetrics. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { createClashes } from "../support/clashes.ts";

Deno.test("metricsHandler() renames clashing metrics, or leaves them out with an issue", async () => {
  const { scrape, messages } = createClashes();
  const text = await scrape("text/plain");
  assertStringIncludes(text, "# TYPE jobs_total counter\njobs_total 2\n");
  assertStringIncludes(text, "# TYPE x_count gauge\nx_count 4\n");
  const openMetrics = await scrape("application/openmetrics-text");
  assertStringIncludes(
    openMetrics,
    "# TYPE jobs_total unknown\n# HELP jobs_total Help\njobs_total 2\n",
  );
  assertStringIncludes(
    openMetrics,
    "# TYPE _total unknown\n# HELP _total Help\n_total 8\n",
  );
  assertEquals(openMetrics.match(/^(?:x_count|x_info|y_created) .*$/gm), [
    "x_count 1",
    "x_info 7",
  ]);
  assertEquals(
    messages.map((message) =>
      /^Metric "\w+" was left out of/.exec(message)?.[0]
    ),
    [
      'Metric "x_count" was left out of',
      'Metric "y_created" was left out of',
      'Metric "x_count" was left out of',
      'Metric "y_created" was left out of',
    ],
  );
});
