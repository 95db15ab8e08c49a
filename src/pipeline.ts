import { scopeFunction, type ScopeWrapper } from "./calling.ts";
import {
  type Ambient,
  type AmbientPipeline,
  type EndStream,
  getAmbient,
  runWith,
} from "./context.ts";
import { toLane, toName } from "./labels.ts";
import type { Outcome, OutcomeLabel } from "./outcome.ts";
import { placePipeline } from "./places.ts";
import { type Instance, runScope, Scope, type ScopeOptions } from "./scope.ts";
import type { PipelineNode } from "./series.ts";
import {
  createStageFunction,
  type StageMethods,
  type StageOptions,
} from "./stage.ts";
import { createStreamFunction, type StreamMethods } from "./stream.ts";
import type { SpanDescription } from "./tracing.ts";

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
 * Its `stage` and `stageStream` belong to this very pipeline, also where the async
 * context is lost, as in the listeners of an emitter that was made elsewhere. Its
 * methods work destructured.
 *
 * @typeParam N The names of its stages, where it declares them.
 */
export interface PipelineScope<N extends string = string>
  extends StageMethods<N>, StreamMethods<N> {
  /** The label `pipeline_name`. */
  readonly name: string;
  /** The label `lane`. */
  readonly lane: string;
  /**
   * To be handed on to what should stop with the pipeline, as `fetch`. It is aborted
   * when this pipeline, or one around it, is ended by a deadline or a signal, or
   * throws.
   */
  readonly signal: AbortSignal;
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

/** The options of a pipeline's stages, by name, where it declares them. */
export type DeclaredStages = ReadonlyMap<string, StageOptions>;

/** One run of a pipeline; what its code finds in the context. */
export class PipelineRun extends Scope
  implements PipelineScope, AmbientPipeline, Ambient {
  readonly node: PipelineNode;
  readonly declaredStages: DeclaredStages | undefined;
  #openStreams = 0;
  /** How its code ended, while streams keep it open. */
  #finishedAs: OutcomeLabel | undefined;
  /** Whether the consumer of one of those had given up. */
  #isGivenUp = false;

  constructor(
    instance: Instance,
    node: PipelineNode,
    options: PipelineOptions | undefined,
    declaredStages: DeclaredStages | undefined,
    parent: AmbientPipeline | undefined,
  ) {
    super(instance, placePipeline(instance, node), options, parent);
    this.node = node;
    this.declaredStages = declaredStages;
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

  get stage(): StageMethods["stage"] {
    return createStageFunction(() => this);
  }

  get stageStream(): StreamMethods["stageStream"] {
    return createStreamFunction(() => this);
  }

  describe(): string {
    return `Pipeline '${this.name}'`;
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

  /** Lets the stages that are open know, so that they can stop. */
  override fail(error: unknown): void {
    super.fail(error);
    this.limits.abort(error);
  }

  beginStream(): EndStream {
    this.#openStreams++;
    // What begins later is read by the source of another one, which makes of it what
    // it will. Of this one nobody else does, once the pipeline's code is done.
    const isOwn = this.#finishedAs === undefined;
    return (outcome, isCancelled, error) => {
      this.#openStreams--;
      if (this.#finishedAs === undefined) return;
      if (isOwn && outcome !== "success") {
        this.#finishedAs = outcome;
        this.span?.fail(error);
      }
      if (isOwn && isCancelled) this.#isGivenUp = true;
      if (this.#openStreams === 0) {
        this.settle(this.#finishedAs, this.#isGivenUp);
      }
    };
  }

  /** It stays open until the last stream that was begun in it has ended. */
  protected override end(outcome: OutcomeLabel): void {
    if (this.#openStreams > 0) this.#finishedAs = outcome;
    else super.end(outcome);
  }
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

/** Starts a pipeline inside of what runs now. */
export function startPipeline(
  instance: Instance,
  name: string,
  options: PipelineOptions | undefined,
  declaredStages?: DeclaredStages,
): PipelineRun {
  const { registration, tree, issues } = instance;
  registration.ensure(issues);
  const parent = getAmbient()?.pipeline;
  const lane = options?.lane === undefined
    ? parent?.node.lane ?? instance.lane
    : toLane(options.lane, issues);
  const node = tree.findPipeline(lane, name) ??
    tree.pipeline(lane, toName(name, "pipeline", issues));
  const run = new PipelineRun(instance, node, options, declaredStages, parent);
  if (instance.tracing.isOn()) run.trace();
  return run;
}

/** The lane of the enclosing pipeline, or else the instance's. */
export function ambientLane(instance: Instance): string {
  return getAmbient()?.pipeline?.node.lane ?? instance.lane;
}
