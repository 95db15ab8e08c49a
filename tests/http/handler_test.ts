import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { setImmediate } from "node:timers";
import { Counter, Gauge, Registry } from "prom-client";
import { createStageMetrics, metricsHandler, pipeline } from "../../mod.ts";
import type { IssueReport, MetricsHandlerOptions } from "../../mod.ts";
import { captureMetrics, manualClock } from "../../src/testing.ts";

const TEXT = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS =
  "application/openmetrics-text; version=1.0.0; charset=utf-8";

/** Creates a registry with one gauge, which identifies the registry. */
function registryOf(name: string, value = 1): Registry {
  const registry = new Registry();
  new Gauge({ name, help: "Help", registers: [registry] }).set(value);
  return registry;
}

function request(path = "/metrics", init: RequestInit = {}): Request {
  return new Request(`http://localhost${path}`, init);
}

Deno.test("metricsHandler() serves every path without `next`, even with `path`", async () => {
  const handler = metricsHandler({
    registry: registryOf("mine"),
    path: "/elsewhere",
  });
  for (const path of ["/", "/metrics", "/elsewhere", "/a/b?c=d"]) {
    const response = await handler(request(path));
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("Content-Type"), TEXT);
    assertEquals(response.headers.get("Cache-Control"), "no-store");
    assertEquals(response.headers.get("Vary"), "Accept, Accept-Encoding");
    assertEquals(
      await response.text(),
      "# HELP mine Help\n# TYPE mine gauge\nmine 1\n",
    );
  }
});

Deno.test("metricsHandler() counts a registry once, even if it is passed twice", async () => {
  const registry = new Registry();
  new Counter({ name: "c_total", help: "Help", registers: [registry] }).inc(2);
  const { pipeline } = createStageMetrics({ registry, prefix: "x_" });
  pipeline("p", () => {});

  const handler = metricsHandler({ registry: [registry, registry] });
  const text = await (await handler(request())).text();
  assertStringIncludes(text, "\nc_total 2\n");
  assertStringIncludes(
    text,
    'x_pipeline_total{lane="production",pipeline_name="p",status="success"} 1\n',
  );
});

Deno.test("metricsHandler() passes other paths and all arguments to `next`", async () => {
  const handler = metricsHandler({
    registry: registryOf("mine"),
    next: (request, info: { port: number }, more: string) =>
      new Response(`${new URL(request.url).pathname} ${info.port} ${more}`),
  });
  const answer = async (path: string) =>
    await (await handler(request(path), { port: 80 }, "more")).text();
  assertEquals(await answer("/"), "/ 80 more");
  assertEquals(await answer("/metrics/"), "/metrics/ 80 more");
  assertEquals(await answer("/Metrics"), "/Metrics 80 more");
  assertStringIncludes(await answer("/metrics"), "mine 1");
  assertStringIncludes(await answer("/metrics?name=x"), "mine 1");
});

Deno.test("metricsHandler() serves another `path`, and rejects if `next` does", async () => {
  const handler = metricsHandler({
    registry: registryOf("mine"),
    path: "/internal/m",
    next: () => Promise.reject(new Error("Mine")),
  });
  assertEquals((await handler(request("/internal/m"))).status, 200);
  await assertRejects(() => handler(request("/metrics")), Error, "Mine");
});

Deno.test("metricsHandler() serves no metrics if the Host header is invalid", async () => {
  const registry = registryOf("mine");
  const handlers: [number, ReturnType<typeof metricsHandler>][] = [
    [400, metricsHandler({ registry })],
    [404, metricsHandler({ registry, next: () => notFound() })],
  ];
  const invalid = ["x/metrics?", "x#", "x\\y", "u@x", "a b", "a, x", "a\tb"];
  const valid = ["x", "x:80", "[::1]:80", "127.0.0.1", "a_b.c-d", ""];
  for (const [refused, handler] of handlers) {
    for (const host of [...invalid, ...valid]) {
      // Some runtimes do not allow this header in a Request.
      const fake = {
        method: "GET",
        url: "http://x/metrics",
        headers: new Map([["host", host]]),
      };
      const { status } = await handler(fake as never);
      assertEquals(status, invalid.includes(host) ? refused : 200, host);
    }
  }
});

function notFound(): Response {
  return new Response(null, { status: 404 });
}

Deno.test({
  name: "metricsHandler() collects nothing if the client has disconnected",
  // Deno.serve prints a warning when the signal is read.
  ignore: "Deno" in globalThis,
  async fn() {
    let collected = 0;
    const registry = registryOf("mine");
    new Gauge({
      name: "counts",
      help: "Help",
      registers: [registry],
      collect: () => void collected++,
    });
    const init = { signal: AbortSignal.abort() };
    const response = await metricsHandler({ registry })(request("/", init));
    assertEquals([response.status, collected], [499, 0]);
  },
});

