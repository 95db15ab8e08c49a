/** Tests the metrics of a process with a malicious worker without permissions. */
import { assert, assertEquals } from "@std/assert";
import { runFixture } from "../support/process.ts";
import { parseSamples } from "../support/samples.ts";
import { hasParser, hasPromtool, parse, pipeThrough } from "./parsers.ts";

/** The limit of memory for messages and their effects. */
const MAX_GROWTH_BYTES = 640 * 2 ** 20;

Deno.test("metricsHandler() withstands a malicious Deno worker", async () => {
  const printed = await runFixture("attacked", [
    "--allow-all",
    "--unstable-worker-options",
  ]);
  const { ready, text, openMetrics, growth } = JSON.parse(printed);
  assertEquals(ready, { isWithoutPermissions: true });
  const samples = parseSamples(text, /./);
  const totals = Object.entries(samples)
    .filter(([series]) => /^(?:pipeline_total|their|raw)/.test(series));
  const seriesOf = (name: string) =>
    `pipeline_total{lane="test",pipeline_name="${name}",status="success"}`;
  assertEquals(Object.fromEntries(totals), {
    [seriesOf("own")]: 4,
    // Claims of a sender's own counts are trusted.
    [seriesOf("million")]: 1_000_000,
    [seriesOf("falls")]: 9,
    [seriesOf("last")]: 1,
    their_total: 5,
    their_other_total: 6,
  });
  assertEquals(text.match(/^their_total /gm)?.length, 1);
  const buckets = text.match(/pipeline_duration\w+_bucket\{.*"own".*\} 4$/gm);
  assertEquals(buckets?.length, 12, text);
  const refused = 'instrumentation_issues_total{issue="invalid_message"}';
  assert(samples[refused]! > 50, `${samples[refused]}`);
  assert(growth < MAX_GROWTH_BYTES, `${growth}`);
  if (hasParser) {
    await parse("text", text);
    await parse("openmetrics", openMetrics);
  }
  if (hasPromtool) await pipeThrough("promtool", ["check", "metrics"], text);
});
