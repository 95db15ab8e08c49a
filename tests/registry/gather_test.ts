import * as successor from "@prometheus-io/client";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { setImmediate } from "node:timers";
import * as promClient from "prom-client";
import { createStageMetrics, metricsHandler } from "../../mod.ts";
import type { IssueReport, MetricsRegistry } from "../../mod.ts";
import { manualClock } from "../../src/testing.ts";

const TEXT = "text/plain";
const OPENMETRICS = "application/openmetrics-text";

async function scrape(
  registry: MetricsRegistry | MetricsRegistry[],
  accept: string,
): Promise<string> {
  const headers = { Accept: accept };
  const request = new Request("http://localhost/", { headers });
  return await (await metricsHandler({ registry })(request)).text();
}

/** Registers one foreign metric of each type. */
function fill(client: typeof promClient, registry: promClient.Registry): void {
  const registers = [registry];
  const help = 'Says "no\\yes"\nand more';
  new client.Counter({ name: "c_total", help, registers }).inc(3);
  new client.Counter({ name: "odd", help, registers }).inc(0.5);
  new client.Gauge({ name: "g", help, labelNames: ["l"], registers })
    .labels('a"b\\c\nd').set(-1.5);
  const histogram = new client.Histogram({
    name: "h",
    help,
    buckets: [0.5, 1],
    registers,
  });
  histogram.observe(0.75);
  const summary = new client.Summary({
    name: "s",
    help,
    percentiles: [0.5, 1],
    registers,
  });
  summary.observe(2);
  new client.Gauge({ name: "big", help, registers }).set(Infinity);
  new client.Gauge({ name: "small", help, registers }).set(-Infinity);
  new client.Gauge({ name: "none", help, registers }).set(NaN);
}

const FOREIGN_TEXT = String.raw`# HELP c_total Says "no\\yes"\nand more
# TYPE c_total counter
c_total 3
# HELP odd Says "no\\yes"\nand more
# TYPE odd counter
odd 0.5
# HELP g Says "no\\yes"\nand more
# TYPE g gauge
g{l="a\"b\\c\nd"} -1.5
# HELP h Says "no\\yes"\nand more
# TYPE h histogram
h_bucket{le="0.5"} 0
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 1
h_sum 0.75
h_count 1
# HELP s Says "no\\yes"\nand more
# TYPE s summary
s{quantile="0.5"} 2
s{quantile="1"} 2
s_sum 2
s_count 1
# HELP big Says "no\\yes"\nand more
# TYPE big gauge
big +Inf
# HELP small Says "no\\yes"\nand more
# TYPE small gauge
small -Inf
# HELP none Says "no\\yes"\nand more
# TYPE none gauge
none NaN
`;

const FOREIGN_OPENMETRICS = String.raw`# TYPE c counter
# HELP c Says \"no\\yes\"\nand more
c_total 3
# TYPE odd unknown
# HELP odd Says \"no\\yes\"\nand more
odd 0.5
# TYPE g gauge
# HELP g Says \"no\\yes\"\nand more
g{l="a\"b\\c\nd"} -1.5
# TYPE h histogram
# HELP h Says \"no\\yes\"\nand more
h_bucket{le="0.5"} 0
h_bucket{le="1.0"} 1
h_bucket{le="+Inf"} 1
h_sum 0.75
h_count 1
# TYPE s summary
# HELP s Says \"no\\yes\"\nand more
s{quantile="0.5"} 2
s{quantile="1.0"} 2
s_sum 2
s_count 1
# TYPE big gauge
# HELP big Says \"no\\yes\"\nand more
big +Inf
# TYPE small gauge
# HELP small Says \"no\\yes\"\nand more
small -Inf
# TYPE none gauge
# HELP none Says \"no\\yes\"\nand more
none NaN
# EOF
`;

