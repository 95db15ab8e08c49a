/**
 * Serves and fetches by HTTP, with connections that outlive their pipelines, and with
 * streams that are not read to the end. Needs `--expose-gc`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { Agent, createServer, request } from "node:http";
import { Readable } from "node:stream";
import { pipeline as pipe } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import {
  deferred,
  ownContext,
  printResults,
  totals,
  until,
} from "./scenarios.js";

// Imported dynamically, as static imports would have to be in the import map.
const { serve } = await import("@hono/node-server");
const { default: express } = await import("express");
const { default: fastify } = await import("fastify");
const { Hono } = await import("hono");
const { Pool } = await import("undici");

const HOST = "127.0.0.1";
const isBun = "Bun" in globalThis;

/** Collects garbage until a check returns a truthy value. */
function untilCollected(check) {
  return until(() => {
    if (isBun) globalThis.Bun.gc(true);
    else globalThis.gc();
    return check();
  });
}

/** Starts a server for as long as a function takes, which gets its URL. */
async function withServer(server, fn) {
  await new Promise((resolve) => server.listen(0, HOST, resolve));
  try {
    return await fn(`http://${HOST}:${server.address().port}/`);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
}

function answering() {
  return createServer((_, response) => response.end("answer"));
}

/**
 * Runs `first` in a pipeline that fails, and `second` after it. Both call `onEvent`,
 * maybe in the context that their connection was made in.
 */
async function reuseConnection(metrics, first, second) {
  const { pipeline, stage } = metrics;
  const seen = [];
  let kept = 0;
  let isOver = false;
  const onEvent = () => {
    if (!isOver) return;
    if (ownContext.getStore() === "first") kept++;
    pipeline("event", ({ lane, signal }) => {
      stage("handle", () => {});
      seen.push([lane, signal.aborted]);
    });
  };
  await ownContext.run(
    "first",
    () =>
      pipeline("first", { lane: "first" }, async () => {
        await stage("fetch", () => first(onEvent));
        throw new Error("The first one failed");
      }),
  ).catch(() => {});
  isOver = true;
  await pipeline("second", async () => {
    await stage("fetch", () => second(onEvent));
    stage("after", () => {});
  });
  const { late_pipeline = 0, ...counts } = await totals(metrics);
  return { seen, isLateWhereKept: late_pipeline === kept, counts };
}

/** Yields without end, and calls back when it is closed. */
async function* chunks(closed) {
  try {
    for (;;) {
      yield Buffer.alloc(10_000, "x");
      await delay(1);
    }
  } finally {
    closed.resolve();
  }
}

/** A stream of the web that waits to be read. */
function body() {
  return new ReadableStream({
    pull(controller) {
      controller.enqueue(new TextEncoder().encode("chunk"));
      controller.close();
    },
  }, { highWaterMark: 0 });
}

/** Asks for a body that is not sent, and waits for its collection. */
async function head(metrics, url) {
  const { headers, status } = await fetch(url, { method: "HEAD" });
  const counts = await untilCollected(async () => {
    const counts = await totals(metrics);
    return "test/page success" in counts && counts;
  });
  return { status, type: headers.get("content-type"), counts };
}

const scenarios = {
  async "node:http: a socket of an earlier pipeline"(metrics) {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const get = (url, onSocket) =>
      new Promise((resolve, reject) => {
        request(url, { agent }, (response) => {
          metrics.stage("response", () => {});
          response.resume().on("end", resolve);
        }).on("socket", onSocket).on("error", reject).end();
      });
    return await withServer(answering(), async (url) => {
      const sockets = new Set();
      const onSocket = (socket) => sockets.add(socket);
      const result = await reuseConnection(
        metrics,
        (onEvent) =>
          get(url, (socket) => {
            onSocket(socket);
            socket.on("data", onEvent);
          }),
        async () => {
          // The first request releases its socket in a later turn.
          await delay(1);
          await get(url, onSocket);
        },
      );
      agent.destroy();
      return { ...result, sockets: sockets.size };
    });
  },
  async "stream.pipeline(): the client leaves"(metrics) {
    const { pipeline, stageStream } = metrics;
    const closed = deferred();
    const piped = deferred();
    const server = createServer((_, response) => {
      const stream = pipeline(
        "page",
        () => stageStream("body", chunks(closed)),
      );
      pipe(Readable.from(stream), response).then(
        () => piped.resolve("sent"),
        ({ code }) => piped.resolve(code),
      );
    });
    return await withServer(server, async (url) => {
      const client = request(url, (response) => {
        response.on("error", () => {});
        response.once("data", () => client.destroy());
      });
      client.on("error", () => {}).end();
      const code = await piped.promise;
      await closed.promise;
      await delay(1);
      return { code, counts: await totals(metrics) };
    });
  },
  async "Hono: a HEAD request"(metrics) {
    const { pipeline, stageStream } = metrics;
    const app = new Hono();
    app.get(
      "/",
      (c) =>
        pipeline("page", () =>
          c.body(stageStream("body", body()), 200, {
            "content-type": "text/plain",
          })),
    );
    const server = serve({
      fetch: app.fetch,
      hostname: HOST,
      port: 0,
      createServer: (_, listener) => createServer(listener),
    });
    await until(() => server.address());
    const result = await head(
      metrics,
      `http://${HOST}:${server.address().port}/`,
    );
    server.close();
    return result;
  },
  async "Express: a HEAD request"(metrics) {
    const { pipeline, stageStream } = metrics;
    const app = express();
    app.get("/", (request, response) => {
      const page = pipeline("page", () => stageStream("body", body()));
      response.type("text/plain");
      if (request.method === "HEAD") response.end();
      else Readable.fromWeb(page).pipe(response);
    });
    return await withServer(createServer(app), (url) => head(metrics, url));
  },
  async "Fastify: a HEAD request"(metrics) {
    const { pipeline, stageStream } = metrics;
    const app = fastify();
    app.route({
      method: ["GET", "HEAD"],
      url: "/",
      handler(request, reply) {
        const page = pipeline("page", () => stageStream("body", body()));
        reply.type("text/plain");
        return request.method === "HEAD" ? reply.send() : reply.send(page);
      },
    });
    const url = await app.listen({ host: HOST, port: 0 });
    const result = await head(metrics, `${url}/`);
    await app.close();
    return result;
  },
};

// Bun replaces undici by its own, which has no pools.
if (!isBun) {
  scenarios["undici: a connection of an earlier pipeline"] = (metrics) =>
    withServer(answering(), async (url) => {
      const pool = new Pool(url, { connections: 1 });
      let connections = 0;
      pool.on("connect", () => connections++);
      const get = (onEvent) =>
        new Promise((resolve, reject) => {
          pool.dispatch({ path: "/", method: "GET" }, {
            onRequestStart() {},
            onResponseStart: onEvent,
            onResponseData() {},
            onResponseEnd: resolve,
            onResponseError: (_, error) => reject(error),
          });
        });
      const result = await reuseConnection(metrics, get, async (onEvent) => {
        await get(onEvent);
        const { body } = await pool.request({ path: "/", method: "GET" });
        await metrics.stage("read", () => body.text());
      });
      await pool.close();
      return { ...result, connections };
    });
}

await printResults(scenarios);
