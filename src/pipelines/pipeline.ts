import type { IssueReporter } from "../common/issues.ts";
import { normalizeLane, sanitizeName } from "../common/labels.ts";
import type { Outcome, OutcomeLabel } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import { bindFunction } from "../scopes/bind.ts";
import {
  currentContext,
  type EndStream,
  type InstanceSource,
  type PipelineContext,
  runInContext,
} from "../scopes/context.ts";
import type { ScopeOptions } from "../scopes/options.ts";
import {
  createScopeFunction,
  type ScopeFunction,
} from "../scopes/overloads.ts";
import { runScope } from "../scopes/run.ts";
import { abortSignals, type Instance, Scope } from "../scopes/scope.ts";
import { subtree } from "../scopes/scope_tree.ts";
import {
  getOrCreatePipelineSeries,
  type PipelineNode,
} from "../series/series_tree.ts";
import type { SpanDescription } from "../tracing/tracer.ts";
import {
  createPipelineStage,
  type StageOptions,
  type StageRunner,
  type StageScope,
} from "./stage.ts";
import {
  createStreamFunction,
  type MeasuredStream,
  type StreamOptions,
  type StreamSource,
} from "./stage_stream.ts";

/** The options of a pipeline. */
export interface PipelineOptions extends ScopeOptions {
  /**
   * The label `lane`: the traffic class or deployment that the run belongs to, such as
   * `production`, `canary` or `batch`. It is trimmed and lower-cased. An empty lane becomes
   * `unknown`.
   *
   * @default {the lane of the enclosing open pipeline, or else of the instance}
   */
  lane?: string | undefined;
  /**
   * Whether to start the pipeline as a root. It then has no parent, and takes no lane,
   * timeout, signal or span from the enclosing pipeline. For work that outlives the
   * code that starts it, such as the jobs of a worker that a request creates.
   *
   * @default {false}
   */
  detached?: boolean | undefined;
}

/**
 * A running pipeline, as its function gets it. Its methods work destructured.
 *
 * `stage`, `stageStream` and `bind` use this pipeline wherever they are called. They
 * also work where the async context is lost or belongs to another pipeline, as in
 * listeners of an emitter that was created elsewhere.
 *
 * @typeParam N The names of the stages, if the pipeline declares them.
 */