async function scrapeDefaultMetrics(client: typeof promClient): Promise<void> {
  const registry = new client.Registry();
  registry.setDefaultLabels({ host: "a" });
  client.collectDefaultMetrics({ register: registry });
  new client.Gauge({ name: "g", help: "Help", registers: [registry] });
  for (const accept of [TEXT, OPENMETRICS]) {
    const text = await scrape(registry, accept);
    assertStringIncludes(text, '\ng{host="a"} 0\n');
    assertStringIncludes(text, '\nprocess_cpu_seconds_total{host="a"} ');
    assertStringIncludes(text, "\n# TYPE nodejs_version_info gauge\n");
  }
}

for (
  const [name, client] of [
    ["prom-client", promClient],
    ["@prometheus-io/client", successor as unknown as typeof promClient],
  ] as const
) {
  Deno.test(`metricsHandler() shows metrics of ${name} in both formats`, async () => {
    const registry = new client.Registry();
    fill(client, registry);
    assertEquals(await scrape(registry, TEXT), FOREIGN_TEXT);
    assertEquals(await scrape(registry, OPENMETRICS), FOREIGN_OPENMETRICS);
    assertEquals(await scrape(registry, TEXT), FOREIGN_TEXT);
  });

  Deno.test(`metricsHandler() restores the _total that ${name} removes`, async () => {
    const registry = new client.Registry();
    fill(client, registry);
    createStageMetrics({ registry, lane: "test" }).pipeline("p", () => {});
    const before = await scrape(registry, TEXT);
    const beforeOpenMetrics = await scrape(registry, OPENMETRICS);
    registry.setContentType(
      "application/openmetrics-text; version=1.0.0; charset=utf-8" as never,
    );
    await registry.metrics();
    assertEquals(await scrape(registry, TEXT), before);
    assertEquals(await scrape(registry, OPENMETRICS), beforeOpenMetrics);
  });

  Deno.test({
    name: `metricsHandler() shows default metrics and labels of ${name}`,
    // The successor measures the event loop by an interval that cannot be cleared.
    sanitizeOps: client === promClient,
    sanitizeResources: client === promClient,
    fn: () => scrapeDefaultMetrics(client),
  });

  Deno.test(`metricsHandler() shows exemplars of ${name} only in OpenMetrics`, async () => {
    const registry = new client.Registry();
    registry.setContentType(
      "application/openmetrics-text; version=1.0.0; charset=utf-8" as never,
    );
    new client.Histogram({
      name: "h",
      help: "Help",
      buckets: [1],
      enableExemplars: true,
      registers: [registry] as never,
    }).observe({ value: 0.5, labels: {}, exemplarLabels: { id: "7" } });
    const line = /\nh_bucket\{le="1.0"\} 1 # \{id="7"\} 0.5 \d+(\.\d+)?\n/;
    assertEquals(line.test(await scrape(registry, OPENMETRICS)), true);
    assertEquals((await scrape(registry, TEXT)).includes('id="7"'), false);
  });
}

Deno.test("metricsHandler() shows foreign exemplars with labels of any type", async () => {
  const labelSets: [unknown, string][] = [
    [{}, "{}"],
    [undefined, "{}"],
    [{ a: ['x"y'], n: 5, o: null }, String.raw`{a="x\"y",n="5",o="null"}`],
  ];
  for (const [labelSet, expected] of labelSets) {
    const registry = new promClient.Registry();
    const exemplar = { labelSet, value: 1, timestamp: 2 };
    const view = {
      name: "c_total",
      help: "Help",
      type: "counter",
      aggregator: "sum",
      values: [{ labels: {}, value: 1, exemplar }],
    };
    registry.registerMetric({ ...view, get: () => view } as never);
    assertStringIncludes(
      await scrape(registry, OPENMETRICS),
      `\nc_total 1 # ${expected} 1 2\n`,
    );
  }
});

