import { assertEquals } from "@std/assert";
import {
  collectDefaultMetrics,
  Counter,
  Gauge,
  Histogram,
  Registry,
  Summary,
} from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { createClashes } from "../support/clashes.ts";
import { CHANGED_NAMES, UNCHANGED_NAMES } from "../support/malicious_names.ts";
import { createSdk } from "../support/sdk.ts";
import { hasParser, hasPromtool, parse, pipeThrough } from "./parsers.ts";

/** Returns the value of each series. */
function flatten(
  samples: Iterable<readonly [string, object, number]>,
): Map<string, number> {
  return new Map([...samples].map(([name, labels, value]) => {
    const pairs = Object.entries(labels).map(([key, label]) => // Prometheus compares `le` and `quantile` as numbers.
    [key, key === "le" || key === "quantile" ? Number(label) : String(label)]);
    return [JSON.stringify([name, pairs.sort()]), value];
  }));
}

/** Records own metrics with malicious labels, and registers foreign ones of each type. */
function fill(registry: Registry) {
  const metrics = createStageMetrics({ registry, onIssue() {} });
  for (
    const name of [...UNCHANGED_NAMES, ...CHANGED_NAMES.keys()] as string[]
  ) {
    metrics.recordPipelineMetrics({
      pipelineName: name,
      lane: name,
      durationSec: 0.2,
      status: "timeout",
    });
    metrics.recordStageMetrics({
      pipelineName: name,
      stageName: name,
      durationSec: Infinity,
      outcome: "failure",
    });
  }
  const help = 'Says "no\\yes"\nand more';
  const common = { help, labelNames: ["label"], registers: [registry] };
  const gauge = new Gauge({ name: "their_gauge", ...common });
  const summary = new Summary({ name: "their_summary", ...common });
  const histogram = new Histogram({
    name: "their_histogram",
    buckets: [0.5, 1, 1e6],
    ...common,
  });
  const counter = new Counter({ name: "their_counter_total", ...common });
  const odd = new Counter({ name: "their_odd_counter", ...common });
  for (const label of UNCHANGED_NAMES) {
    gauge.set({ label }, -1e-9);
    summary.observe({ label }, 3);
    histogram.observe({ label }, 0.75);
    counter.inc({ label });
    odd.inc({ label }, 2 ** 53);
  }
  return metrics;
}

async function scrape(
  { metricsHandler }: ReturnType<typeof fill>,
  accept: string,
): Promise<string> {
  const headers = { Accept: accept };
  const request = new Request("http://localhost/", { headers });
  return await (await metricsHandler()(request)).text();
}

Deno.test({
  name: "promtool check metrics accepts the own families, with malicious names",
  ignore: !hasPromtool,
  async fn() {
    const registry = new Registry();
    const metrics = createStageMetrics({ registry, onIssue() {} });
    for (
      const name of [...UNCHANGED_NAMES, ...CHANGED_NAMES.keys()] as string[]
    ) {
      const lane = name;
      metrics.pipeline(name, { lane }, () => metrics.stage(name, () => {}));
    }
    const text = await scrape(metrics, "text/plain");
    assertEquals(await pipeThrough("promtool", ["check", "metrics"], text), "");
  },
});

