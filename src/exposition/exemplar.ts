import { LabelSet } from "./label_set.ts";
import { formatValue, type PackedNumber, packNumber } from "./numbers.ts";

/** An example of the observations that a sample counts, as prom-client stores it. */
export interface Exemplar {
  /** The labels that identify the observation, such as `trace_id`. */
  readonly labelSet: Readonly<Record<string, string>>;
  /** The observed value. */
  readonly value: number;
  /** The time of the observation, in Unix seconds. */
  readonly timestamp: number;
}

/** An exemplar in a form that JSON can hold. */
export interface PackedExemplar extends Omit<Exemplar, "value"> {
  readonly value: PackedNumber;
}

/** Converts an exemplar to a form that JSON can hold. */
export function packExemplar(exemplar: Exemplar): PackedExemplar {
  return { ...exemplar, value: packNumber(exemplar.value) };
}

/** Converts a packed exemplar back. */
export function unpackExemplar(packed: PackedExemplar): Exemplar {
  return { ...packed, value: Number(packed.value) };
}

/** Returns whether two exemplars are equal. Equal spans have the same trace. */
export function isSameExemplar(
  { labelSet, value, timestamp }: Exemplar,
  other: Exemplar | undefined,
): boolean {
  return timestamp === other?.timestamp && value === other.value &&
    labelSet["span_id"] === other.labelSet["span_id"];
}

/** Returns the most recent exemplar, if there is one. */
export function latestExemplar(
  exemplars: Iterable<Exemplar | undefined>,
): Exemplar | undefined {
  let latest: Exemplar | undefined;
  for (const each of exemplars) {
    if (latest === undefined || each && each.timestamp > latest.timestamp) {
      latest = each;
    }
  }
  return latest;
}

/** The maximum length of all label names and values together, in characters. */
const MAX_LABELS_LENGTH = 128;

/**
 * Matches valid label names.
 *
 * @see {@link https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels | Prometheus, Metric labels}
 */
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * Returns the text of an exemplar, which follows its sample in OpenMetrics, or an empty
 * text if the exemplar is invalid: one invalid line makes the scrape fail.
 *
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/#exemplars | OpenMetrics 1.0, Exemplars}
 */
export function renderExemplar(
  { labelSet, value, timestamp }: Exemplar,
): string {
  if (!areLabelsAllowed(labelSet) || !Number.isFinite(timestamp)) return "";
  const { text } = new LabelSet(labelSet);
  return ` # {${text}} ${formatValue(value)} ${timestamp}`;
}

function areLabelsAllowed(labelSet: Exemplar["labelSet"]): boolean {
  let length = 0;
  for (const [name, value] of Object.entries(labelSet)) {
    if (!LABEL_NAME.test(name)) return false;
    length += name.length + value.length;
    // Stops early. A character has at most two UTF-16 code units.
    if (length > 2 * MAX_LABELS_LENGTH) return false;
  }
  return length <= MAX_LABELS_LENGTH ||
    [...Object.entries(labelSet).flat().join("")].length <= MAX_LABELS_LENGTH;
}
