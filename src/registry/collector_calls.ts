import { withTimeout } from "../common/async.ts";
import { perProcess } from "../common/per_process.ts";

/** A call of a metric's collector that has not settled. */
interface Call {
  readonly result: Promise<{ readonly view: unknown }>;
  /** By `performance.now()`. */
  readonly startedAt: number;
}

/** Says that a collector takes longer than a scrape can wait. */
export class CollectorTimeout extends Error {
  override name = "TimeoutError";
}

/** The calls by all copies of this library, which share the metrics. */
const calls = perProcess("collector_calls", () => new WeakMap<object, Call>());

/**
 * Reads a metric, which calls its collector, if it has one.
 *
 * There is one call of a metric at a time: scrapes that come while it lasts share it.
 * None of them takes a result that is older than its own timeoutMs, and a call that
 * hangs delays one scrape only.
 *
 * @param timeoutMs How long the call may take, in milliseconds.
 * @throws {CollectorTimeout} If it takes longer.
 * @throws The error of the collector, if it fails.
 */
export async function callCollector<T>(
  metric: { get(): T | Promise<T> },
  timeoutMs: number,
): Promise<T> {
  const underWay = calls.get(metric);
  const age = underWay === undefined
    ? 0
    : performance.now() - underWay.startedAt;
  if (underWay !== undefined && age >= timeoutMs) {
    throw new CollectorTimeout(
      `Its collector was called ${
        Math.round(age)
      } ms ago and has not finished, it is not called again before`,
    );
  }
  const { result: settling } = underWay ?? startCall(metric);
  const result = await withTimeout(settling, timeoutMs - age);
  if (result === undefined) {
    throw new CollectorTimeout(
      `Its collector took longer than ${timeoutMs} ms`,
    );
  }
  return result.view as T;
}

function startCall(metric: { get(): unknown }): Call {
  const call = {
    // Called after the call is stored, as a collector may scrape its own registry.
    result: Promise.resolve().then(() => metric.get())
      .then((view) => ({ view })),
    startedAt: performance.now(),
  };
  calls.set(metric, call);
  const forget = () => calls.delete(metric);
  call.result.then(forget, forget);
  return call;
}
