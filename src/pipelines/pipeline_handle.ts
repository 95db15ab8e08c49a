import type { Outcome } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import { checkFunction } from "../common/validate.ts";
import { type InstanceSource, runInContext } from "../scopes/context.ts";
import { checkPipelineOptions, checkScopeName } from "../scopes/options.ts";
import {
  type PipelineOptions,
  type PipelineRun,
  type PipelineScope,
  startPipeline,
} from "./pipeline.ts";
import type { StageRunner, StageScope } from "./stage.ts";
import type {
  MeasuredStream,
  StreamOptions,
  StreamSource,
} from "./stage_stream.ts";

/**
 * `Disposable`, if the compiler has it. Without the lib `esnext.disposable`, as with the
 * target es2022, its name would be an error in the user's build.
 */
export type DisposableIfKnown = SymbolConstructor extends {
  readonly dispose: infer K extends symbol;
} ? { [P in K]: () => void }
  : object;

/**
 * A pipeline that is open until its handle is closed, for flows that no callback can
 * enclose. Its methods work destructured.
 *
 * Like an uncommitted transaction, a pipeline whose handle is disposed of before it is
 * closed, as by `using`, records `failure`.
 *
 * @typeParam N The names of the stages, if the pipeline declares them.
 */
export interface PipelineHandle<N extends string = string>
  extends StageRunner<N>, DisposableIfKnown {
  /** The name of the pipeline, the label `pipeline_name`. */
  readonly name: string;
  /** The lane of the pipeline, the label `lane`. */
  readonly lane: string;
  /**
   * The signal to pass to `fetch` and to other work that should stop with the pipeline.
   * It is aborted when a timeout or a `signal` ends the pipeline, and by `fail`.
   */
  readonly signal: AbortSignal;
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
  /**
   * Calls a function in the context of the pipeline: the stages it starts belong to the
   * pipeline. Its result and its errors do not affect the pipeline's outcome.
   *
   * @typeParam T The type of the returned value.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws The error that `fn` throws.
   */
  run<T>(fn: (scope: PipelineScope<N>) => T): T;
  /**
   * Ends the pipeline. A second call is the issue `already_closed`. If a timeout or an
   * aborted `signal` has ended the pipeline before, calls do nothing.
   *
   * @param outcome The outcome.
   * @default {the outcome set by the `setOutcome` of a scope in `run`, or else "success"}
   */
  close(outcome?: Outcome): void;
  /**
   * Ends the pipeline with an error, which is classified.
   *
   * @param error The error.
   */
  fail(error: unknown): void;
}

/** Creates an `openPipeline` function. */
export function createOpenFunction(
  source: InstanceSource,
): (name: string, options?: PipelineOptions) => PipelineHandle {
  return (name, options) => {
    const action = "open a pipeline";
    checkScopeName(action, name);
    checkPipelineOptions(action, options);
    return openRun(startPipeline(source, name, options));
  };
}

/** Returns the handle of a run. */
export function openRun(run: PipelineRun): PipelineHandle {
  let isClosed = false;
  let wasCancelled = false;
  run.start();
  run.markPending();

  function closeOnce(end: () => void): void {
    if (!isClosed) {
      isClosed = true;
      wasCancelled = run.isSettled;
      end();
      return;
    }
    // A timeout or signal ended the pipeline first, which is not misuse.
    if (wasCancelled) return;
    run.instance.issues.report(
      "already_closed",
      `Pipeline ${
        quote(run.name)
      } was already closed: call close() or fail() once`,
    );
  }

  return {
    name: run.name,
    lane: run.lane,
    get signal() {
      return run.signal;
    },
    stage: run.stage,
    stageStream: run.stageStream,
    bind: run.bind,
    run(fn) {
      checkFunction("run in a pipeline", fn);
      return runInContext(run, () => run.runInSpan(fn, run));
    },
    close(outcome) {
      closeOnce(() => {
        if (outcome !== undefined) run.setOutcome(outcome);
        run.complete();
      });
    },
    fail(error) {
      closeOnce(() => run.fail(error));
    },
    [Symbol.dispose]() {
      if (isClosed) return;
      closeOnce(() => {
        run.setOutcome("failure");
        run.complete();
      });
    },
  };
}
