/** Tests slow, aborting and malicious clients, on every server of the runtime. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { syncBuiltinESMExports } from "node:module";
import { mock } from "node:test";
import { Gauge, Registry } from "prom-client";
import {
  createStageMetrics,
  metricsHandler,
  type StageMetrics,
} from "../../mod.ts";
import { runFixture } from "../support/process.ts";
import { pipelineTotal, samplesOf } from "../support/samples.ts";
import {
  ask,
  NEXT,
  receive,
  send,
  serveAll,
  type Server,
} from "../support/servers.ts";
import { until } from "../support/wait.ts";

const TEXT = "text/plain";
const OPENMETRICS = "application/openmetrics-text";

/** Creates metrics that take several slices to render. */
function fill(): StageMetrics {
  const metrics = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue({ message }) {
      throw new Error(`Unexpected issue: ${message}`);
    },
  });
  for (let i = 0; i < 500; i++) metrics.pipeline(`p${i}`, () => {});
  return metrics;
}

/** Calls a function with each kind of server of the runtime. */
async function forEachServer(
  metrics: StageMetrics,
  test: (server: Server) => Promise<void>,
  token?: string,
): Promise<void> {
  const { registry } = metrics;
  const servers = await serveAll({ registry, token });
  try {
    for (const server of servers) await test(server);
  } finally {
    for (const server of servers) await server.stop();
  }
}

/** Returns whether a response contains all metrics, up to its last line. */
function isWhole(answer: string, format: string): boolean {
  const names = answer.match(
    /^lukhas_orchestration_pipeline_total\{.*success/gm,
  );
  const last = format === OPENMETRICS ? /\n# EOF\n/ : /issues_total\{.*\} 0\n/;
  return names?.length === 500 && last.test(answer);
}

/** Returns the raw response to a scrape. */
function scrape(server: Server, accept = TEXT): Promise<string> {
  // HTTP/1.0 has no chunk sizes in the body.
  return ask(server, "GET /metrics HTTP/1.0", "Host: a", `Accept: ${accept}`);
}

Deno.test("metricsHandler() serves a hundred scrapes at once in both formats", async () => {
  const metrics = fill();
  await forEachServer(metrics, async (server) => {
    const formats = Array.from(
      { length: 100 },
      (_, i) => [TEXT, OPENMETRICS][i % 2]!,
    );
    const answers = await Promise.all(
      formats.map((format) => scrape(server, format)),
    );
    answers.forEach((answer, i) => {
      const isRight = isWhole(answer, formats[i]!);
      assert(isRight, `${server.name}: ${answer.slice(0, 1000)}`);
    });
  });
});

Deno.test("metricsHandler() serves whole scrapes while others are aborted", async () => {
  const metrics = fill();
  await forEachServer(metrics, async (server) => {
    for (let i = 0; i < 50; i++) {
      const socket = await send(server, "GET /metrics HTTP/1.1", "Host: a");
      // Half of them before the response, half in the middle of it.
      if (i % 2) await new Promise((resolve) => socket.once("data", resolve));
      socket.destroy();
    }
    assert(isWhole(await scrape(server), TEXT), server.name);
  });
  assertEquals(await samplesOf(metrics, /_issues_total$|_in_progress$/), {});
});

Deno.test("metricsHandler() serves a slow client a snapshot, and others meanwhile", async () => {
  const metrics = fill();
  let runs = 1;
  await forEachServer(metrics, async (server) => {
    const slow = await send(server, "GET /metrics HTTP/1.0", "Host: a");
    let start = "";
    for (let i = 0; i < 100; i++) {
      let byte: Uint8Array | null;
      while ((byte = slow.read(1)) === null) {
        await new Promise((resolve) => slow.once("readable", resolve));
      }
      start += String.fromCharCode(...byte);
    }
    metrics.pipeline("p499", () => {});
    runs++;
    const quick = await scrape(server);
    const rest = new TextDecoder().decode(await receive(slow));
    assert(isWhole(quick, TEXT), server.name);
    assert(isWhole(start + rest, TEXT), server.name);
    const total = (text: string) =>
      /pipeline_total\{.*"p499",status="success"\} (\d+)/.exec(text)?.[1];
    assertEquals([total(rest), total(quick)], [`${runs - 1}`, `${runs}`]);
  });
});

Deno.test("metricsHandler() sends the same headers for HEAD as for GET", async () => {
  const metrics = fill();
  await forEachServer(metrics, async (server) => {
    for (const version of ["1.0", "1.1"]) {
      const headersOf = async (method: string) => {
        const line = `${method} /metrics HTTP/${version}`;
        const answer = await ask(
          server,
          line,
          "Host: a",
          "Accept-Encoding: gzip",
        );
        const [head = "", ...body] = answer.split("\r\n\r\n");
        const headers = head.toLowerCase().split("\r\n")
          // Some servers omit the transfer encoding for HEAD.
          .filter((line) => !/^(date|transfer-encoding):/.test(line)).sort();
        return { headers, body: body.join() };
      };
      const head = await headersOf("HEAD");
      const get = await headersOf("GET");
      assertEquals(head, { headers: get.headers, body: "" }, server.name);
      const all = head.headers.join("\n");
      assert(!all.includes("content-length"), `${server.name}: ${all}`);
      assert(all.includes("content-encoding: gzip"), `${server.name}: ${all}`);
    }
  });
});

/** The maximum number of snapshots. */
const SNAPSHOTS = 4;

/** Starts the maximum number of unread scrapes, each with its own snapshot. */
async function beginUnread({ registry, pipeline }: StageMetrics) {
  const handler = metricsHandler({ registry });
  const ask = (headers: HeadersInit = {}) =>
    handler(new Request("http://localhost/", { headers }));
  const begin = async () => (await ask()).body!.getReader();
  const readers = [];
  for (let i = 0; i < SNAPSHOTS; i++) {
    pipeline("p0", () => {});
    readers.push(await begin());
  }
  return { ask, begin, readers };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 1));
}

