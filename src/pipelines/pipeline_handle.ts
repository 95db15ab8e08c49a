import type { Outcome } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import { checkFunction } from "../common/validate.ts";
import type { BindMethods } from "../scopes/bind.ts";
import { type InstanceSource, runInContext } from "../scopes/context.ts";
import { checkPipelineOptions, checkScopeName } from "../scopes/options.ts";
import {
  type PipelineOptions,
  type PipelineRun,
  type PipelineScope,
  startPipeline,
} from "./pipeline.ts";
import type { StageMethods } from "./stage.ts";
import type { StreamMethods } from "./stage_stream.ts";

/**
 * `Disposable`, where the compiler knows it. Without the lib `esnext.disposable`, as
 * for the target es2022, naming it would be an error in the user's own build.
 */
export type DisposableIfKnown = SymbolConstructor extends {
  readonly dispose: infer K extends symbol;
} ? { [P in K]: () => void }
  : object;

/**
 * A pipeline that is open until it is closed, for flows that no callback can
 * enclose. Its methods work destructured.
 *
 * Disposed of unclosed, as by `using`, it records `failure`: an uncommitted
 * transaction rolls back.
 *
 * @typeParam N The names of its stages, where it declares them.
 */
export interface PipelineHandle<N extends string = string>
  extends StageMethods<N>, StreamMethods<N>, BindMethods, DisposableIfKnown {
  /** The label `pipeline_name`. */
  readonly name: string;
  /** The label `lane`. */
  readonly lane: string;
  /** Is aborted when the pipeline is ended by a deadline or a signal, or fails. */
  readonly signal: AbortSignal;
  /**
   * Calls a function inside of the pipeline: plain stages in it belong to it.
   * How that ends is not recorded.
   *
   * @typeParam T The type of the value.
   * @param fn What to run.
   * @returns What `fn` returns.
   * @throws What `fn` throws.
   */
  run<T>(fn: (scope: PipelineScope<N>) => T): T;
  /**
   * Ends the pipeline. Once is enough: a second time is the issue `already_closed`,
   * and after a deadline it does nothing.
   *
   * @param outcome How it ended; `success` unless it or `setOutcome` says otherwise.
   */
  close(outcome?: Outcome): void;
  /**
   * Ends the pipeline by an error, which is classified.
   *
   * @param error What went wrong.
   */
  fail(error: unknown): void;
}

/** The way to open a pipeline. */
export interface OpenMethods {
  /**
   * Opens a pipeline that no callback encloses.
   *
   * @param name The name of the pipeline, the label `pipeline_name`.
   * @param options The options.
   * @returns The handle, to be closed.
   * @throws {TypeError} If an option has the wrong type.
   * @throws {RangeError} If the timeout is `NaN`.
   */
  openPipeline(name: string, options?: PipelineOptions): PipelineHandle;
}

/** Makes an `openPipeline` function. */
export function createOpenFunction(
  source: InstanceSource,
): OpenMethods["openPipeline"] {
  return (name, options) => {
    const action = "open a pipeline";
    checkScopeName(action, name);
    checkPipelineOptions(action, options);
    return openRun(startPipeline(source, name, options));
  };
}

/** Makes the handle of a run. */
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
    // It is not the user's fault that a deadline came first.
    if (wasCancelled) return;
    run.instance.issues.report(
      "already_closed",
      `Pipeline ${
        quote(run.name)
      } was closed already: call close() or fail() once`,
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
