import type { IssueReporter } from "../common/issues.ts";
import { sanitizeName, UNKNOWN } from "../common/labels.ts";
import type { Outcome } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import { bindFunction } from "../scopes/bind.ts";
import {
  type CurrentContext,
  currentContext,
  type InstanceSource,
  OrphanContext,
  type PipelineContext,
  runInContext,
} from "../scopes/context.ts";
import { mergeScopeOptions, type ScopeOptions } from "../scopes/options.ts";
import {
  createScopeFunction,
  type ScopeFunction,
  type ScopeWrapper,
} from "../scopes/overloads.ts";
import { runScope } from "../scopes/run.ts";
import { type Instance, Scope } from "../scopes/scope.ts";
import type { Series } from "../series/series.ts";
import { getOrCreateStageSeries } from "../series/series_tree.ts";
import type { SpanDescription } from "../tracing/tracer.ts";

/** The options of a stage. */
export interface StageOptions extends ScopeOptions {}

/**
 * A running stage, as its function gets it.
 *
 * @example
 * ```ts
 * import { pipeline, stage } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const labels = pipeline("import", { lane: "batch" }, () =>
 *   stage("parse", ({ name, pipelineName, lane, setOutcome }) => {
 *     setOutcome("failure");
 *     return [lane, pipelineName, name];
 *   }));
 * assertEquals(labels, ["batch", "import", "parse"]);
 * ```
 */
export interface StageScope {
  /** The name of the stage, the label `stage_name`. */
  readonly name: string;
  /** The name of its pipeline, the label `pipeline_name`. */
  readonly pipelineName: string;
  /** The lane of its pipeline, the label `lane`. */
  readonly lane: string;
  /**
   * The signal to pass to `fetch` and to other work that should stop with the stage.
   * It is aborted when the timeout or the `signal` of the stage or of an enclosing
   * pipeline ends the stage, and when an enclosing pipeline throws.
   */
  readonly signal: AbortSignal;
  /**
   * Sets the outcome to record if the stage returns. The last call before the stage
   * ends counts. If the stage throws, the error is classified instead. Works
   * destructured.
   *
   * @param outcome The outcome.
   */
  setOutcome(outcome: Outcome): void;
  /**
   * Binds a function to the context of this stage: the stages it starts belong to the
   * pipeline of this stage. For callbacks of pools, queues, loaders and emitters,
   * which otherwise run in the context in which the pool or emitter was created.
   *
   * @typeParam F The type of the function.
   * @param fn The function.
   * @returns A function that calls `fn`. It has the type, name, length and properties of
   * `fn`.
   * @throws {TypeError} If `fn` is not a function.
   */
  bind<F extends (...args: never[]) => unknown>(fn: F): F;
}

// The overloads are methods, which TypeScript compares bivariantly: a scope with declared
// stage names can be passed where a `PipelineScope` is expected.
/**
 * The `stage` method that {@linkcode PipelineScope}, {@linkcode PipelineHandle} and
 * {@linkcode DeclaredPipeline} share.
 *
 * @typeParam N The names of the stages, if the pipeline declares them.
 */
export interface StageRunner<N extends string = string> {
  /**
   * Runs an async function as a stage.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the stage, the label `stage_name`.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws The error that `fn` throws.
   */
  stage<T>(name: N, fn: (scope: StageScope) => PromiseLike<T>): Promise<T>;
  /**
   * Runs a function as a stage.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the stage, the label `stage_name`.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws The error that `fn` throws.
   */
  stage<T>(name: N, fn: (scope: StageScope) => T): T;
  /**
   * Runs an async function as a stage with options.
   *
   * @typeParam T The type of the resolved value.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage<T>(
    name: N,
    options: StageOptions | undefined,
    fn: (scope: StageScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a stage with options.
   *
   * @typeParam T The type of the returned value.
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage<T>(
    name: N,
    options: StageOptions | undefined,
    fn: (scope: StageScope) => T,
  ): T;
  /**
   * Returns a wrapper, which is also a method decorator.
   *
   * @param name The name of the stage, the label `stage_name`.
   * @param options The options.
   * @returns A wrapper for functions whose calls become stages.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If `timeout` is `NaN`.
   */
  stage(name: N, options?: StageOptions): ScopeWrapper;
}

/** One run of a stage. */
export class StageRun extends Scope implements StageScope {
  readonly name: string;
  /** The context in which it started. */
  readonly #outer: CurrentContext;
  /** Whether its pipeline had ended when it started. */
  readonly #isLate: boolean;

  constructor(
    outer: CurrentContext,
    series: Series,
    options: StageOptions | undefined,
    name: string,
  ) {
    const { instance, pipeline } = outer;
    // Not a pipeline that has ended: its aborted signal would stop the work of a pool that
    // was created in the pipeline.
    const parent = pipeline?.isDone ? undefined : pipeline;
    super(instance, series, options, parent);
    this.name = name;
    this.#outer = outer;
    this.#isLate = parent !== pipeline;
  }

  /** A stage has no children. Scopes that start inside it belong to its pipeline. */
  get lastChild(): undefined {
    return undefined;
  }

  get pipelineName(): string {
    return this.#outer.pipeline?.node.name ?? UNKNOWN;
  }

