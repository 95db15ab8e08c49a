import { AsyncLocalStorage } from "node:async_hooks";
import type { OutcomeLabel } from "../common/outcome.ts";
import { perProcess } from "../common/per_process.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { PipelineNode } from "../series/series_tree.ts";
import type { ScopeOptions } from "./options.ts";
import type { Instance, ParentScope } from "./scope.ts";

/** Ends a stream that was begun inside a pipeline, with its outcome and its error. */
export type EndStream = (
  outcome: OutcomeLabel,
  isCancelled: boolean,
  error: unknown,
) => void;

/** A pipeline, as the scopes inside it see it. */
export interface PipelineContext extends ParentScope, CurrentContext {
  readonly node: PipelineNode;
  readonly pipeline: PipelineContext;
  /** The options of its stages, by name, where it declares them. */
  readonly declaredStages: ReadonlyMap<string, ScopeOptions> | undefined;
  /** Keeps it open until a stream that begins inside it has ended. */
  beginStream(): EndStream;
}

/** The instance and the pipeline that running code belongs to. */
export interface CurrentContext {
  readonly instance: Instance;
  /** The innermost pipeline, if there is one; it may have ended. */
  readonly pipeline: PipelineContext | undefined;
  /** Inside `captureMetrics`, the instance that it records to. */
  readonly captured: Instance | undefined;
  /** Whether the scope that the code belongs to has ended. */
  readonly isDone: boolean;
}

/** The context of the code of a stage with no pipeline around it. */
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

/** Chooses the instance and the context for calls of the public functions. */
export interface InstanceSource {
  /** Returns the context of a stage that starts now. */
  context(): CurrentContext;
  /** Returns the instance of the enclosing scope while it is open, else the root's. */
  instance(): Instance;
  /** Returns the instance of a scope that starts with no pipeline around it. */
  rootInstance(): Instance;
  /** Returns the registries that a handler shows unless others are chosen. */
  registries(): MetricsRegistry[];
  /** Calls a function with the instance, once it is in use. */
  onInstance(fn: (instance: Instance) => void): void;
  /** Applies a declaration to the instance now, and again if it is configured anew. */
  declare(fn: (instance: Instance) => void): void;
}

/** The part of `AsyncLocalStorage` that is used here. */
interface ContextStorage<T> {
  getStore(): T | undefined;
  run<A extends unknown[], R>(
    store: T | undefined,
    fn: (...args: A) => R,
    ...args: A
  ): R;
}

/**
 * The one storage of the library: each further one costs every `await`. The stages of
 * one copy of it find the pipelines of another.
 */
const storage: ContextStorage<CurrentContext> = perProcess(
  "context",
  () => new AsyncLocalStorage<CurrentContext>(),
);

/** What the code that calls this belongs to, if to anything. */
export function currentContext(): CurrentContext | undefined {
  return storage.getStore();
}

/** Calls a function whose code, and all that it starts, belongs to `ambient`. */
export function runInContext<A extends unknown[], R>(
  ambient: CurrentContext | undefined,
  fn: (...args: A) => R,
  ...args: A
): R {
  return storage.run(ambient, fn, ...args);
}