Deno.test("metricsHandler() leaves out an exemplar whose time is not a finite number", async () => {
  for (const timestamp of [undefined, NaN, Infinity]) {
    const registry = new promClient.Registry();
    const exemplar = { labelSet: { id: "7" }, value: Infinity, timestamp };
    const values = [{ labels: {}, value: 1, exemplar }];
    registry.registerMetric({
      name: "c_total",
      get: () => ({ name: "c_total", help: "Help", type: "counter", values }),
    } as never);
    const text = await scrape(registry, OPENMETRICS);
    assertEquals(text.match(/^c_total.*$/gm), ["c_total 1"]);
  }
});

Deno.test("metricsHandler() merges metrics of several registries by their aggregator", async () => {
  const registries = [1, 2].map((value) => {
    const registry = new promClient.Registry();
    const registers = [registry];
    for (
      const aggregator of ["sum", "min", "max", "average", "first"] as const
    ) {
      new promClient.Gauge({
        name: aggregator,
        help: "Help",
        aggregator,
        registers,
      })
        .set(value);
    }
    new promClient.Gauge({ name: `only_${value}`, help: "Help", registers });
    const metrics = createStageMetrics({
      registry,
      lane: "test",
      clock: manualClock(),
    });
    metrics.pipeline("both", () => {});
    metrics.pipeline(`only ${value}`, () => {});
    return registry;
  });
  const text = await scrape(registries, TEXT);
  const value = (series: string) => {
    const lines = text.split("\n").filter((line) =>
      line.startsWith(`${series} `)
    );
    assertEquals(lines.length, 1, series);
    return Number(lines[0]!.slice(series.length));
  };
  assertEquals(
    ["sum", "min", "max", "average", "first", "only_1", "only_2"].map(value),
    [3, 1, 2, 1.5, 1, 0, 0],
  );
  const total = (name: string) =>
    value(
      `lukhas_orchestration_pipeline_total{lane="test",pipeline_name="${name}",status="success"}`,
    );
  assertEquals([total("both"), total("only 1"), total("only 2")], [2, 1, 1]);
  const types = text.split("\n").filter((line) => line.startsWith("# TYPE"));
  assertEquals(new Set(types).size, types.length);
});

Deno.test("metricsHandler() shows the metrics of the process once for two registries", async () => {
  for (const prefix of ["", "my_", "glued"]) {
    const registries = [1, 2].map((number) => {
      const registry = new promClient.Registry();
      const registers = [registry];
      const gauge = (name: string, help: string, value: number) =>
        new promClient.Gauge({ name: prefix + name, help, registers })
          .set(value);
      gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        100 * number,
      );
      gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        1000 - number,
      );
      new promClient.Counter({
        name: `${prefix}process_cpu_seconds_total`,
        help: "Total user and system CPU time spent in seconds.",
        registers,
      }).inc(number);
      // These only have similar names.
      for (const name of ["order_process", "image_process_cpu_seconds"]) {
        const total = `${name}_total`;
        new promClient.Counter({ name: total, help: "Help", registers })
          .inc(number);
      }
      return registry;
    });
    const lines = (await scrape(registries, TEXT)).split("\n");
    assertEquals(lines.filter((line) => /^[^#]/.test(line)), [
      `${prefix}process_resident_memory_bytes 100`,
      `${prefix}process_start_time_seconds 998`,
      `${prefix}process_cpu_seconds_total 2`,
      "order_process_total 3",
      "image_process_cpu_seconds_total 3",
    ]);
  }
});

