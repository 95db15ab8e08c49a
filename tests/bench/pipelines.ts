/**
 * Times a pipeline of five awaited stages: without metrics, by hand, by OpenTelemetry,
 * and by this library in several ways.
 *
 * Each contender is written out. Shared code would be compiled for all of them at once,
 * and be slower than the code of users.
 *
 * @module
 */
import * as successor from "@prometheus-io/client";
import { AsyncLocalStorage } from "node:async_hooks";
import * as promClient from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { type Contender, medianOf, race } from "./measure.ts";
import { byOpenTelemetry } from "./open_telemetry.ts";
import { byHand, type PromClient } from "./prom_client.ts";

/** Helpers that record pipelines and stages by hand. */
export interface ByHand {
  pipeline<T>(name: string, fn: () => Promise<T>): Promise<T>;
  stage<T>(
    pipelineName: string,
    name: string,
    fn: () => Promise<T>,
  ): Promise<T>;
}

const STAGES = 5;

const IN_FLIGHT = 1_000;

/** Limits that are never reached. */
const LIMITS = { timeout: 60_000 };

/** Created once, as a stack trace costs more than everything timed here. */
const ERROR = new Error("It failed");

/** The work of a stage: nothing, so that only the overhead is measured. */
function work(): Promise<number> {
  return Promise.resolve(1);
}

function fail(): Promise<number> {
  return Promise.reject(ERROR);
}

function ignore(): void {}

async function bare(): Promise<void> {
  await work();
  await work();
  await work();
  await work();
  await work();
}

async function bareFailing(): Promise<void> {
  await fail().catch(ignore);
  await fail().catch(ignore);
  await fail().catch(ignore);
  await fail().catch(ignore);
  await fail().catch(ignore);
}

const storage = new AsyncLocalStorage<object>();
const STORE = {};
let total = 0;

async function timed(): Promise<void> {
  const start = performance.now();
  let last = performance.now();
  await work();
  total += performance.now() - last;
  last = performance.now();
  await work();
  total += performance.now() - last;
  last = performance.now();
  await work();
  total += performance.now() - last;
  last = performance.now();
  await work();
  total += performance.now() - last;
  last = performance.now();
  await work();
  total += performance.now() - last;
  total += performance.now() - start;
}

/** The minimum: an async context, and two readings of the clock for each scope. */
function floor(): Promise<void> {
  return storage.run(STORE, timed);
}

/** The minimum with deadlines: a timer for each scope. */
async function timers(): Promise<void> {
  const timer = setTimeout(ignore, LIMITS.timeout);
  for (let i = 0; i < STAGES; i++) {
    const timer = setTimeout(ignore, LIMITS.timeout);
    await work();
    clearTimeout(timer);
  }
  clearTimeout(timer);
}

const { pipeline, stage } = createStageMetrics({
  registry: new promClient.Registry(),
});

function own(): Promise<void> {
  return pipeline("answer", async () => {
    await stage("read", work);
    await stage("parse", work);
    await stage("search", work);
    await stage("rank", work);
    await stage("write", work);
  });
}

function ownLimited(): Promise<void> {
  return pipeline("answer", LIMITS, async () => {
    await stage("read", LIMITS, work);
    await stage("parse", LIMITS, work);
    await stage("search", LIMITS, work);
    await stage("rank", LIMITS, work);
    await stage("write", LIMITS, work);
  });
}

const read = stage("read")(work);
const parse = stage("parse")(work);
const search = stage("search")(work);
const rank = stage("rank")(work);
const write = stage("write")(work);

const ownWrapped = pipeline("answer")(async () => {
  await read();
  await parse();
  await search();
  await rank();
  await write();
});

function ownFailing(): Promise<void> {
  return pipeline("answer", async () => {
    await stage("read", fail).catch(ignore);
    await stage("parse", fail).catch(ignore);
    await stage("search", fail).catch(ignore);
    await stage("rank", fail).catch(ignore);
    await stage("write", fail).catch(ignore);
  });
}

const byPromClient: ByHand = byHand(promClient);
const bySuccessor: ByHand = byHand(successor as unknown as PromClient);
const byOpenTelemetrySdk: ByHand = byOpenTelemetry();

function withPromClient(): Promise<void> {
  return byPromClient.pipeline("answer", async () => {
    await byPromClient.stage("answer", "read", work);
    await byPromClient.stage("answer", "parse", work);
    await byPromClient.stage("answer", "search", work);
    await byPromClient.stage("answer", "rank", work);
    await byPromClient.stage("answer", "write", work);
  });
}

