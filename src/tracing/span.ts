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

/** By what a span is found: the labels of an exemplar. */
export type TraceLabels = Readonly<Record<"trace_id" | "span_id", string>>;

/** The span of one scope. */
export interface ScopeSpan {
  readonly traceId: string;
  /** By what it is found, if its trace is sampled. */
  readonly labels: TraceLabels | undefined;
  /** The context of what starts now inside of it, if it is a pipeline's. */
  childContext(): Context;
  /** Calls a function inside of it: the spans that this starts hang below. */
  runInSpan<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R;
  /** An error left the scope. */
  recordError(error: unknown): void;
  /** The scope has ended. */
  end(outcome: OutcomeLabel): void;
}

/** By this key, a context has the span of the innermost pipeline. */
const PIPELINE = createContextKey("@lukhas/stage-metrics pipeline");

/** By this key, a context has the errors that its trace has shown. */
const RECORDED = createContextKey("@lukhas/stage-metrics recorded errors");

/** A span that was started. */
export class RunningSpan implements ScopeSpan {
  readonly traceId: string;
  readonly labels: TraceLabels | undefined;
  readonly #span: Span;
  readonly #context: Context;
  readonly #recorded: RecordedErrors;
  readonly #issues: IssueReporter;
  /** What the last error that left the scope says. */
  #message = "";

  /** @param parentContext The context that it was started in. */
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
    // Where the context was lost, or is another's, the active span is not below.
    return active.getValue(PIPELINE) === this ? active : this.#context;
  }

  runInSpan<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    let end: (() => R) | undefined;
    const call = () => {
      // Once, also where the context manager calls twice.
      end ??= capture(fn, args);
    };
    this.#guard(() => context.with(this.#context, call));
    // Where there is no entering, it is called all the same.
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
    // What went well is left unset: whether it is OK is for the application to say.
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

/** Returns the active context for the root of a trace: without spans and their errors. */
export function rootContext(): Context {
  return trace.deleteSpan(context.active())
    .deleteValue(PIPELINE)
    .deleteValue(RECORDED);
}

/** By what a span is found, if its trace is valid and sampled. */
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

/** Calls a function, and gives what ends as it did. */
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

/** What a span shows of an error, so that nothing of the error's own is called later. */
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
    // It is nothing that has properties, or has some that throw.
  }
  return { message: describeError(error) };
}

/**
 * The errors that a trace has shown: each is shown by the innermost scope that it left,
 * and by none that it leaves later.
 */
class RecordedErrors {
  readonly #objects = new WeakSet<object>();
  /** Of what is no object the last one: to keep them all would take memory for good. */
  #value: { readonly last: unknown } | undefined;

  /** Adds an error, and says whether it is new. */
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