for (
  const [name, client] of Object.entries({
    "prom-client": promClient,
    "@prometheus-io/client": successor,
  })
) {
  Deno.test({
    name: `metricsHandler() merges the default process metrics of ${name}`,
    // It starts a timer that cannot be stopped.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      const registries = [1, 2].map(() => {
        const register = new (client as typeof promClient).Registry();
        (client as typeof promClient).collectDefaultMetrics({
          register,
          prefix: "app:",
        });
        return register;
      });
      const alone = await registries[0]!.metrics();
      const together = await scrape(registries, TEXT);
      const names = new Set(alone.match(/^app:process_\w+/gm));
      assert(names.size > 3, alone);
      for (const each of names) {
        const valueIn = (text: string) =>
          Number(new RegExp(`^${each} (.*)$`, "m").exec(text)?.[1]);
        const [one, both] = [valueIn(alone), valueIn(together)];
        // A sum would be twice as much. The CPU time increases meanwhile.
        assert(both < 1.5 * one || one < 1, `${each}: ${one}, ${both}`);
      }
    },
  });
}

Deno.test("metricsHandler() shows one +Inf bucket if a foreign bound is Infinity", async () => {
  const registry = new promClient.Registry();
  const registers = [registry];
  const help = "Help";
  const buckets = [1, Infinity];
  const histogram = new promClient.Histogram({
    name: "h",
    help,
    buckets,
    registers,
  });
  histogram.observe(0.5);
  histogram.observe(3);
  for (const accept of [TEXT, OPENMETRICS]) {
    const text = await scrape(registry, accept);
    const spelled = accept === TEXT ? "1" : "1.0";
    assertEquals(text.match(/^h_bucket.*$/gm), [
      `h_bucket{le="${spelled}"} 1`,
      'h_bucket{le="+Inf"} 2',
    ]);
  }
});

