/**
 * Spells the value of a label `le` or `quantile`: `1.0`, `0.005`, `1e-05`, `1e+06`.
 *
 * For Prometheus 2, `1` and `1.0` are two buckets. The Python client writes `1.0`, and
 * OpenMetrics requires it.
 *
 * @see {@link https://prometheus.io/docs/specs/om/open_metrics_spec/#considerations-canonical-numbers | OpenMetrics 1.0, Canonical Numbers}
 */
export function formatBound(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  if (Number.isNaN(value)) return "NaN";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) {
    return value.toExponential().replace(/e([+-])(\d)$/, "e$10$2");
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** Spells the value of a sample for both text formats: `1`, `0.5`, `+Inf`. */
export function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

/** A number in a form that JSON can hold: `NaN` and infinities are strings. */
export type PackedNumber = number | string;

/** Converts a number to a form that JSON can hold. `Number` converts it back. */
export function packNumber(value: number): PackedNumber {
  return Number.isFinite(value) ? value : String(value);
}
