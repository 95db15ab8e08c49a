/** Tests the npm package in programs that use real libraries, in Node and Bun. */
import { assertEquals } from "@std/assert";
import { fetched, specifiersOf } from "./install.ts";
import { findRedis, startRedis } from "./redis.ts";
import { installBun, installNode } from "./runtimes.ts";
import { installScripts, runScript } from "./scripts.ts";

const SCRIPTS = new URL("libraries/", import.meta.url);

/** Packages for these tests only, so that no other command downloads them. */
const LIBRARIES = [
  "@hono/node-server@^2.1.9",
  "ai@^7.0.173",
  "bullmq@^6.7.0",
  "dataloader@^2.2.3",
  "ioredis@^6.0.0",
  "lru-cache@^11.5.3",
  "p-memoize@^9.0.0",
  "p-queue@^10.0.0",
  "redis@^6.3.1",
  "zod@^4.6.7",
  ...specifiersOf(["express", "fastify", "hono", "undici"]),
];

/** The results of the scenarios of a script, by their names. */
type Results = Readonly<Record<string, unknown>>;

const JOBS = ["a", "b", "c", "d", "e"];

/** The counts of five jobs. The first attempt at one of them fails while writing. */
const JOB_COUNTS = {
  "request/request failure": 1,
  "request/request/make success": 1,
  "test/a success": 1,
  "test/a/commit success": 1,
  "test/a/read success": 1,
  "test/a/write success": 1,
  "test/b success": 1,
  "test/b/commit success": 1,
  "test/b/read success": 1,
  "test/b/write success": 1,
  "test/c failure": 1,
  "test/c success": 1,
  "test/c/commit success": 1,
  "test/c/read success": 2,
  "test/c/write failure": 1,
  "test/c/write success": 1,
  "test/d success": 1,
  "test/d/commit success": 1,
  "test/d/read success": 1,
  "test/d/write success": 1,
  "test/e success": 1,
  "test/e/commit success": 1,
  "test/e/read success": 1,
  "test/e/write success": 1,
};

/** A root pipeline handles each message. Its signal is not aborted. */
const MESSAGES = {
  seen: { '["test",false]': 3 },
  isLateWhereKept: true,
  counts: {
    "request/request failure": 1,
    "request/request/make success": 1,
    "test/message success": 3,
    "test/message/handle success": 3,
  },
};

const REDIS_RESULTS: Results = {
  "BullMQ: a worker made in a request": {
    seen: { '["test",false,"request"]': 6 },
    counts: { ...JOB_COUNTS, late_pipeline: 6 },
  },
  "BullMQ: a worker made in a request, detached": {
    seen: { '["test",false,"request"]': 6 },
    counts: JOB_COUNTS,
  },
  "BullMQ: five jobs at once": {
    own: { true: 25 },
    counts: {
      late_pipeline: 5,
      "request/request failure": 1,
      "request/request/make success": 1,
      ...Object.fromEntries(JOBS.flatMap((job) => [
        [`test/${job} success`, 1],
        [`test/${job}/wait success`, 1],
        ...JOBS.map((stage) => [`test/${job}/${stage} success`, 1]),
      ])),
    },
  },
  "ioredis: a subscriber made in a request": MESSAGES,
  "redis: a subscriber made in a request": MESSAGES,
};

/** The load has the outcome of the first pipeline. The other pipelines have its value. */
const MEMO_RESULT = {
  results: ["TimeoutError", "value of x", "value of y", "value of x"],
  counts: {
    "test/a timeout": 1,
    "test/a/load timeout": 1,
    "test/b success": 1,
    "test/c success": 1,
    "test/c/load success": 1,
    "test/later success": 1,
  },
};

const SHARED_WORK_RESULTS: Results = {
  "DataLoader: a deadline of the first": {
    results: ["TimeoutError", "value of x", "value of y", "value of x"],
    counts: {
      "test/a timeout": 1,
      "test/a/load timeout": 1,
      "test/b success": 1,
      "test/c success": 1,
      "test/later success": 1,
    },
  },
  "DataLoader: a cancellation of the first": {
    results: ["AbortError", "value of x", "value of y", "value of x"],
    counts: {
      "cancelled test/a failure": 1,
      "cancelled test/a/load failure": 1,
      "test/a failure": 1,
      "test/a/load failure": 1,
      "test/b success": 1,
      "test/c success": 1,
      "test/later success": 1,
    },
  },
  "p-memoize: a deadline of the first": MEMO_RESULT,
  "lru-cache: a deadline of the first": MEMO_RESULT,
  "p-queue: a deadline of the first": {
    results: ["TimeoutError", "b", "c"],
    most: 1,
    first: 1,
  },
  "p-queue: bind()": {
    results: ["TimeoutError", "b", "c"],
    counts: {
      "test/a timeout": 1,
      "test/a/prepare success": 1,
      "test/a/work timeout": 1,
      "test/b success": 1,
      "test/b/prepare success": 1,
      "test/b/work success": 1,
      "test/c success": 1,
      "test/c/prepare success": 1,
      "test/c/work success": 1,
    },
  },
};

