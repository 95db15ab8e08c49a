import { escapeHelp, escapeLabelValue } from "./escape.ts";
import { renderExemplar } from "./exemplar.ts";
import type { LabelSet } from "./label_set.ts";
import {
  isBoundLabel,
  type MetricFamily,
  type Sample,
  type SampleLabels,
} from "./model.ts";
import { formatBound, formatValue } from "./numbers.ts";
import { nameForOpenMetrics } from "./open_metrics_names.ts";
import type { Emit, TemplatedSamples } from "./sample_template.ts";

/** The types of the text format, except `untyped`. */
const TYPES: ReadonlySet<string> = new Set([
  "counter",
  "gauge",
  "histogram",
  "summary",
]);

/** The length of a slice in UTF-16 code units. It takes less than a millisecond. */
const SLICE_LENGTH = 64 * 1024;

/**
 * Encodes metric families in the text format 0.0.4, in slices.
 *
 * @see {@link https://prometheus.io/docs/instrumenting/exposition_formats/ | Prometheus, Exposition formats}
 */
export function encodeText(
  families: readonly MetricFamily[],
): Generator<Uint8Array<ArrayBuffer>, undefined> {
  return encodeSlices(renderText(families));
}

/**
 * Encodes metric families in OpenMetrics 1.0, in slices.
 *
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/ | OpenMetrics 1.0}
 */
export function encodeOpenMetrics(
  families: readonly MetricFamily[],
): Generator<Uint8Array<ArrayBuffer>, undefined> {
  return encodeSlices(renderOpenMetrics(families), "# EOF\n");
}

/** Encodes lines of text in slices, with `end` in the last one. */
function* encodeSlices(
  parts: Iterable<Iterable<string>>,
  end = "",
): Generator<Uint8Array<ArrayBuffer>, undefined> {
  const encoder = new TextEncoder();
  let slice = "";
  for (const part of parts) {
    for (const lines of part) {
      slice += lines;
      if (slice.length < SLICE_LENGTH) continue;
      yield encoder.encode(slice);
      slice = "";
    }
  }
  yield encoder.encode(slice + end);
}

/** Renders the header and the samples of each family. */
function* renderText(
  families: readonly MetricFamily[],
): Generator<Iterable<string>> {
  for (const family of families) {
    const { name, help, templated } = family;
    const type = TYPES.has(family.type) ? family.type : "untyped";
    yield [`# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`];
    yield templated !== undefined
      ? renderTemplated(templated, false)
      : renderSamples(family, (sample) => renderSample(sample, String));
  }
}

/** Renders the header and the samples of each family. */
function* renderOpenMetrics(
  families: readonly MetricFamily[],
): Generator<Iterable<string>> {
  const names = nameForOpenMetrics(families);
  for (const family of families) {
    const named = names.get(family);
    if (named === undefined) continue;
    const { name, type } = named;
    const { help, templated } = family;
    yield [
      `# TYPE ${name} ${type}\n# HELP ${name} ${escapeLabelValue(help)}\n`,
    ];
    yield templated !== undefined
      ? renderTemplated(templated, true)
      : renderSamples(family, (sample) =>
        renderSample(sample, formatBound) + exemplarOf(sample, type));
  }
}

function* renderSamples(
  { samples }: MetricFamily,
  render: (sample: Sample) => string,
): Generator<string> {
  for (const sample of samples) yield `${render(sample)}\n`;
}

/**
 * Renders samples from their templates, one series at a time. Templates have bounds that
 * are valid in both formats, which differ only in exemplars.
 */
function* renderTemplated(
  { defaultLabels, collect }: TemplatedSamples,
  withExemplars: boolean,
): Generator<string> {
  const more = defaultLabels.text;
  let lines = "";
  // Most lines start like the line before them, so the start is kept.
  let start = "";
  let lastName: string | undefined;
  let lastLabels: LabelSet | undefined;
  const emit: Emit = (template, labels, value, exemplar) => {
    if (labels !== lastLabels || template.name !== lastName) {
      start = `${template.before}${labels.text}`;
      lastName = template.name;
      lastLabels = labels;
    }
    const end = more === "" ? template.end : `${template.after},${more}} `;
    const exemplarText = withExemplars && exemplar !== undefined
      ? renderExemplar(exemplar)
      : "";
    lines += start + end + formatValue(value) + exemplarText + "\n";
  };
  for (const _ of collect(emit)) {
    yield lines;
    lines = "";
  }
}

/** Returns the text of a sample's exemplar. Only counters and buckets may have one. */
function exemplarOf({ name, exemplar }: Sample, type: string): string {
  const isAllowed = type === "counter" ||
    type === "histogram" && name.endsWith("_bucket");
  return exemplar !== undefined && isAllowed ? renderExemplar(exemplar) : "";
}

function renderSample(
  { name, labels, value }: Sample,
  formatNumber: (bound: number) => string,
): string {
  return `${name}${renderLabels(labels, formatNumber)} ${formatValue(value)}`;
}

function renderLabels(
  labels: SampleLabels,
  formatNumber: (bound: number) => string,
): string {
  let text = "";
  for (const [name, value] of Object.entries(labels)) {
    const shown = typeof value === "string"
      ? escapeLabelValue(value)
      : isBoundLabel(name)
      ? formatNumber(value)
      : String(value);
    text += `${text === "" ? "{" : ","}${name}="${shown}"`;
  }
  return text === "" ? "" : `${text}}`;
}