  get lane(): string {
    return this.#outer.pipeline?.node.lane ?? this.instance.lane;
  }

  /**
   * A stage without a timeout and signal of its own shares the signal of its pipeline. That
   * is cheap, and a response body that is read after the stage stops with the pipeline.
   */
  override get signal(): AbortSignal {
    const { pipeline } = this.#outer;
    const isOwn = this.cancelScope !== undefined || pipeline === undefined ||
      pipeline.isDone;
    return isOwn ? super.signal : pipeline.signal;
  }

  protected override get codePipeline(): PipelineContext | undefined {
    return this.#isLate ? undefined : this.#outer.pipeline;
  }

  override get unawaitedName(): string | undefined {
    return this.isSettled ? undefined : this.name;
  }

  /** The async context of its code. */
  get context(): CurrentContext {
    return this.#outer.pipeline ?? new OrphanContext(this.instance, this);
  }

  get bind(): StageScope["bind"] {
    return (fn) => bindFunction(fn, this.context, this);
  }

  describe(): string {
    return `Stage ${quote(this.name)} of pipeline ${quote(this.pipelineName)}`;
  }

  protected override describeSpan(): SpanDescription {
    return {
      name: `stage ${this.name}`,
      attributes: {
        "lukhas.pipeline.name": this.pipelineName,
        "lukhas.stage.name": this.name,
        "lukhas.lane": this.lane,
      },
      isPipeline: false,
    };
  }
}

/** Creates a `stage` function for stages of the enclosing pipeline. */
export function createStageFunction(
  { context }: Pick<InstanceSource, "context">,
): ScopeFunction {
  return createScopeFunction<StageScope, StageOptions>(
    "stage",
    (name, options, fn) => {
      const outer = context();
      const run = startStage(outer, name, options, StageRun);
      // Inside a pipeline, this already is the context of the stage.
      return outer.pipeline === undefined
        ? runInContext(run.context, runScope, run, fn)
        : runScope(run, fn);
    },
  );
}

/** Creates a `stage` function for stages of a given pipeline. */
export function createPipelineStage(
  pipeline: PipelineContext,
): ScopeFunction {
  return createScopeFunction<StageScope, StageOptions>(
    "stage",
    (name, options, fn) => {
      const run = startStage(pipeline, name, options, StageRun);
      return currentContext() === pipeline
        ? runScope(run, fn)
        : runInContext(pipeline, runScope, run, fn);
    },
  );
}

/**
 * Starts a stage.
 *
 * @param Run The class of the stage.
 */
export function startStage<R extends StageRun>(
  outer: CurrentContext,
  name: string,
  options: StageOptions | undefined,
  Run: new (...args: ConstructorParameters<typeof StageRun>) => R,
): R {
  const { instance, pipeline } = outer;
  const { issues } = instance;
  const node = pipeline?.node ?? orphanNode(instance);
  const series = node.findStage(name);
  if (series === undefined) name = sanitizeName(name, "stage", issues);
  if (pipeline === undefined || pipeline.isDone) {
    reportMisplaced(name, pipeline, issues);
  }
  if (pipeline?.declaredStages !== undefined) {
    options = withDeclared(pipeline, name, options, issues);
  }
  const run = new Run(
    outer,
    series ?? getOrCreateStageSeries(instance, node, name),
    options,
    name,
  );
  // Whether a pipeline is traced is decided when it starts, for all of its stages.
  const isTraced = pipeline === undefined
    ? instance.tracing.isEnabled()
    : pipeline.span !== undefined;
  if (isTraced) run.startSpan({ parent: pipeline?.span });
  return run;
}

/** Reports a stage that starts outside an open pipeline. */
function reportMisplaced(
  name: string,
  pipeline: PipelineContext | undefined,
  issues: IssueReporter,
): void {
  if (pipeline === undefined) {
    issues.reportMisuse(
      "orphan_stage",
      `Stage ${
        quote(name)
      } ran outside a pipeline: run it inside pipeline(), or call the stage() of the pipeline's scope`,
    );
  } else if (pipeline.abandonedBelow === 0) {
    issues.reportMisuse(
      "late_stage",
      `Stage ${quote(name)} started after its pipeline ${
        quote(pipeline.node.name)
      } had ended: await the code that starts it inside the pipeline. If a pool, socket or timer that was created there starts it, wrap the callback with the bind() of the scope that it belongs to`,
    );
  }
}

/** Merges the declared options of a stage into the options of a call, which win. */
function withDeclared(
  { declaredStages, node }: PipelineContext,
  name: string,
  options: StageOptions | undefined,
  issues: IssueReporter,
): StageOptions | undefined {
  const declared = declaredStages?.get(name);
  if (declared === undefined) {
    issues.reportMisuse(
      "undeclared_stage",
      `Stage ${quote(name)} is not declared by pipeline ${
        quote(node.name)
      }: add it to its definePipeline()`,
    );
    return options;
  }
  return mergeScopeOptions(options, declared);
}

/** Returns the pipeline node under which stages without a pipeline are recorded. */
function orphanNode({ registration, issues, tree, lane }: Instance) {
  registration.ensure(issues);
  return tree.getOrCreatePipeline(lane, UNKNOWN);
}
