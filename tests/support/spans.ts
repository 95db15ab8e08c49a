/**
 * Creates spans that only have identifiers.
 *
 * @module
 */
import { trace, TraceFlags } from "@opentelemetry/api";
import type { TracerProvider } from "../../mod.ts";

/** Returns the labels of an exemplar of the n-th span, as text. */
export function exemplarOf(n: number): string {
  return `{trace_id="${traceId(n)}",span_id="${spanId(n)}"}`;
}

/** Creates a provider whose spans each have their own trace. */
export function countingProvider(
  { first = 1, isSampled = () => true }: {
    readonly first?: number;
    isSampled?(n: number): boolean;
  } = {},
): TracerProvider {
  let n = first;
  return {
    getTracer: () => ({
      startSpan() {
        const traceFlags = isSampled(n) ? TraceFlags.SAMPLED : TraceFlags.NONE;
        const span = { traceId: traceId(n), spanId: spanId(n), traceFlags };
        n++;
        return trace.wrapSpanContext(span);
      },
    }),
  };
}

function traceId(n: number): string {
  return n.toString(16).padStart(32, "0");
}

function spanId(n: number): string {
  return n.toString(16).padStart(16, "0");
}
