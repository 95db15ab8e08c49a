import { register } from "prom-client";
import { findGlobalRegistries } from "../registry/clients.ts";
import { isOwnMetric } from "../registry/own_metric.ts";
import { defaultRegistry, type MetricsRegistry } from "../registry/registry.ts";

/**
 * Returns whether a copy of prom-client is loaded whose global registry holds metrics that
 * the default handler does not serve.
 */
export function hasUnservedMetrics(): boolean {
  const served: unknown[] = [defaultRegistry, register];
  return [...findGlobalRegistries()].some((registry) =>
    !served.includes(registry) && hasForeignMetrics(registry)
  );
}

function hasForeignMetrics(registry: MetricsRegistry): boolean {
  try {
    return registry.getMetricsAsArray().some((metric) => !isOwnMetric(metric));
  } catch {
    return false;
  }
}
