import type { MetricFamily } from "./model.ts";

/** The name and type of a family in OpenMetrics. */
interface OpenMetricsName {
  readonly name: string;
  readonly type: string;
}

/** The suffixes of sample names by type. Other types have none. */
export const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: ["_total", "_created"],
  histogram: ["_bucket", "_count", "_sum", "_created"],
  summary: ["_count", "_sum", "_created"],
};

/** The suffix of a counter's samples, which its family's name does not have. */
const TOTAL = "_total";

/**
 * Returns the names of families in OpenMetrics. There, the name of a counter's family has
 * no `_total`, and no two families may have samples of the same name.
 *
 * If the name without `_total` is taken, the counter keeps its full name and has the type
 * `unknown`: for example `jobs_total` beside a gauge `jobs`. All other families with a
 * name that is taken are left out, as in the Go client.
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

  /** Names a family, unless a sample's name is taken. */
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
  // Counters come last, because only they have a second name to fall back to.
  for (const family of counters) {
    const { name } = family;
    if (!take(family, name.slice(0, -TOTAL.length), "counter")) {
      take(family, name, "unknown");
    }
  }
  return named;
}

/** Returns whether a family is a counter whose name OpenMetrics allows. */
function isCounter(
  { name, type }: Pick<MetricFamily, "name" | "type">,
): boolean {
  return type === "counter" && name.endsWith(TOTAL) && name !== TOTAL;
}

/** Returns the OpenMetrics type of a family that is not a counter there. */
function knownType({ type }: Pick<MetricFamily, "type">): string {
  return type === "gauge" || type === "histogram" || type === "summary"
    ? type
    : "unknown";
}
