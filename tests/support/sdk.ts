/**
 * OpenTelemetry's SDK for the duration of a test.
 *
 * @module
 */
import {
  context,
  diag,
  DiagLogLevel,
  propagation,
  trace,
} from "@opentelemetry/api";
import {
  NodeTracerProvider,
  type ReadableSpan,
  type TracerConfig,
} from "@opentelemetry/sdk-trace-node";
import { drawTraces, type SpanRecord } from "./traces.ts";

/** A tracer provider, and its spans. */
export interface Sdk extends Disposable {
  readonly provider: NodeTracerProvider;
  /** Registers the provider and its context manager. */
  register(): void;
  /** The spans that have ended. */
  spans(): readonly SpanRecord[];
  /** Returns the spans as text. */
  draw(): string;
  /** The warnings of the registered SDK, for example about spans that end twice. */
  readonly warnings: readonly string[];
}

/** Creates a provider that keeps its spans. */
export function createSdk(config: TracerConfig = {}): Sdk {
  const spans: SpanRecord[] = [];
  // The SDK's own exporter to memory leaves timers behind.
  const keeper = {
    onStart() {},
    onEnd: (span: ReadableSpan) => void spans.push(toRecord(span)),
    forceFlush: () => Promise.resolve(),
    shutdown: () => Promise.resolve(),
  };
  const provider = new NodeTracerProvider({
    ...config,
    spanProcessors: [keeper],
  });
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const logger = { error: warn, warn, info() {}, debug() {}, verbose() {} };
  return {
    provider,
    register() {
      diag.setLogger(logger, {
        logLevel: DiagLogLevel.WARN,
        suppressOverrideMessage: true,
      });
      provider.register();
    },
    warnings,
    spans: () => spans,
    draw: () => drawTraces(spans),
    [Symbol.dispose]() {
      diag.disable();
      trace.disable();
      context.disable();
      propagation.disable();
    },
  };
}

/** Creates and registers a provider that keeps its spans. */
export function registerSdk(config?: TracerConfig): Sdk {
  const sdk = createSdk(config);
  sdk.register();
  return sdk;
}

function toRecord(span: ReadableSpan): SpanRecord {
  const { traceId, spanId } = span.spanContext();
  const { code, message = "" } = span.status;
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    name: span.name,
    attributes: span.attributes,
    status: { code, message },
    exceptions: span.events.filter(({ name }) => name === "exception")
      .map(({ attributes = {} }) => attributes),
  };
}
