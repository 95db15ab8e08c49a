import { withTimeout } from "../common/async.ts";
import { perProcess } from "../common/per_process.ts";

/** A call of a metric's collector that has not settled. */
interface Call {
  readonly result: Promise<{ readonly view: unknown }>;
  /** The time of the call, by `performance.now()`. */
  readonly startedAt: number;
}

/** The error of a scrape for which a collector takes too long. */
export class CollectorTimeout extends Error {
  override name = "TimeoutError";
}

/** The calls by metric. Copies of this module share them, as they share the metrics. */
const calls = perProcess("collector calls", () => new WeakMap<object, Call>());

/**
 * Returns the content of a metric, after a call of its collector, if it has one.
 *
 * Concurrent scrapes share one call of a metric. No scrape gets a result that is older
 * than its own timeout. After the timeout, a call that hangs delays no further scrape.
 *
 * @param timeoutMs How long the call may take, in milliseconds.
 * @throws {CollectorTimeout} If the call takes longer.
 * @throws The error of the collector, if it fails.
 */
export async function callCollector<T>(
  metric: { get(): T | Promise<T> },
  timeoutMs: number,
): Promise<T> {
  const pending = calls.get(metric);
  const age = pending === undefined ? 0 : performance.now() - pending.startedAt;
  if (pending !== undefined && age >= timeoutMs) {
    throw new CollectorTimeout(
      `Its collector was called ${
        Math.round(age)
      } ms ago and is not called again until it finishes`,
    );
  }
  const { result: pendingResult } = pending ?? startCall(metric);
  const result = await withTimeout(pendingResult, timeoutMs - age);
  if (result === undefined) {
    throw new CollectorTimeout(
      `Its collector took longer than ${timeoutMs} ms`,
    );
  }
  return result.view as T;
}

/** Calls the collector of a metric, and stores the call until it settles. */
function startCall(metric: { get(): unknown }): Call {
  const call = {
    // Called after the call is stored, because a collector may scrape its own registry.
    result: Promise.resolve().then(() => metric.get())
      .then((view) => ({ view })),
    startedAt: performance.now(),
  };
  calls.set(metric, call);
  const forget = () => calls.delete(metric);
  call.result.then(forget, forget);
  return call;
}