async function readToEnd(reader: ReadableStreamDefaultReader): Promise<void> {
  while (!(await reader.read()).done);
}

Deno.test("metricsHandler() lets scrapes wait for room, then share a snapshot", async () => {
  const metrics = fill();
  const { begin, readers } = await beginUnread(metrics);
  let begun = 0;
  const waiting = Array.from({ length: 50 }, async () => {
    const reader = await begin();
    begun++;
    return reader;
  });
  for (let i = 0; i < 10; i++) await nextTurn();
  assertEquals(begun, 0);
  await readToEnd(readers.pop()!);
  const begunReaders = await Promise.all(waiting);
  // None was aborted.
  await Promise.all([...begunReaders, ...readers].map(readToEnd));
});

/** Calls a function that controls `performance.now()`. */
async function withClock(
  test: (setNow: (milliseconds: number) => void) => Promise<void>,
): Promise<void> {
  const { now } = performance;
  const start = performance.now();
  try {
    await test((milliseconds) => {
      performance.now = () => start + milliseconds;
    });
  } finally {
    performance.now = now;
  }
}

Deno.test("metricsHandler() aborts a scrape unread for half a second if another waits", async () => {
  const { begin, readers } = await beginUnread(fill());
  await withClock(async (setNow) => {
    setNow(900);
    await readers[0]!.read();
    setNow(1_500);
    readers.push(await begin());
  });
  const [first, aborted, ...others] = readers;
  await assertRejects(() => readToEnd(aborted!), Error, "read too slowly");
  await Promise.all([first!, ...others].map(readToEnd));
});

Deno.test("metricsHandler() aborts a scrape read for four seconds if another waits", async () => {
  const { begin, readers } = await beginUnread(fill());
  await withClock(async (setNow) => {
    for (const milliseconds of [0, 900, 1_800, 2_700, 3_600, 4_500]) {
      setNow(milliseconds);
      for (const reader of readers) await reader.read();
    }
    readers.push(await begin());
  });
  const [aborted, ...others] = readers;
  await assertRejects(() => readToEnd(aborted!), Error, "read too slowly");
  await Promise.all(others.map(readToEnd));
});

/** Calls a function with timers that it advances itself. */
async function withTimers(
  test: (pass: (milliseconds: number) => void) => Promise<void>,
): Promise<void> {
  mock.timers.enable({ apis: ["setTimeout"] });
  // The mocks must also replace functions that were imported by name.
  syncBuiltinESMExports();
  try {
    await test((milliseconds) => mock.timers.tick(milliseconds));
  } finally {
    mock.timers.reset();
    syncBuiltinESMExports();
  }
}

