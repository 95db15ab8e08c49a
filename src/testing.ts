/**
 * Helpers for tests of code that uses this library.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { captureMetrics, sampleValue } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await captureMetrics(async ({ registry }) => {
 *   await pipeline("import", async () => await stage("download", async () => {}));
 *
 *   assertEquals(
 *     await sampleValue(registry, "lukhas_orchestration_stage_total", {
 *       lane: "production",
 *       pipeline_name: "import",
 *       stage_name: "download",
 *       outcome: "success",
 *     }),
 *     1,
 *   );
 * });
 * ```
 *
 * @module
 */
import { Registry } from "prom-client";
import { IssueReporter, zeroIssues } from "./common/issues.ts";
import { createInstance } from "./instances/instance.ts";
import {
  copyStageMetricsOptions,
  type StageMetricsOptions,
} from "./instances/stage_metrics_options.ts";
import { gather } from "./registry/gather.ts";
import type { MetricsRegistry } from "./registry/registry.ts";
import { runInContext } from "./scopes/context.ts";
import { type StageMetrics, toStageMetrics } from "./stage_metrics.ts";

export type { MetricsRegistry, StageMetrics, StageMetricsOptions };

/**
 * Runs code, all of whose metrics go to a fresh registry: everything that the
 * imported functions record inside, however deep, and nothing from outside.
 *
 * @typeParam T The type of the value.
 * @param fn The code, given the instance that it records to.
 * @returns What `fn` returns.
 */
export function captureMetrics<T>(fn: (metrics: StageMetrics) => T): T;
/**
 * Runs code, all of whose metrics go to a fresh registry, with options.
 *
 * @typeParam T The type of the value.
 * @param options The options of the instance, as those of `createStageMetrics`.
 * @param fn The code, given the instance that it records to.
 * @returns What `fn` returns.
 * @throws {TypeError} If an option has the wrong type.
 * @throws {RangeError} If an option has a senseless value.
 *
 * @example
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import {
 *   captureMetrics,
 *   manualClock,
 *   sampleValue,
 * } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const clock = manualClock();
 * await captureMetrics({ clock, lane: "test" }, async ({ registry }) => {
 *   pipeline("import", () => clock.advance(1.5));
 *
 *   const sum = "lukhas_orchestration_pipeline_duration_seconds_sum";
 *   const labels = { lane: "test", pipeline_name: "import", status: "success" };
 *   assertEquals(await sampleValue(registry, sum, labels), 1.5);
 * });
 * ```
 */
export function captureMetrics<T>(
  options: StageMetricsOptions,
  fn: (metrics: StageMetrics) => T,
): T;
export function captureMetrics<T>(
  ...args:
    | [fn: (metrics: StageMetrics) => T]
    | [options: StageMetricsOptions, fn: (metrics: StageMetrics) => T]
): T {
  const [options, fn] = args.length === 1 ? [{}, args[0]] : args;
  const instance = createInstance({
    registry: new Registry(),
    ...copyStageMetricsOptions(options),
  });
  return runInContext(
    { instance, pipeline: undefined, captured: instance, isDone: false },
    fn,
    toStageMetrics(instance),
  );
}

/**
 * Reads the value of one sample.
 *
 * @param registry The registry.
 * @param name The name of the sample, as a scrape has it: that of a histogram's
 * bucket ends in `_bucket`.
 * @param labels All of its labels, the order aside; `le` is spelled as in a
 * scrape, `"1.0"`.
 * @returns The value, or `undefined` if there is no such sample.
 *
 * @example
 * ```ts
 * import { sampleValue } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 * import { Gauge, Registry } from "prom-client";
 *
 * const registry = new Registry();
 * new Gauge({ name: "queue_size", help: "Size", registers: [registry] }).set(3);
 * assertEquals(await sampleValue(registry, "queue_size"), 3);
 * ```
 */
export async function sampleValue(
  registry: MetricsRegistry,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number | undefined> {
  const families = await gather(
    [registry],
    () => new IssueReporter(zeroIssues()),
  );
  const names = Object.keys(labels);
  return families.flatMap(({ samples }) => samples).find((sample) =>
    sample.name === name &&
    Object.keys(sample.labels).length === names.length &&
    names.every((each) => String(sample.labels[each]) === labels[each])
  )?.value;
}

/** A clock that stands still until it is told to go on. */
export interface ManualClock {
  /** The time it shows, in seconds. */
  (): number;
  /**
   * Puts it forward.
   *
   * @param seconds By how much.
   */
  advance(seconds: number): void;
}

/**
 * Makes a clock for the option `clock`. It moves durations, not deadlines.
 *
 * @returns A clock that shows 0.
 *
 * @example
 * ```ts
 * import { manualClock } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const clock = manualClock();
 * clock.advance(0.25);
 * assertEquals(clock(), 0.25);
 * ```
 */
export function manualClock(): ManualClock {
  let time = 0;
  return Object.assign(() => time, {
    advance(seconds: number) {
      time += seconds;
    },
  });
}
