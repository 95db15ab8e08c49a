import { LabelSet } from "./label_set.ts";
import { formatValue, type PackedNumber, packNumber } from "./numbers.ts";

/** One of the observations behind a sample, as prom-client keeps it. */
export interface Exemplar {
  readonly labelSet: Readonly<Record<string, string>>;
  readonly value: number;
  /** Unix seconds. */
  readonly timestamp: number;
}

/** An exemplar as it travels. */
export interface PackedExemplar extends Omit<Exemplar, "value"> {
  readonly value: PackedNumber;
}

export function packExemplar(exemplar: Exemplar): PackedExemplar {
  return { ...exemplar, value: packNumber(exemplar.value) };
}

export function unpackExemplar(packed: PackedExemplar): Exemplar {
  return { ...packed, value: Number(packed.value) };
}

/** Whether two are of the same span and time, and so lead to the same trace. */
export function isSameExemplar(
  { labelSet, timestamp }: Exemplar,
  other: Exemplar | undefined,
): boolean {
  return timestamp === other?.timestamp &&
    labelSet["span_id"] === other.labelSet["span_id"];
}

/** The last of several, if there is any. */
export function lastExemplar(
  exemplars: Iterable<Exemplar | undefined>,
): Exemplar | undefined {
  let last: Exemplar | undefined;
  for (const each of exemplars) {
    if (last === undefined || each && each.timestamp > last.timestamp) {
      last = each;
    }
  }
  return last;
}

/** How long the names and values of the labels may be together, in characters. */
const MAX_LABELS_LENGTH = 128;

/** @see {@link https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels | Prometheus, Metric labels} */
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * Writes an exemplar as it stands behind its sample, in OpenMetrics alone. One that
 * cannot be shown there is left out, as a scrape fails as a whole.
 *
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars | OpenMetrics 1.0, Exemplars}
 */
export function renderExemplar(
  { labelSet, value, timestamp }: Exemplar,
): string {
  if (!isFit(labelSet) || !Number.isFinite(timestamp)) return "";
  const { text } = new LabelSet(labelSet);
  return ` # {${text}} ${formatValue(value)} ${timestamp}`;
}

/** Whether OpenMetrics allows labels for an exemplar. */
function isFit(labelSet: Exemplar["labelSet"]): boolean {
  let length = 0;
  for (const [name, value] of Object.entries(labelSet)) {
    if (!LABEL_NAME.test(name)) return false;
    length += name.length + value.length;
    // Characters outside the Basic Multilingual Plane count once.
    if (length > 2 * MAX_LABELS_LENGTH) return false;
  }
  return length <= MAX_LABELS_LENGTH ||
    [...Object.entries(labelSet).flat().join("")].length <= MAX_LABELS_LENGTH;
}