Deno.test("metricsHandler() aborts a scrape after two minutes, even if it is still read", async () => {
  const { registry } = fill();
  const handler = metricsHandler({ registry });
  await withTimers(async (pass) => {
    for (const headers of [{}, { "Accept-Encoding": "gzip" }]) {
      const request = new Request("http://localhost/", { headers });
      const reader = (await handler(request)).body!.getReader();
      for (const seconds of [30, 30, 30, 29]) {
        pass(1000 * seconds);
        assertEquals((await reader.read()).done, false);
      }
      pass(1000);
      await assertRejects(() => reader.read(), Error, "read too slowly");
    }
  });
});

Deno.test("metricsHandler() responds with 503 after half of the scrape timeout", async () => {
  const { ask, readers } = await beginUnread(fill());
  const timeout = { "X-Prometheus-Scrape-Timeout-Seconds": "0.1" };
  const response = await ask(timeout);
  assertEquals(response.status, 503);
  assertEquals(response.headers.get("Retry-After"), "1");
  assertEquals(await response.text(), "Service Unavailable\n");
  await readToEnd(readers.pop()!);
  assertEquals((await (await ask(timeout)).text()).length > 100_000, true);
  await Promise.all(readers.map(readToEnd));
});

Deno.test("metricsHandler() admits the latest scrape first", async () => {
  const { begin, readers } = await beginUnread(fill());
  const order: string[] = [];
  const wait = async (name: string) => {
    const reader = await begin();
    order.push(name);
    await readToEnd(reader);
  };
  const early = wait("early");
  // Lets the early scrape collect its metrics.
  await nextTurn();
  const late = wait("late");
  await nextTurn();
  await readToEnd(readers.pop()!);
  await Promise.all([early, late]);
  assertEquals(order, ["late", "early"]);
  await Promise.all(readers.map(readToEnd));
});

Deno.test("metricsHandler() shares a snapshot with scrapes that waited when it began", async () => {
  const { registry } = fill();
  let collected = 0;
  new Gauge({
    name: "counts",
    help: "Help",
    registers: [registry] as never,
    collect: () => void collected++,
  });
  const handler = metricsHandler({ registry, maxRequestsInFlight: 2 });
  const begin = async () =>
    (await handler(new Request("http://localhost/"))).body!.getReader();
  // The order of arrival counts, even if fake timers stop the clock.
  await withClock(async (setNow) => {
    setNow(0);
    const [first, second] = await Promise.all([begin(), begin()]);
    const waiting = [begin(), begin()];
    await nextTurn();
    await readToEnd(first!);
    // The other scrape waits while the snapshot is collected.
    await Promise.race(waiting);
    await nextTurn();
    // This scrape arrives too late for the snapshot.
    const late = begin();
    await nextTurn();
    assertEquals(collected, 2);
    await readToEnd(second!);
    await readToEnd(await late);
    assertEquals(collected, 3);
    const readers = await Promise.all(waiting);
    assertEquals(collected, 3);
    await Promise.all(readers.map(readToEnd));
  });
});

Deno.test("metricsHandler() retains few snapshots of many foreign samples", async () => {
  const { registry } = fill();
  const values = Array.from(
    { length: 150_000 },
    (_, i) => ({ labels: { i: `${i}` }, value: i }),
  );
  let collected = 0;
  const large = {
    name: "large",
    help: "Help",
    type: "gauge",
    get() {
      collected++;
      return { ...large, aggregator: "sum", values };
    },
  };
  registry.registerMetric(large);
  const handler = metricsHandler({ registry });
  const begin = async () =>
    (await handler(new Request("http://localhost/"))).body!.getReader();
  await withClock(async (setNow) => {
    setNow(0);
    const unread = [await begin(), await begin()];
    const waiting = begin();
    for (let i = 0; i < 10; i++) await nextTurn();
    assertEquals(collected, 2);
    await unread[0]!.cancel();
    await (await waiting).cancel();
    assertEquals(collected, 3);
    await unread[1]!.cancel();
  });
});

Deno.test("metricsHandler() limits the scrapes in flight to maxRequestsInFlight", async () => {
  const { registry } = fill();
  const handler = metricsHandler({ registry, maxRequestsInFlight: 3 });
  const headers = { "X-Prometheus-Scrape-Timeout-Seconds": "0.1" };
  const ask = () => handler(new Request("http://localhost/", { headers }));
  const responses = await Promise.all([ask(), ask(), ask(), ask()]);
  const statuses = responses.map(({ status }) => status);
  assertEquals(statuses.sort(), [200, 200, 200, 503]);
  const texts = await Promise.all(responses.map((each) => each.text()));
  assertEquals(texts.filter((text) => isWhole(`${text}`, TEXT)).length, 3);
  // A cancelled scrape makes room, too.
  for (let i = 0; i < 10; i++) await (await ask()).body!.cancel();
});

