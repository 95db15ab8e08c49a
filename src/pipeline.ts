import {
  type AmbientPipeline,
  getAmbient,
  type Instance,
  runWith,
} from "./context.ts";
import { toLane, toName } from "./labels.ts";
import type { Outcome, OutcomeLabel } from "./outcome.ts";
import {
  runScope,
  Scope,
  scopeFunction,
  type ScopeOptions,
  type ScopeWrapper,
} from "./scope.ts";
import type { PipelineNode, Series } from "./series.ts";
import { createStageFunction, type StageMethods } from "./stage.ts";

/** The options of a pipeline. */
export interface PipelineOptions extends ScopeOptions {
  /**
   * The label `lane`, trimmed and lower-cased.
   *
   * @default {that of the enclosing pipeline, or else of the instance}
   */
  lane?: string | undefined;
}

/**
 * A pipeline while it runs.
 *
 * Its `stage` runs a stage of this very pipeline, also where the async context is
 * lost, as in the listeners of an emitter that was made elsewhere. Its methods
 * work destructured.
 */
export interface PipelineScope extends StageMethods {
  /** The label `pipeline_name`. */
  readonly name: string;
  /** The label `lane`. */
  readonly lane: string;
  /**
   * Sets the outcome that is recorded if the pipeline returns; the last call
   * before that counts. If it throws, the error is classified all the same.
   */
  setOutcome(outcome: Outcome): void;
}

/** The ways to call `pipeline`. */
export interface PipelineMethods {
  /**
   * Runs an async function as a pipeline.
   *
   * @typeParam T The type of the value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param fn What to run.
   * @returns A native promise for the value of `fn`.
   * @throws What `fn` throws.
   */
  pipeline<T>(
    name: string,
    fn: (scope: PipelineScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a pipeline.
   *
   * @typeParam T The type of the value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param fn What to run.
   * @returns What `fn` returns.
   * @throws What `fn` throws.
   */
  pipeline<T>(name: string, fn: (scope: PipelineScope) => T): T;
  /**
   * Runs an async function as a pipeline with options.
   *
   * @typeParam T The type of the value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @param fn What to run.
   * @returns A native promise for the value of `fn`.
   * @throws What `fn` throws.
   */
  pipeline<T>(
    name: string,
    options: PipelineOptions | undefined,
    fn: (scope: PipelineScope) => PromiseLike<T>,
  ): Promise<T>;
  /**
   * Runs a function as a pipeline with options.
   *
   * @typeParam T The type of the value.
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @param fn What to run.
   * @returns What `fn` returns.
   * @throws What `fn` throws.
   */
  pipeline<T>(
    name: string,
    options: PipelineOptions | undefined,
    fn: (scope: PipelineScope) => T,
  ): T;
  /**
   * Makes a wrapper, and the standard decorator of a method.
   *
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @returns What wraps a function, so that each call of it is a pipeline.
   */
  pipeline(name: string, options?: PipelineOptions): ScopeWrapper;
}

class PipelineRun extends Scope implements PipelineScope, AmbientPipeline {
  readonly node: PipelineNode;

  constructor(
    instance: Instance,
    node: PipelineNode,
    options: PipelineOptions | undefined,
  ) {
    super(instance, node.series, options);
    this.node = node;
  }

  get name(): string {
    return this.node.name;
  }

  get lane(): string {
    return this.node.lane;
  }

  /** A run is itself what its code finds in the context. */
  get pipeline(): this {
    return this;
  }

  get stage(): StageMethods["stage"] {
    return createStageFunction(() => this);
  }

  protected override record(outcome: OutcomeLabel, seconds: number): void {
    recordEnd(this.series, outcome, seconds);
  }
}

/** Counts a run of a pipeline that ends now. */
export function recordEnd(
  series: Series,
  outcome: OutcomeLabel,
  seconds: number,
): void {
  series.record(outcome, seconds).lastEnd = Date.now() / 1000;
}

/**
 * Makes a `pipeline` function.
 *
 * @param locate Says which instance a pipeline that starts now belongs to.
 */
export function createPipelineFunction(
  locate: () => Instance,
): PipelineMethods["pipeline"] {
  return scopeFunction<PipelineScope, PipelineOptions>(
    "pipeline",
    (name, options, fn) => {
      const run = startPipeline(locate(), name, options);
      return runWith(run, runScope, run, fn);
    },
  ) as PipelineMethods["pipeline"];
}

/**
 * The innermost pipeline around the code that calls this.
 *
 * @returns Its scope, or `undefined` where there is none.
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
  // Nothing else than the runs of above ever enters the context.
  return getAmbient()?.pipeline as PipelineRun | undefined;
}

function startPipeline(
  instance: Instance,
  name: string,
  options: PipelineOptions | undefined,
): PipelineRun {
  const { registration, tree, issues } = instance;
  registration.ensure(issues);
  const lane = options?.lane === undefined
    ? ambientLane(instance)
    : toLane(options.lane, issues);
  const node = tree.findPipeline(lane, name) ??
    tree.pipeline(lane, toName(name, "pipeline", issues));
  return new PipelineRun(instance, node, options);
}

/** The lane of the enclosing pipeline, or else the instance's. */
export function ambientLane(instance: Instance): string {
  return getAmbient()?.pipeline?.node.lane ?? instance.lane;
}