/** Later requests on the connection of a failed pipeline do not belong to it. */
const CONNECTION = {
  seen: [["test", false]],
  isLateWhereKept: true,
};

/** The counts of a page whose consumer stops reading early. */
const CANCELLED_PAGE = {
  "cancelled test/page success": 1,
  "cancelled test/page/body success": 1,
  "test/page success": 1,
  "test/page/body success": 1,
};

const HTTP_RESULTS: Results = {
  "node:http: a socket of an earlier pipeline": {
    ...CONNECTION,
    counts: {
      "first/first failure": 1,
      "first/first/fetch success": 1,
      "first/first/response success": 1,
      "test/event success": 1,
      "test/event/handle success": 1,
      "test/second success": 1,
      "test/second/after success": 1,
      "test/second/fetch success": 1,
      "test/second/response success": 1,
    },
    sockets: 1,
  },
  "stream.pipeline(): the client leaves": {
    code: "ERR_STREAM_PREMATURE_CLOSE",
    counts: CANCELLED_PAGE,
  },
  "Hono: a HEAD request": {
    status: 200,
    type: "text/plain",
    counts: CANCELLED_PAGE,
  },
  "Express: a HEAD request": {
    status: 200,
    type: "text/plain; charset=utf-8",
    counts: CANCELLED_PAGE,
  },
  "Fastify: a HEAD request": {
    status: 200,
    type: "text/plain",
    counts: CANCELLED_PAGE,
  },
};

/** Bun replaces undici by its own, which has no pools. */
const NODE_HTTP_RESULTS: Results = {
  ...HTTP_RESULTS,
  "undici: a connection of an earlier pipeline": {
    ...CONNECTION,
    counts: {
      "first/first failure": 1,
      "first/first/fetch success": 1,
      "test/event success": 1,
      "test/event/handle success": 1,
      "test/second success": 1,
      "test/second/after success": 1,
      "test/second/fetch success": 1,
      "test/second/read success": 1,
    },
    connections: 1,
  },
};

const AI_RESULTS: Results = {
  "generateText(): a model and a tool": {
    answers: ["It is 42", "It is 42"],
    counts: {
      "test/answer success": 2,
      "test/answer/look_up success": 2,
      "test/answer/model success": 2,
    },
  },
  "generateText(): a model that fails": {
    result: true,
    counts: { "test/answer failure": 1, "test/answer/model failure": 1 },
  },
  "streamText(): the time to the first chunk": {
    words: ["All ", "is ", "well"],
    isFirstTimed: true,
    counts: {
      "test/answer success": 1,
      "test/answer/first_token success": 1,
      "test/answer/model success": 1,
    },
  },
  "streamText(): continues after an error": {
    words: ["All ", "is well"],
    counts: { "test/answer failure": 1, "test/answer/model failure": 1 },
  },
  "streamText(): the consumer stops": {
    words: ["All "],
    counts: {
      "cancelled test/answer success": 1,
      "cancelled test/answer/model success": 1,
      "test/answer success": 1,
      "test/answer/model success": 1,
      "test/answer/moderate success": 1,
    },
  },
  "streamText(): the caller cancels": {
    words: ["All "],
    result: "AbortError",
    isModelAborted: true,
    counts: {
      "cancelled test/answer failure": 1,
      "cancelled test/answer/model failure": 1,
      "test/answer failure": 1,
      "test/answer/model failure": 1,
    },
  },
};

const folder = await fetched(
  "real libraries",
  installScripts("libraries", LIBRARIES, SCRIPTS),
);
const redis = await fetched("the libraries of Redis", findRedis());

const RUNTIMES = [
  {
    name: "Node",
    install: () => installNode(26),
    httpResults: NODE_HTTP_RESULTS,
  },
  { name: "Bun", install: installBun, httpResults: HTTP_RESULTS },
];

for (const { name, install, httpResults } of RUNTIMES) {
  const runtime = await fetched(`real libraries in ${name}`, install());
  const ignore = folder === undefined || runtime === undefined;

  Deno.test({
    name:
      `pipeline() does not affect clients and queues of a real Redis in ${name}`,
    ignore: ignore || redis === undefined,
    async fn() {
      await using server = await startRedis(redis!);
      const env = { REDIS_PORT: String(server.port) };
      assertEquals(
        await runScript(runtime!, `${folder}/redis.js`, env),
        REDIS_RESULTS,
      );
    },
  });

  Deno.test({
    name: `pipeline() does not affect queues, loaders and memos in ${name}`,
    ignore,
    async fn() {
      assertEquals(
        await runScript(runtime!, `${folder}/shared_work.js`),
        SHARED_WORK_RESULTS,
      );
    },
  });

  Deno.test({
    name: `stageStream() does not affect servers and connections in ${name}`,
    ignore,
    async fn() {
      assertEquals(
        await runScript(runtime!, `${folder}/http.js`),
        httpResults,
      );
    },
  });

  Deno.test({
    name: `stageStream() measures models of the AI SDK in ${name}`,
    ignore,
    async fn() {
      assertEquals(await runScript(runtime!, `${folder}/ai.js`), AI_RESULTS);
    },
  });
}
