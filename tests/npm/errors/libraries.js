/**
 * Makes clients of unresponsive servers and other libraries fail, and prints how
 * `classifyError` reads their errors.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { LIMIT_MS, printOutcomes } from "./outcomes.js";

// Imported dynamically, as static imports would have to be in the import map.
const { EmptySchema } = await import("@bufbuild/protobuf/wkt");
const { createConnectTransport } = await import("@connectrpc/connect-node");
const grpc = await import("@grpc/grpc-js");
const { default: axios } = await import("axios");
const { Effect } = await import("effect");
const { Effect: Effect3 } = await import("effect-3");
const { execa } = await import("execa");
const { default: got } = await import("got");
const { Redis } = await import("ioredis");
const { default: ky } = await import("ky");
const { MongoClient } = await import("mongodb");
const { default: mysql } = await import("mysql2/promise");
const { default: OpenAI } = await import("openai");
const { default: pg } = await import("pg");
const { default: postgres } = await import("postgres");
const { createClient } = await import("redis");
const { default: superagent } = await import("superagent");

/** A server that accepts connections and never responds. */
const unresponsive = createServer((socket) => socket.on("error", () => {}));
await new Promise((resolve) => unresponsive.listen(0, "127.0.0.1", resolve));
const { port } = unresponsive.address();
const host = "127.0.0.1";
const url = `http://${host}:${port}/`;

/** Returns a signal that aborts soon, without a timeout as its reason. */
function cancelSoon() {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), LIMIT_MS);
  return controller.signal;
}

/** Calls a gRPC method. */
async function callGrpc(target, options, use) {
  const client = new grpc.Client(target, grpc.credentials.createInsecure());
  const bytes = (value) => value;
  try {
    return await new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(
        "/test.Test/Call",
        bytes,
        bytes,
        Buffer.from("request"),
        options,
        (error, value) => error ? reject(error) : resolve(value),
      );
      use?.(call);
    });
  } finally {
    client.close();
  }
}

/** Starts a gRPC server whose only method never responds, and returns its address. */
async function serveGrpc() {
  const server = new grpc.Server();
  const bytes = (value) => value;
  const method = {
    path: "/test.Test/Call",
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
  server.addService({ call: method }, { call() {} });
  const credentials = grpc.ServerCredentials.createInsecure();
  return await new Promise((resolve, reject) =>
    server.bindAsync(
      `${host}:0`,
      credentials,
      (error, port) => error ? reject(error) : resolve(`${host}:${port}`),
    )
  );
}

const grpcTarget = await serveGrpc();

function askOpenAi(options) {
  const client = new OpenAI({ apiKey: "key", baseURL: url, maxRetries: 0 });
  return client.models.list(options);
}

await printOutcomes({
  "axios: timeout": () => axios.get(url, { timeout: LIMIT_MS }),
  "axios: timeout with a custom message": () =>
    axios.get(url, { timeout: LIMIT_MS, timeoutErrorMessage: "Too slow" }),
  "axios: clarified timeout": () =>
    axios.get(url, {
      timeout: LIMIT_MS,
      transitional: { clarifyTimeoutError: true },
    }),
  "axios: AbortSignal.timeout()": () =>
    axios.get(url, { signal: AbortSignal.timeout(LIMIT_MS) }),
  "axios: cancel": () => axios.get(url, { signal: cancelSoon() }),

  "grpc-js: deadline": () =>
    callGrpc(grpcTarget, { deadline: Date.now() + LIMIT_MS }),
  "grpc-js: no connection by the deadline": () =>
    callGrpc(`${host}:${port}`, { deadline: Date.now() + LIMIT_MS }),
  "grpc-js: waitForReady()": () => {
    const credentials = grpc.credentials.createInsecure();
    const client = new grpc.Client(`${host}:${port}`, credentials);
    return new Promise((resolve, reject) =>
      client.waitForReady(
        Date.now() + LIMIT_MS,
        (error) => error ? reject(error) : resolve(),
      )
    ).finally(() => client.close());
  },
  "grpc-js: cancel": () =>
    callGrpc(grpcTarget, {}, (call) => {
      setTimeout(() => call.cancel(), LIMIT_MS);
    }),
  "Connect: deadline": () => {
    const method = {
      kind: "rpc",
      methodKind: "unary",
      name: "Call",
      localName: "call",
      input: EmptySchema,
      output: EmptySchema,
      parent: { typeName: "test.Test" },
      idempotency: 0,
    };
    const options = { baseUrl: url, httpVersion: "1.1" };
    const transport = createConnectTransport(options);
    return transport.unary(method, undefined, LIMIT_MS, {}, {});
  },

  "openai: timeout": () => askOpenAi({ timeout: LIMIT_MS }),
  "openai: cancel": () => askOpenAi({ signal: cancelSoon() }),
  "got: timeout": () =>
    got(url, { timeout: { request: LIMIT_MS }, retry: { limit: 0 } }),
  "ky: timeout": () => ky(url, { timeout: LIMIT_MS, retry: 0 }),
  "superagent: timeout": () => superagent.get(url).timeout(LIMIT_MS),

  "execa: timeout": () => execa("sleep", ["60"], { timeout: LIMIT_MS }),
  "execa: kill": () => {
    const child = execa("sleep", ["60"]);
    setTimeout(() => child.kill(), LIMIT_MS);
    return child;
  },

  "effect: timeout": () =>
    Effect.runPromise(Effect.timeout(Effect.never, LIMIT_MS)),
  "effect: interruption": () =>
    Effect.runPromise(Effect.never, { signal: cancelSoon() }),
  "effect 3: timeout": () =>
    Effect3.runPromise(Effect3.timeout(Effect3.never, LIMIT_MS)),
  "effect 3: timeout of a promise": () =>
    Effect3.runPromise(Effect3.tryPromise({
      try: () => axios.get(url, { timeout: LIMIT_MS }),
      catch: (error) => error,
    })),
  "effect 3: interruption": () =>
    Effect3.runPromise(Effect3.never, { signal: cancelSoon() }),

  "ioredis: commandTimeout": () => {
    const options = { commandTimeout: LIMIT_MS, enableReadyCheck: false };
    const redis = new Redis(port, { ...options, retryStrategy: null });
    return redis.get("key").finally(() => redis.disconnect());
  },
  "redis: socketTimeout": () => {
    const redis = createClient({
      socket: { host, port, socketTimeout: LIMIT_MS, reconnectStrategy: false },
    });
    redis.on("error", () => {});
    return redis.connect();
  },
  "mysql2: connectTimeout": () =>
    mysql.createConnection({ host, port, connectTimeout: LIMIT_MS }),
  "mongodb: serverSelectionTimeoutMS": () => {
    const client = new MongoClient(`mongodb://${host}:${port}`, {
      serverSelectionTimeoutMS: LIMIT_MS,
    });
    return client.connect().finally(() => client.close());
  },
  "pg: connectionTimeoutMillis": () =>
    new pg.Client({ host, port, connectionTimeoutMillis: LIMIT_MS }).connect(),
  "pg: connectionTimeoutMillis of a pool": () =>
    new pg.Pool({ host, port, connectionTimeoutMillis: LIMIT_MS }).connect(),
  "postgres: connect_timeout": () =>
    postgres({ host, port, connect_timeout: LIMIT_MS / 1000 })`SELECT 1`,
});