Deno.test("metricsHandler() compresses once for concurrent clients of any speed", async () => {
  const { registry } = fill();
  const handler = metricsHandler({ registry });
  const headers = { "Accept-Encoding": "gzip" };
  const ask = async () =>
    (await handler(new Request("http://localhost/", { headers }))).body!;
  let compressors = 0;
  const { CompressionStream } = globalThis;
  globalThis.CompressionStream = class extends CompressionStream {
    constructor(format: CompressionFormat) {
      super(format);
      compressors++;
    }
  };
  const compressed = await Promise.all(Array.from({ length: 5 }, ask));
  globalThis.CompressionStream = CompressionStream;
  assertEquals(compressors, 1);
  await compressed[0]!.cancel();
  const texts = [];
  for (const each of compressed.slice(1)) {
    const text = each.pipeThrough(new DecompressionStream("gzip"));
    texts.push(await new Response(text).text());
  }
  for (const text of texts) assert(isWhole(text, TEXT), text.slice(0, 1000));
  assertEquals(new Set(texts).size, 1);
});

/** Creates metrics beside a foreign one whose collector never returns. */
function withHungCollector() {
  const messages: string[] = [];
  const { registry, pipeline, metricsHandler } = createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue: ({ message }) => messages.push(message),
  });
  let calls = 0;
  new Gauge({
    name: "hangs",
    help: "Help",
    registers: [registry] as never,
    collect() {
      calls++;
      return new Promise<void>(() => {});
    },
  });
  const handler = metricsHandler();
  // Limits the wait for the collector to one second.
  const headers = { "X-Prometheus-Scrape-Timeout-Seconds": "2" };
  const scrape = async () => {
    const response = await handler(new Request("http://a/", { headers }));
    return { status: response.status, text: await response.text() };
  };
  return { pipeline, scrape, messages, calls: () => calls };
}

/** The value of the pipeline's total in a text that is complete. */
function totalIn(text: string): string | undefined {
  assertMatch(text, /_issues_total\{.*\} \d+\n$/);
  return /pipeline_total\{.*"p",status="success"\} (\d+)/.exec(text)?.[1];
}

Deno.test("metricsHandler() lets no later scrape wait longer for a hung collector", async () => {
  const { pipeline, scrape, messages, calls } = withHungCollector();
  const scrapeOnce = () => {
    pipeline("p", () => {});
    return scrape();
  };
  const order: string[] = [];
  const note = async <T>(name: string, scraping: Promise<T>) => {
    const scraped = await scraping;
    order.push(name);
    return scraped;
  };
  const starting = note("first", scrapeOnce());
  await until(() => calls() === 1);
  const waiting = note("second", scrapeOnce());
  const first = await starting;
  // Waits in full for another hung collector, beginning now.
  const reference = note("reference", withHungCollector().scrape());
  const second = await waiting;
  const third = await note("third", scrapeOnce());
  await reference;
  // The first two wait for the same call, and not for one another.
  assertEquals(order.indexOf("reference"), 3, order.join());
  const all = [first, second, third];
  assertEquals(all.map(({ status }) => status), [200, 200, 200]);
  assertEquals(all.map(({ text }) => totalIn(text)), ["2", "2", "3"]);
  assertEquals(calls(), 1);
  assertEquals(
    messages.map((message) => message.replace(/\d+ ms ago/, "… ms ago")),
    [
      ...Array(2).fill(
        'Metric "hangs" was left out: TimeoutError: Its collector took longer than 1000 ms',
      ),
      'Metric "hangs" was left out: TimeoutError: Its collector was called … ms ago and is not called again until it finishes',
    ],
  );
});

Deno.test("metricsHandler() serves a scrape after many with a hung collector", async () => {
  const { pipeline, scrape, calls } = withHungCollector();
  pipeline("p", () => {});
  // More than the limit of scrapes in flight.
  const crowd = Array.from({ length: 300 }, scrape);
  await until(() => calls() === 1);
  for (const { status, text } of await Promise.all(crowd)) {
    if (status !== 503) assertEquals([status, totalIn(text)], [200, "1"]);
  }
  pipeline("p", () => {});
  const { status, text } = await scrape();
  assertEquals([status, totalIn(text), calls()], [200, "2", 1]);
});

