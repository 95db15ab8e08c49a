/**
 * Receives the spans of other processes by OTLP/HTTP.
 *
 * @see {@link https://opentelemetry.io/docs/specs/otlp/#otlphttp | OTLP/HTTP}
 *
 * @module
 */
import { drawTraces, type SpanRecord } from "./traces.ts";

/** The expected traces of `fixtures/traced.ts`. */
export const EXPECTED_TRACES = (() => {
  const slow = 'Stage "slow" of pipeline "answer" timed out after 1 ms';
  const late = 'Pipeline "late" timed out after 5 ms';
  return `pipeline answer (answer, test) success
  stage facts (answer, test, facts) success
    stage rank (answer, test, rank) success
    stage read (answer, test, read) success
  stage maths (answer, test, maths) success
    own
    pipeline solve (solve, batch) success
      stage add (solve, batch, add) success
  stage parse (answer, test, parse) success
  stage slow (answer, test, slow) timeout ERROR ${
    JSON.stringify(slow)
  } !TimeoutError: ${slow}
pipeline declared (declared, test) success
  stage step (declared, test, step) success
    stage step (declared, test, step) success
pipeline failing (failing, test) failure ERROR "No gold"
  stage outer (failing, test, outer) failure ERROR "No gold"
    stage inner (failing, test, inner) failure ERROR "No gold" !RangeError: No gold
pipeline late (late, test) timeout ERROR ${JSON.stringify(late)}
  stage one (late, test, one) timeout ERROR ${JSON.stringify(late)}
  stage other (late, test, other) timeout ERROR ${
    JSON.stringify(late)
  } !TimeoutError: ${late}
pipeline open (open, test) success
  stage receive (open, test, receive) success
  stage store (open, test, store) success`;
})();

/** A collector that is running. */
export interface Collector extends AsyncDisposable {
  /** Variables that make OpenTelemetry's SDKs and Deno export to this collector. */
  readonly environment: Readonly<Record<string, string>>;
  /** The received spans. */
  readonly spans: readonly SpanRecord[];
  /** Returns the received spans as text. */
  draw(): string;
}

interface Attribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

interface OtlpSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly attributes?: readonly Attribute[];
  readonly events?: readonly {
    readonly name: string;
    readonly attributes?: readonly Attribute[];
  }[];
  readonly status?: { readonly code?: number; readonly message?: string };
}

interface Traces {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly OtlpSpan[] }[];
  }[];
}

/** Starts a collector on a free port of loopback. */
export function startCollector(): Collector {
  const spans: SpanRecord[] = [];
  const server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    async (request) => {
      const body = await request.json();
      // Deno exports logs, too.
      if (new URL(request.url).pathname === "/v1/traces") {
        spans.push(...readSpans(body));
      }
      return Response.json({});
    },
  );
  return {
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_BSP_SCHEDULE_DELAY: "50",
    },
    spans,
    draw: () => drawTraces(spans),
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function readSpans({ resourceSpans }: Traces): SpanRecord[] {
  return resourceSpans.flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)
    .map(({ attributes, events = [], status = {}, ...span }) => ({
      traceId: span.traceId,
      spanId: span.spanId,
      parentSpanId: span.parentSpanId || undefined,
      name: span.name,
      attributes: readAttributes(attributes),
      status: { code: status.code ?? 0, message: status.message ?? "" },
      exceptions: events.filter(({ name }) => name === "exception")
        .map((event) => readAttributes(event.attributes)),
    }));
}

function readAttributes(
  attributes: readonly Attribute[] = [],
): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, Object.values(value)[0]]),
  );
}