function withSuccessor(): Promise<void> {
  return bySuccessor.pipeline("answer", async () => {
    await bySuccessor.stage("answer", "read", work);
    await bySuccessor.stage("answer", "parse", work);
    await bySuccessor.stage("answer", "search", work);
    await bySuccessor.stage("answer", "rank", work);
    await bySuccessor.stage("answer", "write", work);
  });
}

function withOpenTelemetry(): Promise<void> {
  return byOpenTelemetrySdk.pipeline("answer", async () => {
    await byOpenTelemetrySdk.stage("answer", "read", work);
    await byOpenTelemetrySdk.stage("answer", "parse", work);
    await byOpenTelemetrySdk.stage("answer", "search", work);
    await byOpenTelemetrySdk.stage("answer", "rank", work);
    await byOpenTelemetrySdk.stage("answer", "write", work);
  });
}

function failingWithPromClient(): Promise<void> {
  return byPromClient.pipeline("answer", async () => {
    await byPromClient.stage("answer", "read", fail).catch(ignore);
    await byPromClient.stage("answer", "parse", fail).catch(ignore);
    await byPromClient.stage("answer", "search", fail).catch(ignore);
    await byPromClient.stage("answer", "rank", fail).catch(ignore);
    await byPromClient.stage("answer", "write", fail).catch(ignore);
  });
}

function inFlight(contender: Contender): Contender {
  return () => Promise.all(Array.from({ length: IN_FLIGHT }, contender));
}

/** Times in nanoseconds above bare work, and their ratios. */
export interface PipelineFigures {
  /** For a pipeline of five stages. */
  readonly own: number;
  readonly floor: number;
  readonly promClient: number;
  readonly successor: number;
  readonly openTelemetry: number;
  readonly ownOverFloor: number;
  readonly ownOverPromClient: number;
  /** With a deadline on each scope. */
  readonly ownLimited: number;
  /** The cost of deadlines, relative to that of bare timers. */
  readonly limitsOverTimers: number;
  /** With wrapped functions. */
  readonly ownWrapped: number;
  /** With stages that all fail. */
  readonly ownFailing: number;
  readonly promClientFailing: number;
  /** For each of a thousand concurrent pipelines. */
  readonly ownInFlight: number;
  readonly promClientInFlight: number;
}

/** Times all contenders. */
export async function measurePipelines(): Promise<PipelineFigures> {
  const ladder = await race({
    bare,
    floor,
    own,
    promClient: withPromClient,
    successor: withSuccessor,
    openTelemetry: withOpenTelemetry,
  });
  const limits = await race({ bare, timers, own, limited: ownLimited });
  const others = await race({
    bare,
    bareFailing,
    wrapped: ownWrapped,
    failing: ownFailing,
    promClientFailing: failingWithPromClient,
  });
  const many = await race({
    bare: inFlight(bare),
    own: inFlight(own),
    promClient: inFlight(withPromClient),
  });
  return {
    own: medianOf(ladder, (t) => t.own - t.bare),
    floor: medianOf(ladder, (t) => t.floor - t.bare),
    promClient: medianOf(ladder, (t) => t.promClient - t.bare),
    successor: medianOf(ladder, (t) => t.successor - t.bare),
    openTelemetry: medianOf(ladder, (t) => t.openTelemetry - t.bare),
    ownOverFloor: medianOf(
      ladder,
      (t) => (t.own - t.bare) / (t.floor - t.bare),
    ),
    ownOverPromClient: medianOf(
      ladder,
      (t) => (t.own - t.bare) / (t.promClient - t.bare),
    ),
    ownLimited: medianOf(limits, (t) => t.limited - t.bare),
    limitsOverTimers: medianOf(
      limits,
      (t) => (t.limited - t.own) / (t.timers - t.bare),
    ),
    ownWrapped: medianOf(others, (t) => t.wrapped - t.bare),
    ownFailing: medianOf(others, (t) => t.failing - t.bareFailing),
    promClientFailing: medianOf(
      others,
      (t) => t.promClientFailing - t.bareFailing,
    ),
    ownInFlight: medianOf(many, (t) => (t.own - t.bare) / IN_FLIGHT),
    promClientInFlight: medianOf(
      many,
      (t) => (t.promClient - t.bare) / IN_FLIGHT,
    ),
  };
}
