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
 * What makes tracers, as every SDK of OpenTelemetry has it.
 *
 * @see {@link https://opentelemetry.io/docs/specs/otel/trace/api/#tracerprovider | OpenTelemetry, TracerProvider}
 */
export interface TracerProvider {
  /** Gives the tracer of the library of that name. */
  getTracer(name: string): object;
}

export type { ScopeSpan };

/** A provider, `"auto"` for the one that is registered, or `false` for none. */
export type TracingOption = "auto" | false | TracerProvider;

/** What a span tells of its scope from the start. */
export interface SpanDescription {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly isPipeline: boolean;
}

/** Where the span of a scope belongs. */
export interface SpanParents {
  /** The span of the pipeline around it, if there is one. */
  readonly parent: ScopeSpan | undefined;
  /** Whether it is the root of a trace by its caller's wish. */
  readonly isDetached?: boolean;
  /** The span of the pipeline in whose context it starts, if that has ended. */
  readonly endedParent?: ScopeSpan | undefined;
}

/** The context that a span starts in, and the spans that it links to. */
interface StartContext {
  readonly parentContext: Context;
  readonly links?: Link[];
}

/** Whose spans these are, for those who read traces. */
const TRACER_NAME = "@lukhas/stage-metrics";

/** Where every copy of the API keeps what is registered with it, and Deno its own. */
const API_GLOBAL = Symbol.for("opentelemetry.js.api.1");

/** Makes the spans of an instance's scopes, where there is a provider. */
export class ScopeTracer {
  readonly #option: TracingOption;
  readonly #issues: IssueReporter;
  /** The provider that there was when last looked at, and its tracer. */
  #provider: TracerProvider | undefined;
  #tracer: Tracer | undefined;

  constructor(option: TracingOption, issues: IssueReporter) {
    this.#option = option;
    this.#issues = issues;
  }

  /**
   * Whether there is a provider by now. This is a look at a global: with a call of the
   * API, those who trace nothing would pay for it in every pipeline.
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

  /** By what an observation that is made now is found, if its trace is sampled. */
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

function startContext(
  { parent, isDetached, endedParent }: SpanParents,
  isPipeline: boolean,
): StartContext {
  const active = trace.getActiveSpan();
  // A request that is served inside a pipeline has a span of its own. The pipelines that
  // it runs belong to that span, unless it is of the same trace.
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

function registeredProvider(): TracerProvider | undefined {
  const realm = globalThis as {
    readonly [API_GLOBAL]?: { readonly trace?: TracerProvider };
  };
  try {
    return realm[API_GLOBAL]?.trace;
  } catch {
    // A getter of somebody's is no provider.
    return undefined;
  }
}
