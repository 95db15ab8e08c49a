/**
 * Helpers to test code that uses this library.
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
 * Calls a function, and captures its metrics in a new registry. The imported functions
 * record there inside the call, as do the functions of the instance that `fn` gets.
 *
 * @typeParam T The type of the returned value.
 * @param fn The function, which gets the instance with the new registry.
 * @returns The value of `fn`.
 * @throws The error that `fn` throws.
 *
 * @example
 * ```ts
 * import { stage } from "@lukhas/stage-metrics";
 * import { captureMetrics, sampleValue } from "@lukhas/stage-metrics/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await captureMetrics(async ({ pipeline, registry }) => {
 *   pipeline("import", () => stage("parse", () => {}));
 *
 *   const name = "lukhas_orchestration_pipeline_total";
 *   const labels = { lane: "production", pipeline_name: "import", status: "success" };
 *   assertEquals(await sampleValue(registry, name, labels), 1);
 * });
 * ```
 */
export function captureMetrics<T>(fn: (metrics: StageMetrics) => T): T;
/**
 * Calls a function with options, and captures its metrics in a new registry.
 *
 * @typeParam T The type of the returned value.
 * @param options The options of the instance, as for `createStageMetrics`.
 * @param fn The function, which gets the instance with the new registry.
 * @returns The value of `fn`.
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range.
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
 * Returns the value of a sample.
 *
 * @param registry The registry.
 * @param name The name of the sample as in a scrape, such as the name of a histogram with
 * the suffix `_bucket`.
 * @param labels All labels of the sample, in any order. `le` is spelled as in a scrape,
 * such as `"1.0"`.
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
    names.every((label) => String(sample.labels[label]) === labels[label])
  )?.value;
}

/** A clock that is advanced by hand. */
export interface ManualClock {
  /** Returns the time, in seconds. */
  (): number;
  /**
   * Advances the clock.
   *
   * @param seconds The number of seconds.
   */
  advance(seconds: number): void;
}

/**
 * Creates a clock for the option `clock`. It affects durations, but not timeouts.
 *
 * @returns A clock at 0 seconds.
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