for (
  const [format, accept] of [
    ["text", "text/plain"],
    ["openmetrics", "application/openmetrics-text"],
  ] as const
) {
  Deno.test({
    name: `prometheus_client reads back every sample, in ${format}`,
    ignore: !hasParser,
    async fn() {
      const registry = new Registry();
      registry.setDefaultLabels({ zone: 'eu"\\\n' });
      const metrics = fill(registry);
      const families = await parse(format, await scrape(metrics, accept));

      const json = await registry.getMetricsAsJSON();
      const expected = json.flatMap(({ name, values }) =>
        values.map((sample) => {
          const { metricName = name } = sample as { metricName?: string };
          // The Python client's text parser names every counter `_total`.
          const readName = format === "text" && name === "their_odd_counter"
            ? "their_odd_counter_total"
            : metricName;
          return [readName, sample.labels, sample.value] as const;
        })
      );
      const actual = families.flatMap(({ samples }) => samples).map(
        ([name, labels, value]) =>
          [name, labels, Number(value.replace("inf", "Infinity"))] as const,
      );
      assertEquals(flatten(actual), flatten(expected));
      assertEquals(actual.length, expected.length);

      const types = Object.fromEntries(
        families.map(({ name, type }) => [name, type]),
      );
      assertEquals(types["lukhas_orchestration_pipeline"], "counter");
      assertEquals(
        types["lukhas_orchestration_stage_duration_seconds"],
        "histogram",
      );
      assertEquals(types["their_gauge"], "gauge");
      assertEquals(types["their_summary"], "summary");
      assertEquals(types["their_histogram"], "histogram");
      assertEquals(types["their_counter"], "counter");
      const helps = new Set(
        families.filter(({ name }) => name.startsWith("their_"))
          .map(({ help }) => help),
      );
      assertEquals([...helps], ['Says "no\\yes"\nand more']);
    },
  });

  Deno.test({
    name: `prometheus_client reads prom-client's default metrics, in ${format}`,
    ignore: !hasParser,
    async fn() {
      const registry = new Registry();
      collectDefaultMetrics({ register: registry });
      const metrics = createStageMetrics({ registry });
      const families = await parse(format, await scrape(metrics, accept));
      const names = new Set(families.map(({ name }) => name));
      for (const { name, type } of registry.getMetricsAsArray()) {
        const isCounter = type as unknown === "counter";
        const family = isCounter ? name.replace(/_total$/, "") : name;
        assertEquals(names.has(family), true, family);
      }
    },
  });
}

Deno.test({
  name: "prometheus_client reads metrics with clashing names in OpenMetrics",
  ignore: !hasParser,
  async fn() {
    const { scrape } = createClashes();
    const text = await scrape("application/openmetrics-text");
    const families = await parse("openmetrics", text);
    const samples = families.flatMap(({ samples }) => samples)
      .filter(([name]) => /^(?:jobs|x|y)?(?:_|$)/.test(name))
      .map(([name, , value]) => `${name} ${Number(value)}`);
    assertEquals(samples.filter((each) => !/^x_bucket|^y /.test(each)), [
      "jobs 1",
      "jobs_total 2",
      "x_sum 3",
      "x_count 1",
      "y_sum 5",
      "y_count 1",
      "x_info 7",
      "_total 8",
    ]);
  },
});

Deno.test({
  name: "prometheus_client reads every exemplar",
  ignore: !hasParser,
  async fn() {
    using sdk = createSdk();
    const registry = new Registry();
    registry.setDefaultLabels({ zone: 'eu"\\\n' });
    const metrics = createStageMetrics({
      registry,
      tracing: sdk.provider,
      onIssue() {},
    });
    for (const name of UNCHANGED_NAMES) {
      metrics.pipeline(
        name,
        { lane: name },
        () => metrics.stage(name, () => {}),
      );
    }
    const text = await scrape(metrics, "application/openmetrics-text");
    const families = await parse("openmetrics", text);
    for (const kind of ["pipeline", "stage"]) {
      const family = families.find(({ name }) =>
        name === `lukhas_orchestration_${kind}_duration_seconds`
      );
      const actual = family!.exemplars.map(([labels, exemplar, seconds]) => {
        assertEquals(seconds >= 0 && seconds <= Number(labels["le"]), true);
        const { trace_id, span_id } = exemplar;
        return [labels["pipeline_name"], trace_id, span_id];
      });
      const expected = sdk.spans().filter(({ name }) => name.startsWith(kind))
        .map(({ attributes, traceId, spanId }) => [
          attributes["lukhas.pipeline.name"],
          traceId,
          spanId,
        ]);
      assertEquals(actual.sort(), expected.sort());
    }
  },
});