Deno.test("metricsHandler() bounds and frees the memory of unread scrapes", async () => {
  const printed = await runFixture("unread_scrapes", [
    "--v8-flags=--expose-gc",
  ]);
  const { heldTogether, heldOneByOne, left } = JSON.parse(printed);
  // In megabytes. Without sharing, each of the 60 snapshots would retain two.
  assert(heldTogether < 64, printed);
  assert(heldOneByOne < 64, printed);
  assert(left < 8, printed);
});

Deno.test("metricsHandler() serves scrapes beside a hundred idle and slow clients", async () => {
  const printed = await runFixture("idle_clients", ["--allow-all"]);
  const servers: Record<string, { failures: string[]; megabytes: number }> =
    JSON.parse(printed);
  assert(Object.keys(servers).length >= 2, printed);
  for (const [name, { failures, megabytes }] of Object.entries(servers)) {
    assertEquals(failures, [], name);
    assert(megabytes < 150, `${name}: ${printed}`);
  }
});

Deno.test("nodeMetricsHandler() survives clients that disconnect or send invalid bytes", async () => {
  const printed = await runFixture("misbehaving_clients", ["--allow-all"]);
  assertEquals(JSON.parse(printed), {
    invalid: [],
    left: "HTTP/1.1 200 OK",
    leftHttp2: 200,
  });
});

Deno.test("metricsHandler() names the format that it sends for any Accept header", async () => {
  const headers = [
    "",
    ",",
    ";;;,,,===",
    "*/*;q=0",
    "text/plain;q=0, application/openmetrics-text;q=0",
    "application/openmetrics-text;q=2",
    "application/openmetrics-text;q=-1",
    "application/openmetrics-text;q=NaN;q=1;q=0.5",
    "application/openmetrics-text; version=9.9.9",
    'application/openmetrics-text; version="1.0.0"; charset="utf-16"',
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
    "\t text/plain \t ; \t q \t = \t 1 \t",
    "'\"\\<>{}[]()@:?/",
    "*/*, ".repeat(1000),
    `gzip;q=${"0".repeat(4000)}`,
    "a".repeat(6000),
  ];
  const metrics = fill();
  await forEachServer(metrics, async (server) => {
    for (const each of headers) {
      const answer = await ask(
        server,
        "GET /metrics HTTP/1.0",
        "Host: a",
        `Accept: ${each}`,
        `Accept-Encoding: ${each}`,
      );
      const context = `${server.name}, ${each.slice(0, 80)}: ${
        answer.slice(0, 500)
      }`;
      assert(/^HTTP\/1\.[01] 200/.test(answer), context);
      const [head = ""] = answer.split("\r\n\r\n");
      const type = /^content-type: (.*);/im.exec(head)?.[1]?.split(";")[0];
      if (/^content-encoding: gzip/im.test(head)) continue;
      assert(isWhole(answer, type!), context);
    }
  });
});

