import type { MetricFamily } from "./model.ts";

/** How a family is shown in OpenMetrics. */
export interface OpenMetricsName {
  readonly name: string;
  readonly type: string;
}

/** What a type appends to the names of samples; other types append nothing. */
export const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  histogram: ["_bucket", "_count", "_sum", "_created"],
  summary: ["_count", "_sum", "_created"],
};

/** What a counter's samples are named, and its family is not. */
const TOTAL = "_total";

/**
 * Names families for OpenMetrics, where no sample's name may be one of another family,
 * and a counter gives up its `_total`.
 *
 * A counter whose names are taken, as `jobs_total` beside a gauge `jobs`, is shown as of
 * unknown type, under its full name. Any other family whose names are taken is left
 * out, as the Go client does.
 *
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/#suffixes | OpenMetrics 1.0, Suffixes}
 */
export function nameForOpenMetrics<
  F extends Pick<MetricFamily, "name" | "type">,
>(
  families: readonly F[],
): Map<F, OpenMetricsName> {
  const named = new Map<F, OpenMetricsName>();
  const taken = new Set<string>();
  function take(family: F, name: string, type: string): boolean {
    const suffixes = SUFFIXES[type] ?? [];
    const names = [name, ...suffixes.map((suffix) => name + suffix)];
    if (names.some((each) => taken.has(each))) return false;
    for (const each of names) taken.add(each);
    named.set(family, { name, type });
    return true;
  }

  const counters = families.filter(isCounter);
  for (const family of families) {
    if (!isCounter(family)) take(family, family.name, knownType(family));
  }
  // Last, as they alone have another name to go by.
  for (const family of counters) {
    const { name } = family;
    if (!take(family, name.slice(0, -TOTAL.length), "counter")) {
      take(family, name, "unknown");
    }
  }
  return named;
}

/**
 * OpenMetrics has no counter whose sample is not named `_total`, and none whose name is
 * just that: without it, no name is left.
 */
function isCounter(
  { name, type }: Pick<MetricFamily, "name" | "type">,
): boolean {
  return type === "counter" && name.endsWith(TOTAL) && name !== TOTAL;
}

function knownType({ type }: Pick<MetricFamily, "type">): string {
  return type === "gauge" || type === "histogram" || type === "summary"
    ? type
    : "unknown";
}
