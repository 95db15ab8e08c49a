import type { MetricsHandlerOptions } from "../mod.ts";
import {
  nodeMetricsHandler,
  type NodeMetricsHandlerOptions,
} from "../src/node.ts";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import {
  createServer,
  type IncomingMessage,
  request,
  type RequestListener,
} from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { Gauge, Registry } from "prom-client";

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

/** Serves by a listener for as long as a function asks. */
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

Deno.test("nodeMetricsHandler() serves what metricsHandler() does, in both formats", async () => {
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

Deno.test("nodeMetricsHandler() compresses where the client takes it", async () => {
  await serve(nodeMetricsHandler({ registry: registryOf() }), async (ask) => {
    const { headers, body } = await ask("/", { "Accept-Encoding": "gzip" });
    assertEquals(headers["content-encoding"], "gzip");
    assertEquals(new TextDecoder().decode(gunzipSync(body)), EXPOSITION);
  });
});

Deno.test("nodeMetricsHandler() answers HEAD without a body, and refuses all other methods", async () => {
  await serve(nodeMetricsHandler({ registry: registryOf() }), async (ask) => {
    const head = await ask("/", {}, "HEAD");
    assertEquals([head.status, head.text], [200, ""]);
    for (const method of ["POST", "DELETE", "TRACE"]) {
      const { status, headers } = await ask("/", {}, method);
      assertEquals([status, headers["allow"]], [405, "GET, HEAD"], method);
    }
  });
});

Deno.test("nodeMetricsHandler() hands every other path to `next`, as it came", async () => {
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

Deno.test("nodeMetricsHandler() asks for the token", async () => {
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

Deno.test("nodeMetricsHandler() survives a client that leaves in the middle", async () => {
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

Deno.test("nodeMetricsHandler() takes a request without a URL for one of the root", async () => {
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

Deno.test("nodeMetricsHandler() leaves a request alone that another has answered", async () => {
  const handler = nodeMetricsHandler({ registry: registryOf() });
  await serve((request, response) => {
    handler(request, response);
    response.writeHead(503).end("Too late");
  }, async (ask) => {
    const { status, text } = await ask("/metrics");
    assertEquals([status, text], [503, "Too late"]);
  });
});

Deno.test("nodeMetricsHandler() throws for senseless options", () => {
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
