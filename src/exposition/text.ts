import { renderExemplar } from "./exemplar.ts";
import { escapeHelp, escapeLabelValue } from "./label_set.ts";
import type { MetricFamily, Sample } from "./model.ts";
import { formatBound, formatValue } from "./numbers.ts";
import {
  nameForOpenMetrics,
  type OpenMetricsName,
} from "./open_metrics_names.ts";

/** A format in which Prometheus reads metrics. */
export type Format = "text" | "openmetrics";

/** The media types of the formats. */
export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** All formats; the first is the one that every client reads. */
export const FORMATS: readonly Format[] = ["text", "openmetrics"];

/** The types both formats have in common; others are of no known type. */
const TYPES: ReadonlySet<string> = new Set([
  "counter",
  "gauge",
  "histogram",
  "summary",
]);

/** How much is rendered at a time, in UTF-16 code units: less than a millisecond. */
const SLICE_LENGTH = 64 * 1024;

/**
 * Renders metric families, in slices: whoever takes them can let others in between.
 *
 * @see {@link https://prometheus.io/docs/instrumenting/exposition_formats/ | Prometheus, Exposition formats}
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/ | OpenMetrics 1.0}
 */
export function* render(
  families: readonly MetricFamily[],
  format: Format,
): Generator<string> {
  let slice = "";
  for (const family of renderFamilies(families, format)) {
    for (const lines of family) {
      slice += lines;
      if (slice.length < SLICE_LENGTH) continue;
      yield slice;
      slice = "";
    }
  }
  yield format === "openmetrics" ? `${slice}# EOF\n` : slice;
}

function* renderFamilies(
  families: readonly MetricFamily[],
  format: Format,
): Generator<Iterable<string>> {
  if (format === "text") {
    for (const family of families) yield renderText(family);
    return;
  }
  const named = nameForOpenMetrics(families);
  for (const family of families) {
    const name = named.get(family);
    if (name !== undefined) yield renderOpenMetrics(family, name);
  }
}

function* renderText(family: MetricFamily): Generator<string> {
  const { name, help, type } = family;
  yield `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${
    TYPES.has(type) ? type : "untyped"
  }\n`;
  yield* family.lines?.(false) ??
    sampleLines(family, (each) => renderSample(each, String));
}

function* renderOpenMetrics(
  family: MetricFamily,
  { name, type }: OpenMetricsName,
): Generator<string> {
  yield `# TYPE ${name} ${type}\n# HELP ${name} ${
    escapeLabelValue(family.help)
  }\n`;
  yield* family.lines?.(true) ?? sampleLines(family, (sample) => {
    const line = renderSample(sample, formatBound);
    return sample.exemplar === undefined || !mayHaveExemplar(type, sample)
      ? line
      : line + renderExemplar(sample.exemplar);
  });
}

function* sampleLines(
  { samples }: MetricFamily,
  renderLine: (sample: Sample) => string,
): Generator<string> {
  for (const sample of samples) yield `${renderLine(sample)}\n`;
}

function mayHaveExemplar(type: string, { name }: Sample): boolean {
  return type === "counter" || type === "histogram" && name.endsWith("_bucket");
}

function renderSample(
  { name, labels, value }: Sample,
  formatNumber: (bound: number) => string,
): string {
  return `${name}${renderLabels(labels, formatNumber)} ${formatValue(value)}`;
}

function renderLabels(
  labels: Readonly<Record<string, string | number>>,
  formatNumber: (bound: number) => string,
): string {
  let text = "";
  for (const [name, value] of Object.entries(labels)) {
    const shown = typeof value === "string"
      ? escapeLabelValue(value)
      : name === "le" || name === "quantile"
      ? formatNumber(value)
      : String(value);
    text += `${text === "" ? "{" : ","}${name}="${shown}"`;
  }
  return text === "" ? "" : `${text}}`;
}
