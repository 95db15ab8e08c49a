/**
 * Draws traces as text.
 *
 * @module
 */

/** The parts of a span that the tests compare. */
export interface SpanRecord {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { readonly code: number; readonly message: string };
  /** The attributes of its exception events. */
  readonly exceptions: readonly Readonly<Record<string, unknown>>[];
}

const STATUS = ["", "OK", "ERROR"];

/**
 * Draws traces: a line for each span, below that of its parent. Siblings are sorted, as
 * parallel spans have no other order.
 *
 * A line is the name, the attributes but for the outcome, the outcome, the status and
 * the exceptions: `stage s (p, test, s) failure ERROR "No" !Error: No`.
 */
export function drawTraces(spans: readonly SpanRecord[]): string {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const below = (parent: string | undefined, indent: string): string[] =>
    spans.filter(({ parentSpanId }) =>
      parent === undefined
        ? !ids.has(parentSpanId ?? "")
        : parentSpanId === parent
    ).map((span) =>
      [indent + drawSpan(span), ...below(span.spanId, `${indent}  `)].join("\n")
    ).sort();
  return below(undefined, "").join("\n");
}

function drawSpan(
  { name, attributes, status, exceptions }: SpanRecord,
): string {
  const labels = ["pipeline.name", "lane", "stage.name"]
    .map((key) => attributes[`lukhas.${key}`])
    .filter((value) => value !== undefined);
  return [
    name,
    labels.length === 0 ? "" : `(${labels.join(", ")})`,
    attributes["lukhas.outcome"] ?? "",
    STATUS[status.code],
    status.message === "" ? "" : JSON.stringify(status.message),
    ...exceptions.map((each) =>
      "!" + ["type", "message"].map((key) => each[`exception.${key}`])
        .filter((value) => value !== undefined).join(": ")
    ),
  ].filter((part) => part !== "").join(" ");
}
