/**
 * Spells a number as `le` and `quantile` want it: `1.0`, `0.005`, `1e-05`,
 * `1e+06`.
 *
 * Prometheus 2 takes `1` and `1.0` for two buckets, and the Python client writes
 * `1.0`; OpenMetrics has it so, too.
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

/** Spells a value as both formats want it: whole numbers without a point. */
export function formatValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}

/** A number as it travels: JSON has neither `NaN` nor infinities. */
export type PackedNumber = number | string;

/** Makes a number one that JSON can hold; `Number` makes one of it again. */
export function packNumber(value: number): PackedNumber {
  return Number.isFinite(value) ? value : String(value);
}
