import {
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  createServer,
  type IncomingMessage,
  request,
  type RequestListener,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { gunzipSync } from "node:zlib";
import { Gauge, Registry } from "prom-client";
import type { MetricsHandlerOptions } from "../mod.ts";
import {
  nodeMetricsHandler,
  type NodeMetricsHandlerOptions,
} from "../src/node.ts";

const EXPOSITION = "# HELP mine Help\n# TYPE mine gauge\nmine 1\n";

function registryOf(): Registry {
  const registry = new Registry();
  new Gauge({ name: "mine", help: "Help", registers: [registry] }).set(1);
  return registry;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: Uint8Array;
  readonly text: string;
}

/** Serves with a listener while a test sends requests. */
async function serve(
  listener: RequestListener,
  test: (
    ask: (
      path: string,
      headers?: Record<string, string>,
      method?: string,
    ) => Promise<Answer>,
    port: number,
  ) => Promise<void>,
): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const ask = (
    path: string,
    headers: Record<string, string> = {},
    method = "GET",
  ) =>
    new Promise<Answer>((resolve, reject) => {
      request(
        { host: "127.0.0.1", port, path, headers, method, agent: false },
        async (response) => {
          const chunks: Uint8Array[] = [];
          for await (const chunk of response) chunks.push(chunk);
          const body = new Uint8Array(chunks.flatMap((chunk) => [...chunk]));
          resolve({
            status: response.statusCode,
            headers: response.headers,
            body,
            text: new TextDecoder().decode(body),
          });
        },
      ).on("error", reject).end();
    });
  try {
    await test(ask, port);
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}

Deno.test("nodeMetricsHandler() serves both formats like metricsHandler()", async () => {
  await serve(nodeMetricsHandler({ registry: registryOf() }), async (ask) => {
    const { status, headers, text } = await ask("/anything?a=b");
    assertEquals([status, text], [200, EXPOSITION]);
    assertEquals(
      headers["content-type"],
      "text/plain; version=0.0.4; charset=utf-8",
    );
    assertEquals(headers["cache-control"], "no-store");
    assertEquals(headers["vary"], "Accept, Accept-Encoding");

    const accept = "application/openmetrics-text";
    const open = await ask("/", { Accept: accept });
    assertStringIncludes(open.headers["content-type"]!, accept);
    assertEquals(open.text.endsWith("# EOF\n"), true);
  });
});

Deno.test("nodeMetricsHandler() compresses for clients that accept gzip", async () => {
  await serve(nodeMetricsHandler({ registry: registryOf() }), async (ask) => {
    const { headers, body } = await ask("/", { "Accept-Encoding": "gzip" });
    assertEquals(headers["content-encoding"], "gzip");
    assertEquals(new TextDecoder().decode(gunzipSync(body)), EXPOSITION);
  });
});

Deno.test("nodeMetricsHandler() responds to HEAD without a body, and rejects POST", async () => {
  await serve(nodeMetricsHandler({ registry: registryOf() }), async (ask) => {
    const head = await ask("/", {}, "HEAD");
    assertEquals([head.status, head.text], [200, ""]);
    for (const method of ["POST", "DELETE", "TRACE"]) {
      const { status, headers } = await ask("/", {}, method);
      assertEquals([status, headers["allow"]], [405, "GET, HEAD"], method);
    }
  });
});

Deno.test("nodeMetricsHandler() passes other paths to next unchanged", async () => {
  const listener = nodeMetricsHandler({
    registry: registryOf(),
    next: (request: IncomingMessage, response) =>
      response.end(`next: ${request.url}`),
  });
  await serve(listener, async (ask) => {
    for (const path of ["/", "/metrics/", "/Metrics", "//metrics", "/a?b=c"]) {
      assertEquals((await ask(path)).text, `next: ${path}`);
    }
    for (
      const path of ["/metrics", "/metrics?x=y", "http://localhost/metrics"]
    ) {
      assertEquals((await ask(path)).text, EXPOSITION, path);
    }
  });
});

Deno.test("nodeMetricsHandler() responds with 400 to an invalid Host header", async () => {
  const registry = registryOf();
  const next = (_: IncomingMessage, response: ServerResponse) =>
    response.end("next");
  for (
    const listener of [
      nodeMetricsHandler({ registry }),
      nodeMetricsHandler({ registry, next }),
    ]
  ) {
    await serve(listener, async (ask) => {
      for (const Host of ["x?", "x/metrics?", "x#", "u@x", "a b"]) {
        const { status, text } = await ask("/metrics", { Host });
        assertEquals([status, text], [400, "Bad Request\n"], Host);
      }
      for (const Host of ["x", "x:80", "[::1]:80"]) {
        assertEquals((await ask("/metrics", { Host })).text, EXPOSITION, Host);
      }
    });
  }
});

Deno.test("nodeMetricsHandler() requires the token", async () => {
  const listener = nodeMetricsHandler({
    registry: registryOf(),
    token: "secret",
  });
  await serve(listener, async (ask) => {
    const refused = await ask("/", { Authorization: "Bearer other" });
    assertEquals([refused.status, refused.text], [401, "Unauthorized\n"]);
    const authorized = await ask("/", { Authorization: "Bearer secret" });
    assertEquals(authorized.text, EXPOSITION);
  });
});

Deno.test("nodeMetricsHandler() survives a client that disconnects early", async () => {
  const registry = registryOf();
  const labelNames = ["id"];
  const registers = [registry];
  const many = new Gauge({ name: "many", help: "H", labelNames, registers });
  for (let id = 0; id < 50_000; id++) many.set({ id }, id);
  await serve(nodeMetricsHandler({ registry }), async (ask, port) => {
    await new Promise<void>((resolve, reject) => {
      request({ host: "127.0.0.1", port, agent: false }, (response) => {
        response.once("data", () => {
          response.destroy();
          resolve();
        });
      }).on("error", reject).end();
    });
    assertEquals((await ask("/")).status, 200);
  });
});

Deno.test("nodeMetricsHandler() handles a request without a URL as the root path", async () => {
  const status = await new Promise((resolve) => {
    const handler = nodeMetricsHandler({
      registry: registryOf(),
      path: "/",
      next: () => resolve("none"),
    });
    const response = { writeHead: resolve, end() {} };
    handler({ method: "HEAD", headers: {} }, response as never);
  });
  assertEquals(status, 200);
});

Deno.test("nodeMetricsHandler() ignores a request that was already answered", async () => {
  const handler = nodeMetricsHandler({ registry: registryOf() });
  await serve((request, response) => {
    handler(request, response);
    response.writeHead(503).end("Too late");
  }, async (ask) => {
    const { status, text } = await ask("/metrics");
    assertEquals([status, text], [503, "Too late"]);
  });
});

Deno.test("nodeMetricsHandler() responds to requests that only a lenient parser accepts", async () => {
  const registry = registryOf();
  const urls = [
    "//",
    "http://[",
    "*",
    "a:80",
    "",
    "?",
    "#",
    "\\",
    "/\0",
    "\ud800",
  ];
  const values = ["\0", "\r\nA: b", "\u{1f600}", ["a", "\0"], [], "[", "x y"];
  const names = ["accept", "accept-encoding", "authorization", "host"]
    .concat("x-prometheus-scrape-timeout-seconds");
  const handle = async (
    handler: ReturnType<typeof nodeMetricsHandler>,
    url: string,
    headers: Record<string, string | string[]>,
  ) => {
    const statuses: number[] = [];
    const response = Object.assign(new PassThrough(), {
      writeHead: (status: number) => statuses.push(status),
    });
    response.resume();
    await handler({ method: "GET", url, headers }, response);
    return statuses;
  };
  const next = (_: unknown, response: { writeHead(status: number): unknown }) =>
    response.writeHead(404);
  for (const url of urls) {
    const handler = nodeMetricsHandler({ registry });
    assertEquals(await handle(handler, url, {}), [200], url);
    const withNext = nodeMetricsHandler({ registry, next: next as never });
    assertEquals(await handle(withNext, url, {}), [404], url);
  }
  for (const value of values) {
    for (const name of names) {
      const handler = nodeMetricsHandler({ registry });
      const [status] = await handle(handler, "/", { [name]: value });
      const isInvalid = name === "host" && value === "x y";
      assertEquals(status, isInvalid ? 400 : 200, `${name}: ${value}`);
    }
  }
});

Deno.test("nodeMetricsHandler() does not collect when the connection is closed", async () => {
  let collected = 0;
  const registry = registryOf();
  new Gauge({
    name: "counts",
    help: "Help",
    registers: [registry],
    collect: () => void collected++,
  });
  const handler = nodeMetricsHandler({ registry });
  for (const closed of [{ destroyed: true }, { writableEnded: true }]) {
    const calls: string[] = [];
    const response = {
      ...closed,
      writeHead: () => void calls.push("writeHead"),
      write: () => calls.push("write") > 0,
      end: () => void calls.push("end"),
    };
    await handler({ url: "/", headers: {} }, response);
    assertEquals(calls, []);
  }
  assertEquals(collected, 0);
});

/** Returns a registry with a metric whose collector never settles. */
function hangingRegistry(): Registry {
  const registry = registryOf();
  new Gauge({
    name: "hangs",
    help: "Help",
    registers: [registry],
    collect: () => new Promise(() => {}),
  });
  return registry;
}

Deno.test("nodeMetricsHandler() returns a promise that resolves after the response", async () => {
  const handler = nodeMetricsHandler({ registry: registryOf() });
  const isDone: boolean[] = [];
  await serve(async (request, response) => {
    const result: Promise<void> = handler(request, response);
    isDone.push(response.writableEnded);
    assertEquals(await result, undefined);
    isDone.push(response.writableEnded);
  }, async (ask) => {
    assertEquals((await ask("/")).text, EXPOSITION);
    await ask("/", {}, "HEAD");
    await ask("/", {}, "POST");
  });
  assertEquals(isDone, [false, true, false, true, false, true]);
});

Deno.test("nodeMetricsHandler() resolves its promise when the client disconnects", async () => {
  const many = registryOf();
  const labelNames = ["id"];
  const gauge = new Gauge({
    name: "m",
    help: "H",
    labelNames,
    registers: [many],
  });
  for (let id = 0; id < 50_000; id++) gauge.set({ id }, id);
  const handlers = [
    nodeMetricsHandler({ registry: many }),
    nodeMetricsHandler({ registry: hangingRegistry() }),
  ];
  for (const handler of handlers) {
    let handled = () => {};
    const isHandled = new Promise<void>((resolve) => handled = resolve);
    let arrived = () => {};
    const hasArrived = new Promise<void>((resolve) => arrived = resolve);
    await serve(async (request, response) => {
      arrived();
      await handler(request, response);
      handled();
    }, async (_, port) => {
      const headers = { "X-Prometheus-Scrape-Timeout-Seconds": "0.4" };
      const client = request({
        host: "127.0.0.1",
        port,
        headers,
        agent: false,
      }, (response) => response.once("data", () => client.destroy()));
      client.on("error", () => {}).end();
      await hasArrived;
      // The second client disconnects while its metrics are collected.
      if (handler === handlers[1]) client.destroy();
      await isHandled;
    });
  }
});

Deno.test("nodeMetricsHandler() awaits next, and rethrows its errors unchanged", async () => {
  const handle = (next: () => unknown) =>
    nodeMetricsHandler({ registry: registryOf(), next })(
      { url: "/", headers: {} },
      {} as never,
    );
  let isOver = false;
  const result = await handle(async () => {
    await new Promise((resolve) => setTimeout(resolve));
    isOver = true;
    return "next's";
  });
  assertEquals([result, isOver], [undefined, true]);
  assertEquals(await handle(() => 1), undefined);
  const error = new Error("Mine");
  await assertRejects(() => handle(() => Promise.reject(error)), Error, "Mine");
  // Thrown, as Express 4 does not handle rejections.
  assertThrows(
    () => {
      handle(() => {
        throw error;
      });
    },
    Error,
    "Mine",
  );
});

Deno.test("nodeMetricsHandler() passes on the query and the scrape timeout", async () => {
  const registry = hangingRegistry();
  const listener = nodeMetricsHandler({ registry, next: () => {} });
  await serve(listener, async (ask) => {
    for (const query of ["?name[]=mine", "?x=%zz&name%5B%5D=mine"]) {
      assertEquals((await ask(`/metrics${query}`)).text, EXPOSITION, query);
    }
    assertEquals((await ask("/metrics?name[]=none")).text, "");
    const headers = { "X-Prometheus-Scrape-Timeout-Seconds": "0.1" };
    assertEquals((await ask("/metrics", headers)).text, EXPOSITION);
  });
});

Deno.test("nodeMetricsHandler() responds only in the given formats", async () => {
  const listener = nodeMetricsHandler({
    registry: registryOf(),
    formats: ["text"],
  });
  await serve(listener, async (ask) => {
    const accept = "application/openmetrics-text";
    assertEquals((await ask("/", { Accept: accept })).text, EXPOSITION);
  });
});

Deno.test("nodeMetricsHandler() throws for invalid options", () => {
  const create = (options: unknown) => () =>
    nodeMetricsHandler(options as NodeMetricsHandlerOptions);
  assertThrows(
    create(null),
    TypeError,
    "Cannot create a metrics handler: options must be an object, got null",
  );
  assertThrows(
    create({ next: 1 }),
    TypeError,
    "Cannot create a metrics handler: next must be a function, got number",
  );
  assertThrows(
    create({ path: "metrics" } satisfies MetricsHandlerOptions),
    RangeError,
    "Cannot create a metrics handler: path must be",
  );
});
