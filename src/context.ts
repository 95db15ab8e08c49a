import { AsyncLocalStorage } from "node:async_hooks";
import type { IssueReporter } from "./issues.ts";
import type { Outcome } from "./outcome.ts";
import type { Registration } from "./registry.ts";
import type { PipelineNode, SeriesTree } from "./series.ts";

/** Reads an error as an outcome; `undefined` leaves it to the next in line. */
export type ErrorClassifier = (error: unknown) => Outcome | undefined;

/** Reads a value as an outcome; `undefined` means `success`. */
export type ResultClassifier = {
  // Written as a method, it takes functions of a narrower parameter: those who
  // classify a stage's value know its type, these options do not.
  classify(value: unknown): Outcome | undefined;
}["classify"];

/** What scopes and recorders need of the instance that they record to. */
export interface Instance {
  readonly registration: Registration;
  readonly tree: SeriesTree;
  readonly issues: IssueReporter;
  /** The lane where nothing else says one. */
  readonly lane: string;
  /** Seconds; monotonic; never throws. */
  readonly now: () => number;
  readonly classifyError: ErrorClassifier | undefined;
  readonly classifyResult: ResultClassifier | undefined;
}

/** A pipeline as its stages see it. */
export interface AmbientPipeline {
  readonly node: PipelineNode;
  /** Whether it has returned or thrown. */
  readonly settled: boolean;
}

/** What the code that runs now belongs to. */
export interface Ambient {
  readonly instance: Instance;
  /** The innermost pipeline, if there is one. */
  readonly pipeline: AmbientPipeline | undefined;
}

/** The part of `AsyncLocalStorage` that is used here. */
interface ContextStorage<T> {
  getStore(): T | undefined;
  run<A extends unknown[], R>(store: T, fn: (...args: A) => R, ...args: A): R;
}

/** The one storage of the library: each further one costs every `await`. */
const storage: ContextStorage<Ambient> = new AsyncLocalStorage<Ambient>();

/** What the code that calls this belongs to, if to anything. */
export function getAmbient(): Ambient | undefined {
  return storage.getStore();
}

/** Calls a function whose code, and all that it starts, belongs to `ambient`. */
export function runWith<A extends unknown[], R>(
  ambient: Ambient,
  fn: (...args: A) => R,
  ...args: A
): R {
  return storage.run(ambient, fn, ...args);
}