Deno.test("metricsHandler() serves metrics only on its path, for any path and host", async () => {
  const metrics = fill();
  const metricsLines = [
    "GET /metrics HTTP/1.0",
    "GET /metrics?a=/b HTTP/1.1\r\nHost: a",
    "GET /x/../metrics HTTP/1.1\r\nHost: a",
    "GET http://elsewhere/metrics HTTP/1.1\r\nHost: a",
    "GET /metrics HTTP/1.1\r\nHost: [::1]:80",
    "GET /metrics HTTP/1.1\r\nHost: xn--bcher-kva.example:8000",
    "GET /metrics HTTP/1.1\r\nHost:",
    "GET https://u@elsewhere:1/metrics?a#b HTTP/1.1\r\nHost: a",
    "GET /metrics#a HTTP/1.1\r\nHost: a",
    "GET /metrics HTTP/1.1\r\nHost: a\r\nUpgrade: h2c",
    "GET /metrics HTTP/1.1\r\nHost: a\r\nX-Original-URL: /",
  ];
  const otherLines = [
    "GET / HTTP/1.0",
    "GET //metrics HTTP/1.1\r\nHost: a",
    "GET /metrics/ HTTP/1.1\r\nHost: a",
    "GET /METRICS HTTP/1.1\r\nHost: a",
    "GET /%6detrics HTTP/1.1\r\nHost: a",
    "GET /metrics%2f HTTP/1.1\r\nHost: a",
    "GET /metrics%00 HTTP/1.1\r\nHost: a",
    "GET /metrics;x HTTP/1.1\r\nHost: a",
    "GET /?/metrics HTTP/1.1\r\nHost: a",
    "GET //[/metrics HTTP/1.1\r\nHost: a",
    "GET http://[/ HTTP/1.1\r\nHost: a",
    "GET / HTTP/1.1\r\nHost: [",
    "GET / HTTP/1.1\r\nHost: a b:c:d",
    // Some servers build the URL of the request from this header.
    ...[
      "x/metrics?",
      "x/metrics#",
      "x\\metrics?",
      "u@x/metrics?",
      "x /metrics?",
      "/metrics?",
      "[::1]:80/metrics?",
      "x, y/metrics?",
      "http://x/metrics?",
      "x%2fmetrics?",
      "x\tmetrics",
      "a\r\nHost: x/metrics?",
      "a\r\nX-Forwarded-Host: x/metrics?",
      "a\r\nX-Original-URL: /metrics",
    ]
      .map((host) => `GET / HTTP/1.1\r\nHost: ${host}`),
    ...["x?", "x#", "x\\y", "x/y", "u@x", "x y", "x\ty", "x%2fy?"]
      .map((host) => `GET /metrics HTTP/1.1\r\nHost: ${host}`),
    "GET http://elsewhere/ HTTP/1.1\r\nHost: x/metrics?",
    "GET http://elsewhere?/metrics HTTP/1.1\r\nHost: a",
    "OPTIONS * HTTP/1.1\r\nHost: x/metrics?",
    "GET //x/metrics HTTP/1.1\r\nHost:",
    "GET /#/metrics HTTP/1.1\r\nHost: a",
    "GET /metrics\\ HTTP/1.1\r\nHost: a",
    "GET /a/..%2fmetrics HTTP/1.1\r\nHost: a",
    "GET metrics HTTP/1.1\r\nHost: a",
    "OPTIONS /metrics HTTP/1.1\r\nHost: a",
    "CONNECT /metrics HTTP/1.1\r\nHost: a",
    "CONNECT a:80 HTTP/1.1\r\nHost: x/metrics?",
    "GET / HTTP/1.1\r\nHost: x/metrics?\r\nUpgrade: h2c",
  ];
  await forEachServer(metrics, async (server) => {
    for (const line of metricsLines) {
      const answer = await ask(server, line);
      assert(answer.includes("pipeline_total{"), `${server.name}: ${line}`);
    }
    for (const line of otherLines) {
      const answer = await ask(server, line);
      // Some servers refuse the request themselves, or close the connection.
      const isRefused = /^($|HTTP\/1\.1 4)/.test(answer);
      const context = `${server.name}, ${line}: ${answer}`;
      assert(isRefused || answer.includes(NEXT), context);
    }
    assert(isWhole(await scrape(server), TEXT), server.name);
  });
});

Deno.test("metricsHandler() reveals nothing to clients with a wrong token", async () => {
  const metrics = fill();
  const token = "s3cret-token";
  await forEachServer(metrics, async (server) => {
    const answerTo = (...headers: string[]) =>
      ask(server, "GET /metrics HTTP/1.0", "Host: a", ...headers);
    for (
      const wrong of [
        [],
        ["Authorization:"],
        [`Authorization: ${token}`],
        ["Authorization: Bearer"],
        ["Authorization: Bearer s3cret-toke"],
        ["Authorization: Bearer s3cret-tokenn"],
        ["Authorization: Bearer S3CRET-TOKEN"],
        [`Authorization: Basic ${btoa(token)}`],
        [`Authorization: Bearer "${token}"`],
        [`Authorization: Bearer${token}`],
        [`Authorization: Bearer ${"x".repeat(8000)}`],
        ["Authorization: Bearer x", `Authorization: Bearer ${token}`],
        [`X-Authorization: Bearer ${token}`],
        [`Cookie: Authorization=Bearer ${token}`],
      ]
    ) {
      const answer = await answerTo(...wrong);
      const context = `${server.name}, ${wrong}: ${answer.slice(0, 500)}`;
      assert(/^HTTP\/1\.[01] 4/.test(answer), context);
      assertEquals(answer.includes("pipeline"), false, context);
      assertEquals(answer.includes(token), false, context);
    }
    const answer = await answerTo(`Authorization: Bearer ${token}`);
    assert(isWhole(answer, TEXT), server.name);
  }, token);
  assertEquals((await samplesOf(metrics))[pipelineTotal("p0", "success")], 1);
});
