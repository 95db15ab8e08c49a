/**
 * Shares work among pipelines by queues, loaders and memos, which run it in the
 * context of the pipeline that came first.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { printResults, settled, totals } from "./scenarios.js";

// Imported dynamically, as static imports would have to be in the import map.
const { default: DataLoader } = await import("dataloader");
const { LRUCache } = await import("lru-cache");
const { default: pMemoize } = await import("p-memoize");
const { default: PQueue } = await import("p-queue");

/**
 * Gets a value in three pipelines: in one that is cancelled early, in a concurrent one,
 * and in a later one.
 */
async function getInThree(metrics, limits, get) {
  const { pipeline } = metrics;
  const results = await Promise.all([
    settled(pipeline("a", limits, () => get("x"))),
    settled(pipeline("b", () => get("x"))),
    settled(pipeline("c", () => get("y"))),
  ]);
  results.push(await settled(pipeline("later", () => get("x"))));
  return { results, counts: await totals(metrics) };
}

/** The values of keys, slowly. */
const load = (keys) => delay(60, keys.map((key) => `value of ${key}`));

const DEADLINE = { timeout: 20 };

function cancelledSoon() {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  return { signal: controller.signal };
}

function loader({ stage }) {
  const loader = new DataLoader((keys) => stage("load", () => load(keys)));
  return (key) => loader.load(key);
}

await printResults({
  "DataLoader: a deadline of the first": (metrics) =>
    getInThree(metrics, DEADLINE, loader(metrics)),
  "DataLoader: a cancellation of the first": (metrics) =>
    getInThree(metrics, cancelledSoon(), loader(metrics)),
  "p-memoize: a deadline of the first"(metrics) {
    const get = pMemoize(async (key) => {
      const [value] = await metrics.stage("load", () => load([key]));
      return value;
    });
    return getInThree(metrics, DEADLINE, get);
  },
  "lru-cache: a deadline of the first"(metrics) {
    const cache = new LRUCache({
      max: 10,
      fetchMethod: async (key) => {
        const [value] = await metrics.stage("load", () => load([key]));
        return value;
      },
    });
    return getInThree(metrics, DEADLINE, (key) => cache.fetch(key));
  },
  async "p-queue: a deadline of the first"(metrics) {
    const { pipeline, stage } = metrics;
    const queue = new PQueue({ concurrency: 1 });
    let running = 0;
    let most = 0;
    const work = (value) =>
      stage("work", async ({ signal }) => {
        most = Math.max(most, ++running);
        // The others are in the context of the first, but not ended with it.
        await delay(30, undefined, value === "a" ? {} : { signal });
        running--;
        return value;
      });
    const results = await Promise.all([
      settled(pipeline("a", DEADLINE, () => queue.add(() => work("a")))),
      settled(pipeline("b", () => queue.add(() => work("b")))),
      settled(pipeline("c", () => queue.add(() => work("c")))),
    ]);
    const { "test/a timeout": first } = await totals(metrics);
    return { results, most, first };
  },
  async "p-queue: bind()"(metrics) {
    const { pipeline, stage } = metrics;
    const queue = new PQueue({ concurrency: 1 });
    const work = async (value) => {
      stage("prepare", () => {});
      return await stage("work", ({ signal }) => delay(10, value, { signal }));
    };
    const add = (value) => ({ bind }) => queue.add(bind(() => work(value)));
    const results = await Promise.all([
      settled(pipeline("a", { timeout: 5 }, add("a"))),
      settled(pipeline("b", add("b"))),
      settled(pipeline("c", add("c"))),
    ]);
    await queue.onIdle();
    return { results, counts: await totals(metrics) };
  },
});