Deno.test("metricsHandler() shows labels that are not strings the same in both formats", async () => {
  const values = [
    { a: Infinity },
    { a: -Infinity },
    { a: NaN },
    { a: -0 },
    { a: 5n },
    { a: undefined },
    { le: Infinity },
    { quantile: NaN },
  ].map((labels) => ({ labels, value: 1 }));
  const registry = new promClient.Registry();
  registry.setDefaultLabels({ x: NaN });
  registry.registerMetric({
    name: "m",
    get: () => ({ name: "m", help: "Help", type: "gauge", values }),
  } as never);
  for (const accept of [TEXT, OPENMETRICS]) {
    const text = await scrape(registry, accept);
    assertEquals(text.match(/^m\{.*$/gm), [
      'm{a="Infinity",x="NaN"} 1',
      'm{a="-Infinity",x="NaN"} 1',
      'm{a="NaN",x="NaN"} 1',
      'm{a="0",x="NaN"} 1',
      'm{a="5",x="NaN"} 1',
      'm{a="undefined",x="NaN"} 1',
      'm{le="+Inf",x="NaN"} 1',
      'm{quantile="NaN",x="NaN"} 1',
    ]);
  }
});

Deno.test("metricsHandler() does not show two samples with the same labels", async () => {
  const registry = new promClient.Registry();
  registry.setDefaultLabels({ a: "x" });
  const registers = [registry];
  const counter = new promClient.Counter({
    name: "c_total",
    help: "Help",
    labelNames: ["a"],
    registers,
  });
  // The default labels make the two samples equal.
  counter.inc(1);
  counter.inc({ a: "x" }, 2);
  const text = await scrape(registry, TEXT);
  assertEquals(text.match(/^c_total.*$/gm), ['c_total{a="x"} 3']);
});

Deno.test("metricsHandler() merges bounds that registries spell differently", async () => {
  const registries = [1, "1", "1.0"].map((le) => {
    const registry = new promClient.Registry();
    const values = [{ metricName: "h_bucket", labels: { le }, value: 1 }];
    registry.registerMetric({
      name: "h",
      get: () => ({ name: "h", help: "Help", type: "histogram", values }),
    } as never);
    return registry;
  });
  const text = await scrape(registries, OPENMETRICS);
  assertEquals(text.match(/^h_bucket.*$/gm), ['h_bucket{le="1.0"} 3']);
});

Deno.test("metricsHandler() lets other work run while it merges large registries", async () => {
  const registries = [1, 2].map(() => {
    const registry = new promClient.Registry();
    const gauge = new promClient.Gauge({
      name: "g",
      help: "Help",
      labelNames: ["i"],
      registers: [registry],
    });
    for (let i = 0; i < 10_000; i++) gauge.set({ i }, i);
    return registry;
  });
  let isOver = false;
  let turns = 0;
  const count = () => {
    if (isOver) return;
    turns++;
    setImmediate(count);
  };
  setImmediate(count);
  const handler = metricsHandler({ registry: registries });
  const response = await handler(new Request("http://localhost/"));
  isOver = true;
  await response.body?.cancel();
  await new Promise((resolve) => setImmediate(resolve));
  assert(turns > 20, `${turns}`);
});

Deno.test("metricsHandler() leaves out and reports a metric of conflicting type", async () => {
  const reports: Omit<IssueReport, "stack">[] = [];
  const [one, two] = [new promClient.Registry(), new promClient.Registry()];
  new promClient.Gauge({ name: "m", help: "Help", registers: [one] }).set(1);
  new promClient.Summary({ name: "m", help: "Help", registers: [two] });
  createStageMetrics({
    registry: two,
    prefix: "two_",
    onIssue: ({ issue, message }) => reports.push({ issue, message }),
  });
  const text = await scrape([one, two], TEXT);
  assertStringIncludes(text, "# TYPE m gauge\nm 1\n");
  assertEquals(text.includes("m_sum"), false);
  assertEquals(reports, [{
    issue: "collector_error",
    message:
      'Metric "m" was left out: another registry has it as a gauge, not as a summary',
  }]);
});

Deno.test("metricsHandler() shows metrics of unknown type, and labels of any type", async () => {
  const registry = new promClient.Registry();
  const values = [{ labels: { a: 1, b: null, c: true }, value: 1 }];
  registry.registerMetric({
    name: "m",
    get: () => ({ name: "m", help: "Help", type: "info", values }),
  } as never);
  assertEquals(
    await scrape(registry, TEXT),
    '# HELP m Help\n# TYPE m untyped\nm{a="1",b="null",c="true"} 1\n',
  );
  assertEquals(
    await scrape(registry, OPENMETRICS),
    '# TYPE m unknown\n# HELP m Help\nm{a="1",b="null",c="true"} 1\n# EOF\n',
  );
});

Deno.test("metricsHandler() leaves out a metric without a type on a conflict", async () => {
  const [one, two] = [new promClient.Registry(), new promClient.Registry()];
  const reports: string[] = [];
  const view = { name: "m", help: "Help" };
  new promClient.Gauge({ ...view, registers: [one] });
  two.registerMetric({ ...view, get: () => view } as never);
  createStageMetrics({
    registry: two,
    onIssue: ({ message }) => reports.push(message),
  });
  assertStringIncludes(await scrape([one, two], TEXT), "# TYPE m gauge\nm 0\n");
  assertEquals(reports, [
    'Metric "m" was left out: another registry has it as a gauge, not as a unknown',
  ]);
});

Deno.test("metricsHandler() leaves out and reports a collector after five seconds", async () => {
  const reports: Omit<IssueReport, "stack">[] = [];
  const { registry } = createStageMetrics({
    registry: new promClient.Registry(),
    onIssue: ({ issue, message }) => reports.push({ issue, message }),
  });
  const registers = [registry as promClient.Registry];
  const collect = () => new Promise<void>(() => {});
  new promClient.Gauge({ name: "hangs", help: "Help", registers, collect });
  new promClient.Gauge({ name: "works", help: "Help", registers });

  const text = await scrape(registry, TEXT);
  assertStringIncludes(text, "\nworks 0\n");
  assertStringIncludes(text, 'issues_total{issue="collector_error"} 1\n');
  assertEquals(text.includes("hangs"), false);
  assertEquals(reports, [{
    issue: "collector_error",
    message:
      'Metric "hangs" was left out: TimeoutError: Its collector took longer than 5000 ms',
  }]);
});
