import {
  type Context,
  context,
  type Link,
  trace,
  type Tracer,
} from "@opentelemetry/api";
import type { IssueReporter } from "../common/issues.ts";
import {
  labelsOf,
  rootContext,
  RunningSpan,
  type ScopeSpan,
  type TraceLabels,
} from "./span.ts";

/**
 * The tracer provider of an OpenTelemetry SDK.
 *
 * @see {@link https://opentelemetry.io/docs/specs/otel/trace/api/#tracerprovider | OpenTelemetry, TracerProvider}
 */
export interface TracerProvider {
  /** Returns the tracer for an instrumentation library. */
  getTracer(name: string): object;
}

export type { ScopeSpan };

/** A provider, `"auto"` for the registered provider, or `false` for no tracing. */
type TracingOption = "auto" | false | TracerProvider;

/** The name and the attributes of a scope's span. */
export interface SpanDescription {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly isPipeline: boolean;
}

/** The spans around a scope when it starts. */
export interface SpanParents {
  /** The span of the enclosing open pipeline, if any. */
  readonly parent: ScopeSpan | undefined;
  /** Whether the scope starts a trace, as the option `detached` requests. */
  readonly isDetached?: boolean;
  /** The span of the ended pipeline in whose context the scope starts, if any. */
  readonly endedParent?: ScopeSpan | undefined;
}

/** The arguments for starting a span. */
interface StartContext {
  readonly parentContext: Context;
  readonly links?: Link[];
}

/** The name of this instrumentation library in traces. */
const TRACER_NAME = "@lukhas/stage-metrics";

/** The key of the global in which all copies of the API register the provider. */
const API_GLOBAL = Symbol.for("opentelemetry.js.api.1");

/** Starts the spans of an instance's scopes, if there is a provider. */
export class ScopeTracer {
  readonly #option: TracingOption;
  readonly #issues: IssueReporter;
  /** The provider at the last check. */
  #provider: TracerProvider | undefined;
  /** The tracer of that provider. */
  #tracer: Tracer | undefined;

  constructor(option: TracingOption, issues: IssueReporter) {
    this.#option = option;
    this.#issues = issues;
  }

  /**
   * Returns whether there is a provider now. This reads the global itself, because a call
   * of the API would slow down all pipelines without tracing.
   */
  isEnabled(): boolean {
    const provider = this.#option === "auto"
      ? registeredProvider()
      : this.#option || undefined;
    if (provider !== this.#provider) this.#setProvider(provider);
    return this.#tracer !== undefined;
  }

  /** Starts the span of a scope, if there is a provider. */
  start(
    { name, attributes, isPipeline }: SpanDescription,
    parents: SpanParents,
  ): ScopeSpan | undefined {
    return this.#issues.guard("tracing", () => {
      const { parentContext, links } = startContext(parents, isPipeline);
      const options = links === undefined
        ? { attributes }
        : { attributes, root: true, links };
      const span = this.#tracer?.startSpan(name, options, parentContext);
      return span &&
        new RunningSpan(span, parentContext, isPipeline, this.#issues);
    });
  }

  /** Returns the exemplar labels of the active span, if its trace is sampled. */
  activeLabels(): TraceLabels | undefined {
    if (!this.isEnabled()) return undefined;
    return this.#issues.guard("tracing", () => {
      const span = trace.getActiveSpan();
      return span && labelsOf(span.spanContext());
    });
  }

  #setProvider(provider: TracerProvider | undefined): void {
    this.#provider = provider;
    this.#tracer = provider && this.#issues.guard(
      "tracing",
      () => provider.getTracer(TRACER_NAME) as Tracer,
    );
  }
}

/** Returns the parent context and the links for the span of a scope. */
function startContext(
  { parent, isDetached, endedParent }: SpanParents,
  isPipeline: boolean,
): StartContext {
  const active = trace.getActiveSpan();
  // In the context of an ended pipeline, a server may start spans for requests. Such a
  // span is the parent, unless it is in the trace of the ended pipeline.
  const isRoot = isDetached ||
    endedParent !== undefined &&
      active?.spanContext().traceId === endedParent.traceId;
  if (isRoot) {
    const linked = active?.spanContext();
    const links = linked === undefined ? [] : [{ context: linked }];
    return { parentContext: rootContext(), links };
  }
  const isBelowActive = parent === undefined ||
    isPipeline && active !== undefined;
  return {
    parentContext: isBelowActive ? context.active() : parent.childContext(),
  };
}

/** Returns the provider that is registered with the API, if any. */
function registeredProvider(): TracerProvider | undefined {
  const realm = globalThis as {
    readonly [API_GLOBAL]?: { readonly trace?: TracerProvider };
  };
  try {
    return realm[API_GLOBAL]?.trace;
  } catch {
    // A foreign getter threw.
    return undefined;
  }
}
