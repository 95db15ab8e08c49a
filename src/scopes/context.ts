import { AsyncLocalStorage } from "node:async_hooks";
import type { OutcomeLabel } from "../common/outcome.ts";
import { perProcess } from "../common/per_process.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { PipelineNode } from "../series/series_tree.ts";
import type { ScopeOptions } from "./options.ts";
import type { Instance, ParentScope } from "./scope.ts";

/** Reports the end of a stream that began inside a pipeline. */
export type EndStream = (
  outcome: OutcomeLabel,
  isCancelled: boolean,
  error: unknown,
) => void;

/** A pipeline, as used by the scopes inside it. */
export interface PipelineContext extends ParentScope, CurrentContext {
  readonly node: PipelineNode;
  readonly pipeline: PipelineContext;
  /** The options of declared stages by name, if the pipeline is declared. */
  readonly declaredStages: ReadonlyMap<string, ScopeOptions> | undefined;
  /** Keeps the pipeline open until the returned function is called. */
  beginStream(): EndStream;
}

/** The instance and the pipeline that running code belongs to. */
export interface CurrentContext {
  readonly instance: Instance;
  /** The innermost pipeline, if any. It may have ended. */
  readonly pipeline: PipelineContext | undefined;
  /** The instance of the enclosing `captureMetrics`, if any. */
  readonly captured: Instance | undefined;
  /** Whether the scope of the running code has ended. */
  readonly isDone: boolean;
}

/** The context of code in a stage outside a pipeline. */
export class OrphanContext implements CurrentContext {
  readonly instance: Instance;
  readonly pipeline = undefined;
  readonly captured: Instance | undefined;
  readonly #stage: { readonly isDone: boolean };

  constructor(
    instance: Instance,
    stage: { readonly isDone: boolean },
  ) {
    this.instance = instance;
    this.captured = currentContext()?.captured;
    this.#stage = stage;
  }

  get isDone(): boolean {
    return this.#stage.isDone;
  }
}

/** The source of instance and context for the public functions. */
export interface InstanceSource {
  /** Returns the context for a stage that starts now. */
  context(): CurrentContext;
  /** Returns the instance of the enclosing open scope, else `rootInstance()`. */
  instance(): Instance;
  /** Returns the instance for a scope that starts outside a pipeline. */
  rootInstance(): Instance;
  /** Returns the default registries of a handler. */
  registries(): MetricsRegistry[];
  /** Calls a function with the instance when it is first used. */
  onInstance(fn: (instance: Instance) => void): void;
  /** Applies a declaration to the instance, now and after each reconfiguration. */
  declare(fn: (instance: Instance) => void): void;
}

/** The used part of `AsyncLocalStorage`. */
interface ContextStorage<T> {
  getStore(): T | undefined;
  run<A extends unknown[], R>(
    store: T | undefined,
    fn: (...args: A) => R,
    ...args: A
  ): R;
}

/**
 * The only storage of the library, because each storage slows down every `await`. Copies
 * of the library share it, so that stages of one copy find the pipelines of another.
 */
const storage: ContextStorage<CurrentContext> = perProcess(
  "context",
  () => new AsyncLocalStorage<CurrentContext>(),
);

/** Returns the context of the calling code, if any. */
export function currentContext(): CurrentContext | undefined {
  return storage.getStore();
}

/** Calls a function in a context, which all async code started there inherits. */
export function runInContext<A extends unknown[], R>(
  context: CurrentContext | undefined,
  fn: (...args: A) => R,
  ...args: A
): R {
  return storage.run(context, fn, ...args);
}