Deno.test("metricsHandler() responds to HEAD with the headers of GET and no body", async () => {
  const handler = metricsHandler({ registry: registryOf("mine") });
  const headers = { Accept: OPENMETRICS, "Accept-Encoding": "gzip" };
  const head = await handler(request("/", { method: "HEAD", headers }));
  const get = await handler(request("/", { headers }));
  assertEquals(head.status, 200);
  assertEquals([...head.headers], [...get.headers]);
  assertEquals(await head.text(), "");
  await get.body?.cancel();
});

Deno.test("metricsHandler() responds to other methods with 405 and Allow", async () => {
  const handler = metricsHandler({ registry: registryOf("mine") });
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
    const response = await handler(request("/", { method }));
    assertEquals(response.status, 405);
    assertEquals(response.headers.get("Allow"), "GET, HEAD");
    assertEquals(await response.text(), "Method Not Allowed\n");
  }
});

Deno.test("metricsHandler() requires the token", async () => {
  const handler = metricsHandler({
    registry: registryOf("mine"),
    token: "s3cret",
    next: () => new Response("open"),
  });
  const status = async (authorization?: string) => {
    const headers = authorization === undefined
      ? {}
      : { Authorization: authorization };
    const response = await handler(request("/metrics", { headers }));
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await status("Bearer s3cret"), 200);
  assertEquals(await status("bearer  s3cret"), 200);
  for (
    const wrong of [
      undefined,
      "",
      "s3cret",
      "Bearer",
      "Bearer s3cre",
      "Bearer s3crets",
      "Bearer S3cret",
      "Bearer s3cret x",
      "Basic s3cret",
      "Bearer s3cret, Bearer s3cret",
    ]
  ) {
    assertEquals(await status(wrong), 401, wrong);
  }
  const response = await handler(request("/metrics", { method: "POST" }));
  assertEquals(response.status, 401);
  assertEquals(
    response.headers.get("WWW-Authenticate"),
    'Bearer realm="metrics"',
  );
  assertEquals(await response.text(), "Unauthorized\n");
  assertEquals(await (await handler(request("/"))).text(), "open");
});

Deno.test("metricsHandler() throws for invalid options", () => {
  const invalid: [unknown, typeof TypeError, string][] = [
    [null, TypeError, "options must be an object, got null"],
    [{ registry: {} }, TypeError, "got one without registerMetric()"],
    [{ registry: [] }, RangeError, "registry must not be empty"],
    [{ registry: [registryOf("a"), null] }, TypeError, "got one without"],
    [{ next: "next" }, TypeError, "next must be a function, got string"],
    [{ path: 1 }, TypeError, "path must be a string, got number"],
    [{ path: "metrics" }, RangeError, 'got "metrics"'],
    [{ path: "/metrics?x" }, RangeError, "path must be a URL path"],
    [{ path: "" }, RangeError, "path must be a URL path"],
    [{ token: 1 }, TypeError, "token must be a string, got number"],
    [{ token: "" }, RangeError, "token must consist of visible ASCII"],
    [{ token: "a b" }, RangeError, "token must consist of visible ASCII"],
    [{ token: "pässword" }, RangeError, "token must consist of visible ASCII"],
    [{ formats: "text" }, TypeError, "formats must be an array, got string"],
    [{ formats: null }, TypeError, "formats must be an array, got null"],
    [{ formats: new Set(["text"]) }, TypeError, "an array, got object"],
    [{ formats: [] }, RangeError, "formats must not be empty"],
    [
      { formats: ["text", "opnmetrics"] },
      RangeError,
      'formats must hold "text" or "openmetrics", got "opnmetrics"',
    ],
    [{ formats: [1] }, RangeError, 'or "openmetrics", got number'],
    [
      { maxRequestsInFlight: "1" },
      TypeError,
      "maxRequestsInFlight must be a number, got string",
    ],
    [
      { maxRequestsInFlight: 0 },
      RangeError,
      "maxRequestsInFlight must be at least 1, got 0",
    ],
    [{ maxRequestsInFlight: NaN }, RangeError, "at least 1, got NaN"],
    [{ format: ["text"] }, TypeError, 'did you mean "formats"?'],
  ];
  for (const [options, errorClass, message] of invalid) {
    assertThrows(
      () => metricsHandler(options as MetricsHandlerOptions),
      errorClass,
      message,
    );
  }
});