export interface PipelineScope<N extends string = string>
  extends StageRunner<N> {
  /** The name of the pipeline, the label `pipeline_name`. */
  readonly name: string;
  /** The lane of the pipeline, the label `lane`. */
  readonly lane: string;
  /**
   * The signal to pass to `fetch` and to other work that should stop with the pipeline.
   * It is aborted when a timeout or a `signal`, of this pipeline or of an enclosing one,
   * ends the pipeline, and when this pipeline or an enclosing one throws.
   */
  readonly signal: AbortSignal;
  /**
   * Sets the outcome to record if the pipeline returns. The last call before the
   * pipeline is recorded counts, also while a stream keeps the pipeline open. If the
   * pipeline throws, or one of its streams fails later, the error is classified instead.
   *
   * @param outcome The outcome.
   */
  setOutcome(outcome: Outcome): void;
  /**
   * Measures a stream as a stage of this pipeline.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, or `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked.
   */
  stageStream<S extends StreamSource>(
    name: N,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
  /**
   * Measures a stream as a stage of this pipeline, with options.
   *
   * @typeParam S The type of the stream.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param source The stream, or a function that returns it.
   * @returns A stream of the same kind, or `null` for `null`.
   * @throws {TypeError} If the source is not a stream, or is locked, or if an option
   * has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stageStream<S extends StreamSource>(
    name: N,
    options: StreamOptions<N> | undefined,
    source: S | ((scope: StageScope) => S),
  ): MeasuredStream<S>;
  /**
   * Binds a function to the context of this pipeline: the stages it starts belong to this
   * pipeline. For callbacks of pools, queues, loaders and emitters, which otherwise run in
   * the context in which the pool or emitter was created.
   *
   * @typeParam F The type of the function.
   * @param fn The function.
   * @returns A function that calls `fn`. It has the type, name, length and properties of
   * `fn`.
   * @throws {TypeError} If `fn` is not a function.
   */
  bind<F extends (...args: never[]) => unknown>(fn: F): F;
}

/** The options of the declared stages, by name. */
export type DeclaredStages = ReadonlyMap<string, StageOptions>;

/** One run of a pipeline. Its code finds it in the async context. */
export class PipelineRun extends Scope
  implements PipelineScope, PipelineContext {
  readonly node: PipelineNode;
  readonly declaredStages: DeclaredStages | undefined;
  readonly captured: Instance | undefined;
  lastChild: Scope | undefined = undefined;
  abandonedBelow = 0;
  #openStreams = 0;
  /** The outcome of its code, while streams keep it open. */
  #finishedAs: OutcomeLabel | undefined;
  /** The outcomes of its cancelled streams. */
  #cancelledAs: Set<OutcomeLabel> | undefined;
  /** Whether a stream failed or timed out without being cancelled. */
  #hasFailedStream = false;

  constructor(
    instance: Instance,
    node: PipelineNode,
    options: PipelineOptions | undefined,
    declaredStages: DeclaredStages | undefined,
    parent: PipelineContext | undefined,
    captured: Instance | undefined,
  ) {
    super(instance, getOrCreatePipelineSeries(instance, node), options, parent);
    this.node = node;
    this.declaredStages = declaredStages;
    this.captured = captured;
  }

  get name(): string {
    return this.node.name;
  }

  get lane(): string {
    return this.node.lane;
  }

  get pipeline(): this {
    return this;
  }

  get stage(): PipelineScope["stage"] {
    return createPipelineStage(this) as PipelineScope["stage"];
  }

  get stageStream(): PipelineScope["stageStream"] {
    return createStreamFunction(() => this) as PipelineScope["stageStream"];
  }

  get bind(): PipelineScope["bind"] {
    return (fn) => bindFunction(fn, this, this);
  }

  describe(): string {
    return `Pipeline ${quote(this.name)}`;
  }

  protected override describeSpan(): SpanDescription {
    return {
      name: `pipeline ${this.name}`,
      attributes: {
        "lukhas.pipeline.name": this.name,
        "lukhas.lane": this.lane,
      },
      isPipeline: true,
    };
  }

  /** Fails, and aborts its signal and the signals below it to stop open stages. */
  override fail(error: unknown): void {
    // Read before its open children move to its parent.
    const scopes = this.isSettled ? [] : subtree<Scope>(this);
    for (const each of scopes) each.markAborted(error);
    super.fail(error);
    abortSignals(scopes);
  }

  beginStream(): EndStream {
    this.#openStreams++;
    // A stream that begins after the code has returned is read by the source of another
    // stream. That stream's outcome counts.
    const isOwn = this.#finishedAs === undefined;
    return (outcome, wasCancelled, error) => {
      this.#openStreams--;
      if (this.#finishedAs === undefined || this.isSettled) return;
      if (isOwn) this.#addStreamOutcome(outcome, wasCancelled, error);
      if (this.#openStreams > 0) return;
      const final = this.outcomeOverride ?? this.#finishedAs;
      const isCancelled = !this.#hasFailedStream &&
        this.#cancelledAs?.has(final) === true;
      this.#finish(final, isCancelled);
    };
  }

  /** Takes over the outcome of a stream that failed or timed out. */
  #addStreamOutcome(
    outcome: OutcomeLabel,
    wasCancelled: boolean,
    error: unknown,
  ): void {
    if (outcome !== "success") {
      this.outcomeOverride = outcome;
      this.span?.recordError(error);
    }
    // Users subtract cancelled runs from failures: a real failure must not count as one.
    if (wasCancelled) (this.#cancelledAs ??= new Set()).add(outcome);
    else if (outcome !== "success") this.#hasFailedStream = true;
  }

  /** Records the pipeline now, or when the last of its streams ends. */
  protected override end(outcome: OutcomeLabel): void {
    if (this.#openStreams > 0) {
      // Stages that are still running may belong to the source of a stream.
      this.#finishedAs = outcome;
      return;
    }
    this.#finish(outcome, false);
  }

  #finish(outcome: OutcomeLabel, isCancelled: boolean): void {
    // Found before its open children move, reported after it is recorded.
    const stageName = this.#findUnawaited();
    this.settle(outcome, isCancelled);
    if (stageName === undefined) return;
    this.instance.issues.report(
      "unawaited_stage",
      `${this.describe()} returned while its stage ${
        quote(stageName)
      } was still running: await it, or start it in a pipeline of its own with detached: true`,
    );
  }

  /** Returns the name of a running stage that its code should have awaited, if any. */
  #findUnawaited(): string | undefined {
    // Code that a deadline abandoned may still be waiting for the stage.
    if (this.abandonedBelow > 0) return undefined;
    for (let child = this.lastChild; child; child = child.previous) {
      if (child.unawaitedName !== undefined) return child.unawaitedName;
    }
    return undefined;
  }
}

/** Creates a `pipeline` function. */
export function createPipelineFunction(
  source: InstanceSource,
): ScopeFunction {
  return createScopeFunction<PipelineScope, PipelineOptions>(
    "pipeline",
    (name, options, fn) => {
      const run = startPipeline(source, name, options);
      return runInContext(run, runScope, run, fn);
    },
  );
}

/**
 * Returns the scope of the innermost enclosing pipeline.
 *
 * @returns The scope, or `undefined` if there is no enclosing pipeline.
 *
 * @example
 * ```ts
 * import { currentPipeline, pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(currentPipeline(), undefined);
 * pipeline("nightly_import", { lane: "batch" }, () => {
 *   assertEquals(currentPipeline()?.name, "nightly_import");
 *   assertEquals(currentPipeline()?.lane, "batch");
 * });
 * ```
 */
export function currentPipeline(): PipelineScope | undefined {
  // Every pipeline in the context is a `PipelineRun`.
  return currentContext()?.pipeline as PipelineRun | undefined;
}

/** Starts a pipeline: inside the enclosing one while that is open, or as a root. */
export function startPipeline(
  source: InstanceSource,
  name: string,
  options: PipelineOptions | undefined,
  declaredStages?: DeclaredStages,
): PipelineRun {
  const context = currentContext();
  const enclosing = context?.pipeline;
  const isDetached = options?.detached === true;
  const isLate = enclosing !== undefined && enclosing.isDone;
  const parent = isDetached || isLate ? undefined : enclosing;
  const instance = isDetached ? source.rootInstance() : source.instance();
  const { registration, tree, issues } = instance;
  registration.ensure(issues);
  if (isLate && !isDetached) reportLate(name, enclosing, issues);
  const lane = options?.lane === undefined
    ? parent?.node.lane ?? instance.lane
    : normalizeLane(options.lane, issues);
  const node = tree.findPipeline(lane, name) ??
    tree.getOrCreatePipeline(lane, sanitizeName(name, "pipeline", issues));
  const run = new PipelineRun(
    instance,
    node,
    options,
    declaredStages,
    parent,
    context?.captured,
  );
  if (instance.tracing.isEnabled()) {
    run.startSpan({
      parent: parent?.span,
      isDetached,
      endedParent: isLate ? enclosing.span : undefined,
    });
  }
  return run;
}

function reportLate(
  name: string,
  ended: PipelineContext,
  issues: IssueReporter,
): void {
  issues.reportMisuse(
    "late_pipeline",
    `Pipeline ${quote(name)} started in the context of pipeline ${
      quote(ended.node.name)
    }, which has ended: it runs as a root. Await the code that starts it, or pass detached: true if a timer, server, pool or worker that was created there starts it`,
  );
}

/** Returns the lane of the enclosing open pipeline, or else of the instance. */
export function currentLane(instance: Instance): string {
  const pipeline = currentContext()?.pipeline;
  return pipeline === undefined || pipeline.isDone
    ? instance.lane
    : pipeline.node.lane;
}
