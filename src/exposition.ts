import { formatBound } from "./buckets.ts";
import type { Exemplar, GatheredFamily, GatheredSample } from "./samples.ts";

/** A format in which Prometheus reads metrics. */
export type Format = "text" | "openmetrics";

/** The media types of the formats. */
export const CONTENT_TYPES: Readonly<Record<Format, string>> = {
  text: "text/plain; version=0.0.4; charset=utf-8",
  openmetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/** The types both formats have in common; others are of no known type. */
const TYPES: ReadonlySet<string> = new Set([
  "counter",
  "gauge",
  "histogram",
  "summary",
]);

/**
 * Renders metric families, a chunk of text for each.
 *
 * @see {@link https://prometheus.io/docs/instrumenting/exposition_formats/ | Prometheus, Exposition formats}
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/ | OpenMetrics 1.0}
 */
export function* render(
  families: readonly GatheredFamily[],
  format: Format,
): Generator<string> {
  const renderFamily = format === "text" ? renderText : renderOpenMetrics;
  for (const family of families) yield renderFamily(family);
  if (format === "openmetrics") yield "# EOF\n";
}

function renderText({ name, help, type, samples }: GatheredFamily): string {
  const lines = [
    `# HELP ${name} ${escape(help)}`,
    `# TYPE ${name} ${TYPES.has(type) ? type : "untyped"}`,
  ];
  for (const sample of samples) lines.push(renderSample(sample, String));
  return `${lines.join("\n")}\n`;
}

function renderOpenMetrics(family: GatheredFamily): string {
  const { help, samples } = family;
  const type = openMetricsType(family);
  const name = type === "counter"
    ? family.name.slice(0, -"_total".length)
    : family.name;
  const lines = [
    `# TYPE ${name} ${type}`,
    `# HELP ${name} ${escapeQuoted(help)}`,
  ];
  for (const sample of samples) {
    const line = renderSample(sample, formatBound);
    lines.push(
      sample.exemplar === undefined || !mayHaveExemplar(type, sample)
        ? line
        : `${line} ${renderExemplar(sample.exemplar)}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** OpenMetrics has no counter whose sample is not named `_total`. */
function openMetricsType({ name, type }: GatheredFamily): string {
  const isKnown = TYPES.has(type) &&
    (type !== "counter" || name.endsWith("_total"));
  return isKnown ? type : "unknown";
}

function mayHaveExemplar(type: string, { name }: GatheredSample): boolean {
  return type === "counter" || type === "histogram" && name.endsWith("_bucket");
}

function renderSample(
  { name, labels, value }: GatheredSample,
  formatNumber: (bound: number) => string,
): string {
  return `${name}${renderLabels(labels, formatNumber)} ${formatValue(value)}`;
}

function renderExemplar({ labelSet, value, timestamp }: Exemplar): string {
  const labels = renderLabels(labelSet, String) || "{}";
  return `# ${labels} ${formatValue(value)} ${timestamp}`;
}

function renderLabels(
  labels: Readonly<Record<string, string | number>>,
  formatNumber: (bound: number) => string,
): string {
  let text = "";
  for (const [name, value] of Object.entries(labels)) {
    const shown = typeof value === "string"
      ? escapeQuoted(value)
      : name === "le" || name === "quantile"
      ? formatNumber(value)
      : String(value);
    text += `${text === "" ? "{" : ","}${name}="${shown}"`;
  }
  return text === "" ? "" : `${text}}`;
}

function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

function escape(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeQuoted(text: string): string {
  return escape(text).replaceAll('"', '\\"');
}
