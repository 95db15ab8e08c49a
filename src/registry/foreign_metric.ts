import { forEachInSlices } from "../common/slices.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import { SampleMerger } from "../exposition/merge.ts";
import {
  addDefaultLabels,
  isBoundLabel,
  type MetricFamily,
  Sample,
} from "../exposition/model.ts";
import { formatValue } from "../exposition/numbers.ts";
import { callCollector } from "./collector_calls.ts";
import { processAggregator } from "./process_metrics.ts";
import { defaultLabels, type MetricsRegistry } from "./registry.ts";

/** A metric in prom-client's contract. */
export interface ForeignMetric {
  readonly name: string;
  get(): ForeignView | Promise<ForeignView>;
}

/** The content of a metric in prom-client's contract. */
interface ForeignView {
  readonly name: string;
  readonly help: string;
  readonly type?: string;
  readonly aggregator?: string;
  readonly values?: readonly {
    readonly metricName?: string;
    readonly labels?: Readonly<Record<string, unknown>>;
    readonly value: number;
    readonly exemplar?: ForeignExemplar | null;
  }[];
}

/** An exemplar whose labels and numbers may be of any type. */
interface ForeignExemplar {
  readonly labelSet?: Readonly<Record<string, unknown>>;
  readonly value: number;
  readonly timestamp: number;
}

/**
 * Reads a foreign metric, after a call of its collector.
 *
 * @param timeoutMs How long the collector may take, in milliseconds.
 * @throws {CollectorTimeout} If the collector takes longer.
 * @throws The error of the collector, if it fails.
 */
export async function readForeign(
  registry: MetricsRegistry,
  metric: ForeignMetric,
  timeoutMs: number,
): Promise<MetricFamily> {
  const view = await callCollector(metric, timeoutMs);
  const { values = [] } = view;
  const name = registeredName(registry, metric, view.name);
  const help = String(view.help);
  const type = String(view.type ?? "unknown");
  const aggregator = processAggregator(name, help) ?? view.aggregator ?? "sum";
  const added = defaultLabels(registry);
  // Copied at once, because the client changes the values in place.
  const numbers = values.map(({ value }) => Number(value));
  // The client adds this bucket even if the last bound is infinite.
  const hasInfinity = type === "histogram" &&
    values.some(({ labels }) => labels?.["le"] === "+Inf");
  const merger = new SampleMerger(aggregator);
  await forEachInSlices(values.entries(), ([index, each]) => {
    const { metricName = name, labels = {}, exemplar } = each;
    if (hasInfinity && labels["le"] === Infinity) return;
    merger.add(
      new Sample(
        metricName,
        toLabels(addDefaultLabels(labels, added)),
        numbers[index]!,
        exemplar ? toExemplar(exemplar) : undefined,
      ),
    );
  });
  return { name, help, type, aggregator, samples: await merger.samples() };
}

/**
 * Returns the name under which a metric was registered. When prom-client renders
 * OpenMetrics, it permanently removes `_total` from the `name` of the metric itself.
 */
export function registeredName(
  registry: MetricsRegistry,
  metric: object,
  name: string,
): string {
  const total = `${name}_total`;
  return registry.getSingleMetric(total) === metric ? total : name;
}

/** Copies an exemplar, or returns `undefined` if its time is not a finite number. */
function toExemplar(
  { labelSet = {}, value, timestamp }: ForeignExemplar,
): Exemplar | undefined {
  if (!Number.isFinite(Number(timestamp))) return undefined;
  const labels = Object.entries(labelSet)
    .map(([name, value]) => [name, String(value)]);
  return {
    labelSet: Object.fromEntries(labels),
    value: Number(value),
    timestamp: Number(timestamp),
  };
}

/** Converts label values in place, so that encoding never calls foreign code. */
function toLabels(
  labels: Record<string, unknown>,
): Record<string, string | number> {
  for (const name of Object.keys(labels)) {
    const value = labels[name];
    if (typeof value === "string") continue;
    labels[name] = typeof value === "number" && isBoundLabel(name)
      ? toBound(value)
      : String(value);
  }
  return labels as Record<string, string | number>;
}

/** Spells infinities and `NaN`. All formats spell them the same, and JSON has none. */
function toBound(value: number): string | number {
  return Number.isFinite(value) ? value : formatValue(value);
}
