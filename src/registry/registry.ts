import { register } from "prom-client";
import { perProcess } from "../common/per_process.ts";

/**
 * The part of a registry of metrics that this library uses.
 *
 * Registries of `prom-client` 14 and 15 and of its successor `@prometheus-io/client`
 * 0.16 have it.
 */
export interface MetricsRegistry {
  /** Adds a metric. Throws if another metric has its name. */
  registerMetric(metric: object): void;
  /** Removes the metric of a name. */
  removeSingleMetric(name: string): void;
  /** Returns the metric of a name, if there is one. */
  getSingleMetric(name: string): object | undefined;
  /** Returns all metrics. */
  getMetricsAsArray(): object[];
}

/** The methods of a registry. */
const METHODS = [
  "registerMetric",
  "removeSingleMetric",
  "getSingleMetric",
  "getMetricsAsArray",
] as const;

/**
 * Checks that a value is a registry.
 *
 * @param action The action that needs it, for the message.
 * @throws {TypeError} If it is not a registry.
 */
export function checkRegistry(
  action: string,
  registry: Partial<MetricsRegistry> | null,
): void {
  const missing = METHODS.find((name) =>
    typeof registry?.[name] !== "function"
  );
  if (missing === undefined) return;
  throw new TypeError(
    `Cannot ${action}: registry must be a registry of prom-client, got one without ${missing}()`,
  );
}

/**
 * The default registry of instances: the global registry of prom-client that the first
 * copy of this module has imported.
 */
export const defaultRegistry: MetricsRegistry = perProcess(
  "default registry",
  () => register,
);

/**
 * Returns the labels that a registry adds to every sample.
 *
 * This reads a private field, because the public methods of both clients collect all
 * metrics, and fail if one collector fails.
 */
export function defaultLabels(
  registry: MetricsRegistry,
): Readonly<Record<string, unknown>> {
  return (registry as { _defaultLabels?: Record<string, unknown> })
    ._defaultLabels ?? {};
}
