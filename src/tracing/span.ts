import {
  type Context,
  context,
  createContextKey,
  type Exception,
  isSpanContextValid,
  type Span,
  type SpanContext,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { describeError } from "../common/describe_error.ts";
import { isObject } from "../common/is_object.ts";
import type { IssueReporter } from "../common/issues.ts";
import type { OutcomeLabel } from "../common/outcome.ts";

/** The exemplar labels that identify a span. */
export type TraceLabels = Readonly<Record<"trace_id" | "span_id", string>>;

/** The span of one scope, as used by the scope. */
export interface ScopeSpan {
  readonly traceId: string;
  /** The exemplar labels, if the trace is sampled. */
  readonly labels: TraceLabels | undefined;
  /** Returns the parent context for scopes inside the pipeline whose span this is. */
  childContext(): Context;
  /** Calls a function with this span active, as the parent of new spans. */
  runInSpan<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R;
  /** Records an error that left the scope. */
  recordError(error: unknown): void;
  /** Ends the span, with the status of an outcome. */
  end(outcome: OutcomeLabel): void;
}

/** The context key of the span of the innermost pipeline. */
const PIPELINE = createContextKey("@lukhas/stage-metrics pipeline");

/** The context key of the trace's recorded errors. */
const RECORDED = createContextKey("@lukhas/stage-metrics recorded errors");

/** A started span. */
export class RunningSpan implements ScopeSpan {
  readonly traceId: string;
  readonly labels: TraceLabels | undefined;
  readonly #span: Span;
  readonly #context: Context;
  readonly #recorded: RecordedErrors;
  readonly #issues: IssueReporter;
  /** The message of the last recorded error. */
  #message = "";

  /** @param parentContext The context in which the span was started. */
  constructor(
    span: Span,
    parentContext: Context,
    isPipeline: boolean,
    issues: IssueReporter,
  ) {
    this.#span = span;
    this.#recorded = recordedIn(parentContext) ?? new RecordedErrors();
    this.#issues = issues;
    const spanContext = span.spanContext();
    this.traceId = spanContext.traceId;
    this.labels = labelsOf(spanContext);
    const inside = trace.setSpan(parentContext, span)
      .setValue(RECORDED, this.#recorded);
    this.#context = isPipeline ? inside.setValue(PIPELINE, this) : inside;
  }

  childContext(): Context {
    const active = context.active();
    // Otherwise the context was lost or is foreign: its span is not inside this one.
    return active.getValue(PIPELINE) === this ? active : this.#context;
  }

  runInSpan<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    let end: (() => R) | undefined;
    const call = () => {
      // Calls it once, even if the context manager calls twice.
      end ??= capture(fn, args);
    };
    this.#guard(() => context.with(this.#context, call));
    // The context manager threw, or did not call the function.
    if (end === undefined) call();
    return end!();
  }

  recordError(error: unknown): void {
    const exception = toException(error);
    this.#message = exception.message;
    if (!this.#recorded.add(error)) return;
    this.#guard(() => this.#span.recordException(exception));
  }

  end(outcome: OutcomeLabel): void {
    this.#guard(() => this.#span.setAttribute("lukhas.outcome", outcome));
    // Otherwise, the status stays unset: only applications may set it to OK.
    if (outcome === "failure" || outcome === "timeout") {
      const status = { code: SpanStatusCode.ERROR, message: this.#message };
      this.#guard(() => this.#span.setStatus(status));
    }
    this.#guard(() => this.#span.end());
  }

  #guard(fn: () => unknown): void {
    this.#issues.guard("tracing", fn);
  }
}

/** Returns the active context for a new trace: without spans and recorded errors. */
export function rootContext(): Context {
  return trace.deleteSpan(context.active())
    .deleteValue(PIPELINE)
    .deleteValue(RECORDED);
}

/** Returns the exemplar labels of a span, if its trace is valid and sampled. */
export function labelsOf(
  spanContext: SpanContext,
): TraceLabels | undefined {
  const { traceId, spanId, traceFlags } = spanContext;
  const isSampled = (traceFlags & TraceFlags.SAMPLED) !== 0;
  return isSampled && isSpanContextValid(spanContext)
    ? { trace_id: traceId, span_id: spanId }
    : undefined;
}

function recordedIn(context: Context): RecordedErrors | undefined {
  return context.getValue(RECORDED) as RecordedErrors | undefined;
}

/** Calls a function. Returns a function that returns its value, or throws its error. */
function capture<A extends unknown[], R>(
  fn: (...args: A) => R,
  args: A,
): () => R {
  try {
    const value = fn(...args);
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

/** Copies an error for a span, so that none of the error's code is called later. */
function toException(error: unknown): Exclude<Exception, string> & {
  readonly message: string;
} {
  try {
    const { name, message, stack } = error as Record<string, unknown>;
    if (typeof message === "string") {
      return {
        message,
        ...(typeof name === "string" && { name }),
        ...(typeof stack === "string" && { stack }),
      };
    }
  } catch {
    // Not an object, or a getter threw.
  }
  return { message: describeError(error) };
}

/**
 * The errors that a trace has recorded. Each is recorded only on the innermost scope that
 * it left.
 */
class RecordedErrors {
  readonly #objects = new WeakSet<object>();
  /** The last recorded value that is not an object. A set of all of them would leak. */
  #value: { readonly last: unknown } | undefined;

  /** Adds an error, and returns whether it is new. */
  add(error: unknown): boolean {
    if (isObject(error)) {
      if (this.#objects.has(error)) return false;
      this.#objects.add(error);
      return true;
    }
    if (this.#value !== undefined && Object.is(this.#value.last, error)) {
      return false;
    }
    this.#value = { last: error };
    return true;
  }
}