Deno.test("metricsHandler() serves two formats at once, and leaves the registry as is", async () => {
  const registry = new Registry();
  new Counter({ name: "mine_total", help: "Help", registers: [registry] })
    .inc(2);
  const metrics = createStageMetrics({ registry, lane: "test" });
  metrics.pipeline("p", () => {});
  const before = await registry.metrics();

  const handler = metrics.metricsHandler();
  const bodies = await Promise.all([TEXT, OPENMETRICS, TEXT, OPENMETRICS].map(
    async (Accept) => {
      const response = await handler(request("/", { headers: { Accept } }));
      assertEquals(response.headers.get("Content-Type"), Accept);
      return await response.text();
    },
  ));
  assertEquals(bodies[0], bodies[2]);
  assertEquals(bodies[1], bodies[3]);
  assertStringIncludes(bodies[0]!, "# TYPE mine_total counter\nmine_total 2\n");
  assertStringIncludes(
    bodies[1]!,
    "# TYPE mine counter\n# HELP mine Help\nmine_total 2\n",
  );
  assertEquals(bodies[0]!.includes("# EOF"), false);
  assert(bodies[1]!.endsWith("\n# EOF\n"));
  assertEquals(await registry.metrics(), before);
});

Deno.test("metricsHandler() compresses if the client accepts gzip", async () => {
  const handler = metricsHandler({ registry: registryOf("mine") });
  const headers = { "Accept-Encoding": "gzip, deflate" };
  const response = await handler(request("/", { headers }));
  assertEquals(response.headers.get("Content-Encoding"), "gzip");
  const plain = response.body!.pipeThrough(new DecompressionStream("gzip"));
  assertEquals(
    await new Response(plain).text(),
    await (await handler(request("/"))).text(),
  );
});

/** Creates metrics of many stages, each with more than a kilobyte of text. */
function manyStages(count: number) {
  const clock = manualClock();
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "l",
    clock,
    onIssue() {},
  });
  metrics.openPipeline("running");
  const recordAll = () => {
    clock.advance(1);
    metrics.recordStageMetrics({
      stageName: "orphan",
      durationSec: 0,
      outcome: "success",
    });
    for (let i = 0; i < count; i++) {
      metrics.recordStageMetrics({
        pipelineName: "p",
        stageName: `s${i}`,
        durationSec: 0.25,
        outcome: "success",
      });
    }
  };
  recordAll();
  return { handler: metrics.metricsHandler(), recordAll };
}

async function readAll(stream: ReadableStream<Uint8Array>): Promise<string[]> {
  const decoder = new TextDecoder();
  const chunks: string[] = [];
  for await (const chunk of stream) chunks.push(decoder.decode(chunk));
  return chunks;
}

Deno.test("metricsHandler() renders only the part that the client reads", async () => {
  const { handler } = manyStages(1_000);
  const whole = (await (await handler(request("/"))).text()).length;
  const response = await handler(request("/"));
  const reader = response.body!.getReader();
  const { value } = await reader.read();
  assert(value!.length < whole / 10, `${value!.length} of ${whole}`);
  await reader.cancel();
});

Deno.test("metricsHandler() lets the event loop run after each slice", async () => {
  const { handler } = manyStages(1_000);
  const response = await handler(request("/"));
  let turns = 0;
  let isRead = false;
  const count = () => {
    turns++;
    if (!isRead) setImmediate(count);
  };
  setImmediate(count);
  const chunks = await readAll(response.body!);
  isRead = true;
  assert(chunks.length > 10, `${chunks.length} slices`);
  assert(turns >= chunks.length / 2, `${turns} turns, ${chunks.length} slices`);
  // Lets the last callback run.
  await new Promise((resolve) => setImmediate(resolve));
});

Deno.test("metricsHandler() serves a snapshot, even if counts change during the read", async () => {
  const { handler, recordAll } = manyStages(1_000);
  for (const accept of ["text/plain", "application/openmetrics-text"]) {
    const get = () => handler(request("/", { headers: { Accept: accept } }));
    const before = await (await get()).text();
    const response = await get();
    const reader = response.body!.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value);
      recordAll();
    }
    assertEquals(text === before, true);
    assertEquals(await (await get()).text() === before, false);
  }
});

Deno.test("metricsHandler() serves histograms of thousands of buckets", async () => {
  const { pipeline, metricsHandler } = createStageMetrics({
    registry: new Registry(),
    prefix: "fine_",
    pipelineBuckets: Array.from({ length: 5_000 }, (_, i) => i + 1),
  });
  pipeline("p", () => {});
  const text = await (await metricsHandler()(request("/"))).text();
  assertEquals(
    text.match(/^fine_pipeline_duration_seconds_bucket.* 1$/gm)?.length,
    5_001,
  );
});

