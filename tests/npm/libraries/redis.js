/**
 * Uses Redis clients and queues, whose connections and workers outlive the pipelines
 * that create them. The server listens on `REDIS_PORT`.
 *
 * @module
 */
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import {
  deferred,
  DETACHED,
  ownContext,
  printResults,
  totals,
  until,
} from "./scenarios.js";

// Imported dynamically, as static imports would have to be in the import map.
const { Queue, Worker } = await import("bullmq");
const { Redis } = await import("ioredis");
const { createClient } = await import("redis");

const port = Number(process.env.REDIS_PORT);
/** How often a job is tried. */
const ATTEMPTS = 2;

const connection = { host: "127.0.0.1", port };

/** Calls a function inside a pipeline that then fails, as a request may. */
async function makeInRequest({ pipeline, stage }, make) {
  let made;
  await ownContext.run(
    "request",
    () =>
      pipeline("request", { lane: "request", timeout: 10_000 }, async () => {
        made = await stage("make", make);
        throw new Error("The request failed");
      }),
  ).catch(() => {});
  return made;
}

let queues = 0;

/** Runs jobs by a worker that a request makes, and waits for the last of them. */
async function runJobs(metrics, jobs, options, process) {
  const name = `queue${queues++}`;
  const queue = new Queue(name, { connection });
  const worker = await makeInRequest(metrics, async () => {
    const made = new Worker(name, process, {
      connection,
      drainDelay: 1,
      ...options,
    });
    made.on("error", () => {});
    await made.waitUntilReady();
    return made;
  });
  let remaining = jobs.length;
  const done = deferred();
  const finish = () => {
    if (--remaining === 0) done.resolve();
  };
  worker.on("completed", finish);
  worker.on("failed", ({ attemptsMade }) => {
    if (attemptsMade === ATTEMPTS) finish();
  });
  for (const job of jobs) {
    await queue.add(job, {}, { attempts: ATTEMPTS });
  }
  await done.promise;
  await worker.close();
  await queue.close();
}

/** Returns distinct values, as JSON, with how often each occurs. */
function tally(values) {
  const counts = {};
  for (const value of values) {
    const key = JSON.stringify(value);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

const NAMES = ["a", "b", "c", "d", "e"];

/** A pipeline for each job, with stages; the first attempt at job "c" fails. */
function processor({ pipeline, stage }, options, seen) {
  return (job) =>
    pipeline(job.name, options, async ({ lane, signal }) => {
      seen.push([lane, signal.aborted, ownContext.getStore()]);
      await stage("read", () => delay(2, undefined, { signal }));
      await stage("write", async () => {
        await delay(1);
        if (job.name === "c" && job.attemptsMade === 0) throw new Error("No");
        stage("commit", () => {});
      });
    });
}

/** Publishes messages to a subscriber that a request makes. */
async function handleMessages(metrics, subscribe) {
  const { pipeline, stage } = metrics;
  const seen = [];
  let kept = 0;
  let ended = 0;
  const subscriber = await makeInRequest(metrics, () =>
    subscribe(() => {
      if (ownContext.getStore() === "request") kept++;
      pipeline("message", async ({ lane, signal }) => {
        seen.push([lane, signal.aborted]);
        await stage("handle", () => delay(1, undefined, { signal }));
      }).catch(() => {}).finally(() => ended++);
    }));
  const publisher = new Redis(connection);
  for (let i = 0; i < 3; i++) await publisher.publish("news", String(i));
  await until(() => ended === 3);
  await publisher.quit();
  await subscriber.quit();
  const { late_pipeline = 0, ...counts } = await totals(metrics);
  // Where a runtime loses the context, nothing is late.
  return { seen: tally(seen), isLateWhereKept: late_pipeline === kept, counts };
}

await printResults({
  async "BullMQ: a worker made in a request"(metrics) {
    const seen = [];
    await runJobs(metrics, NAMES, {}, processor(metrics, {}, seen));
    return { seen: tally(seen), counts: await totals(metrics) };
  },
  async "BullMQ: a worker made in a request, detached"(metrics) {
    const seen = [];
    await runJobs(metrics, NAMES, {}, processor(metrics, DETACHED, seen));
    return { seen: tally(seen), counts: await totals(metrics) };
  },
  async "BullMQ: five jobs at once"(metrics) {
    const { pipeline, stage, currentPipeline } = metrics;
    const allRun = deferred();
    const own = [];
    let running = 0;
    await runJobs(
      metrics,
      NAMES,
      { concurrency: 5 },
      (job) =>
        pipeline(job.name, async () => {
          if (++running === 5) allRun.resolve();
          await stage("wait", () => allRun.promise);
          await Promise.all(NAMES.map((name) =>
            stage(name, async () => {
              await delay(Math.random() * 5);
              own.push(currentPipeline().name === job.name);
            })
          ));
          running--;
        }),
    );
    return { own: tally(own), counts: await totals(metrics) };
  },
  "ioredis: a subscriber made in a request": (metrics) =>
    handleMessages(metrics, async (onMessage) => {
      const redis = new Redis(connection);
      redis.on("message", onMessage);
      await redis.subscribe("news");
      return redis;
    }),
  "redis: a subscriber made in a request": (metrics) =>
    handleMessages(metrics, async (onMessage) => {
      const redis = createClient({ url: `redis://127.0.0.1:${port}` });
      await redis.connect();
      await redis.subscribe("news", onMessage);
      return redis;
    }),
});
