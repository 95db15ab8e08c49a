import { register } from "prom-client";
import { perProcess } from "../common/per_process.ts";

/**
 * A registry of metrics, as this library needs one.
 *
 * Registries of `prom-client` 14 and 15 and of its successor `@prometheus-io/client`
 * 0.16 are of this shape.
 */
export interface MetricsRegistry {
  /** Adds a metric; throws if another one has its name. */
  registerMetric(metric: object): void;
  /** Removes the metric of that name. */
  removeSingleMetric(name: string): void;
  /** Gives the metric of that name, if there is one. */
  getSingleMetric(name: string): object | undefined;
  /** Gives every metric. */
  getMetricsAsArray(): object[];
}

const METHODS = [
  "registerMetric",
  "removeSingleMetric",
  "getSingleMetric",
  "getMetricsAsArray",
] as const;

/**
 * Checks that something is a registry.
 *
 * @param what What cannot be done otherwise, for the message.
 * @throws {TypeError} If it is none.
 */
export function checkRegistry(
  what: string,
  registry: Partial<MetricsRegistry> | null,
): void {
  const missing = METHODS.find((name) =>
    typeof registry?.[name] !== "function"
  );
  if (missing === undefined) return;
  throw new TypeError(
    `Cannot ${what}: registry must be one of prom-client's, it has no method ${missing}()`,
  );
}

/**
 * The registry of instances that choose none: the one of the copy of prom-client that
 * came with the first copy of this library.
 */
export const defaultRegistry: MetricsRegistry = perProcess(
  "default registry",
  () => register,
);

/**
 * The labels that a registry adds to every sample.
 *
 * Both clients tell them only through the views that they make, each of which
 * one failing collector fails as a whole: hence a look at the field behind.
 */
export function defaultLabels(
  registry: MetricsRegistry,
): Readonly<Record<string, unknown>> {
  return (registry as { _defaultLabels?: Record<string, unknown> })
    ._defaultLabels ?? {};
}