Deno.test("metricsHandler() collects once for concurrent scrapes", async () => {
  const registry = new Registry();
  let collected = 0;
  new Gauge({
    name: "mine",
    help: "Help",
    registers: [registry],
    async collect() {
      await new Promise((resolve) => setTimeout(resolve));
      this.set(++collected);
    },
  });
  const handlers = [
    metricsHandler({ registry }),
    createStageMetrics({ registry }).metricsHandler(),
  ];
  for (const handler of handlers) {
    collected = 0;
    const scrape = async () => await (await handler(request("/"))).text();
    const answers = await Promise.all(Array.from({ length: 10 }, scrape));
    assertEquals(new Set(answers).size, 1);
    assertEquals(collected, 1);
    assertStringIncludes(await scrape(), "mine 2\n");
  }
});

Deno.test("metricsHandler() leaves out a metric whose collector throws", async () => {
  const registry = new Registry();
  const reports: Omit<IssueReport, "stack">[] = [];
  createStageMetrics({
    registry,
    lane: "test",
    onIssue: ({ issue, message }) => reports.push({ issue, message }),
  });
  for (
    const [name, collect] of [
      ["throws", () => {
        throw new Error("Secret of the database");
      }],
      ["rejects", () => Promise.reject(new Error("Secret of the cache"))],
      ["works", () => {}],
    ] as const
  ) {
    new Gauge({ name, help: "Help", registers: [registry], collect });
  }
  const response = await metricsHandler({ registry })(request("/"));
  assertEquals(response.status, 200);
  const text = await response.text();
  assertStringIncludes(text, "\nworks 0\n");
  assertEquals(/throws|rejects|Secret/.test(text), false);
  assertStringIncludes(text, 'issues_total{issue="collector_error"} 2\n');
  assertEquals(reports, [
    {
      issue: "collector_error",
      message: 'Metric "throws" was left out: Error: Secret of the database',
    },
    {
      issue: "collector_error",
      message: 'Metric "rejects" was left out: Error: Secret of the cache',
    },
  ]);
});

Deno.test("metricsHandler() leaves out a registry that cannot list its metrics", async () => {
  const reports: Omit<IssueReport, "stack">[] = [];
  const registry = registryOf("mine");
  registry.getMetricsAsArray = () => {
    throw new Error("Secret");
  };
  const options = {
    onIssue: ({ issue, message }: IssueReport) =>
      reports.push({ issue, message }),
  };
  await captureMetrics(options, async () => {
    const response = await metricsHandler({ registry })(request("/"));
    assertEquals([response.status, await response.text()], [200, ""]);
  });
  assertEquals(reports, [{
    issue: "collector_error",
    message: "The metrics of a registry were left out: Error: Secret",
  }]);
});

Deno.test("metricsHandler() responds with 500, and hides the error from the client", async () => {
  const reports: Omit<IssueReport, "stack">[] = [];
  const registry = Object.defineProperty(new Registry(), "_defaultLabels", {
    get() {
      throw new Error("Secret");
    },
  });
  const { metricsHandler } = createStageMetrics({
    registry,
    onIssue: ({ issue, message }) => reports.push({ issue, message }),
  });
  const response = await metricsHandler()(request("/"));
  assertEquals(response.status, 500);
  assertEquals(await response.text(), "Internal Server Error\n");
  assertEquals(reports, [{
    issue: "collector_error",
    message: "Cannot collect the metrics: Error: Secret",
  }]);
});

Deno.test("metricsHandler() serves the instance that is active at the scrape", async () => {
  const handler = metricsHandler({
    next: () => pipeline("p", () => new Response("answer")),
  });
  await captureMetrics({ lane: "test" }, async () => {
    await handler(request("/"));
    const response = await handler(request("/metrics"));
    assertStringIncludes(
      await response.text(),
      'pipeline_total{lane="test",pipeline_name="p",status="success"} 1',
    );
  });
});

Deno.test("metricsHandler() responds only in the given formats", async () => {
  const registry = registryOf("mine");
  const typeOf = async (
    formats: MetricsHandlerOptions["formats"],
    accept = "",
  ) => {
    const handler = metricsHandler({ registry, formats });
    const headers = { Accept: accept };
    const response = await handler(request("/", { headers }));
    const isOpenMetrics = (await response.text()).endsWith("# EOF\n");
    const type = response.headers.get("Content-Type");
    assertEquals(type, isOpenMetrics ? OPENMETRICS : TEXT);
    return type;
  };
  assertEquals(await typeOf(["text"], OPENMETRICS), TEXT);
  assertEquals(await typeOf(["openmetrics"], TEXT), OPENMETRICS);
  assertEquals(await typeOf(["openmetrics"], "image/png"), OPENMETRICS);
  for (
    const both of [["text", "openmetrics"], ["openmetrics", "text"]] as const
  ) {
    assertEquals(await typeOf(both), TEXT);
    assertEquals(await typeOf(both, OPENMETRICS), OPENMETRICS);
  }
});
