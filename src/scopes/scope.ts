import type { IssueReporter } from "../common/issues.ts";
import { normalizeDuration, normalizeOutcome } from "../common/labels.ts";
import type {
  ErrorClassifier,
  Outcome,
  OutcomeLabel,
  ResultClassifier,
} from "../common/outcome.ts";
import type { Registration } from "../registry/registration.ts";
import type { Series } from "../series/series.ts";
import type { SeriesTree } from "../series/series_tree.ts";
import type {
  ScopeSpan,
  ScopeTracer,
  SpanDescription,
  SpanParents,
} from "../tracing/tracer.ts";
import {
  type Cancellable,
  type Cancellation,
  type CancelListener,
  CancelScope,
  isAbortReason,
} from "./cancel_scope.ts";
import { outcomeOfError, outcomeOfResult } from "./classification.ts";
import type { ScopeOptions } from "./options.ts";
import {
  link,
  type ParentNode,
  reparentChildren,
  subtree,
  type TreeNode,
  unlink,
} from "./scope_tree.ts";
import { readReason } from "./signals.ts";

/** The part of an instance that scopes and recorders use. */
export interface Instance {
  readonly registration: Registration;
  readonly tree: SeriesTree;
  readonly issues: IssueReporter;
  /** The default lane. */
  readonly lane: string;
  /** Returns the monotonic time, in seconds. Never throws. */
  readonly now: () => number;
  readonly classifyError: ErrorClassifier | undefined;
  readonly classifyResult: ResultClassifier | undefined;
  readonly tracing: ScopeTracer;
}

/**
 * The state of a scope's code: on the stack, pending like a promise, or ended.
 *
 * The code of a stream or a handle is pending until the stream ends or the handle is
 * closed.
 */
type CodeState = "on stack" | "pending" | "ended";

/** A scope that has other scopes below it. */
export interface ParentScope extends Scope, ParentNode<Scope> {
  lastChild: Scope | undefined;
  /** The number of scopes below it that are settled while their code is running. */
  abandonedBelow: number;
}

/**
 * One run of a pipeline or a stage: timed, and recorded once, when it settles.
 *
 * The async context of a pool, socket or timer can keep a scope alive forever, so a
 * settled scope holds nothing of its caller. It leaves the tree, and its open children
 * move to its parent.
 */
export abstract class Scope implements TreeNode<Scope>, Cancellable {
  readonly instance: Instance;
  readonly series: Series;
  /** The enclosing open pipeline, until the scope settles. */
  parent: ParentScope | undefined;
  previous: Scope | undefined;
  next: Scope | undefined = undefined;
  abstract readonly lastChild: Scope | undefined;
  /** The recorded outcome, once the scope is settled. */
  outcome: OutcomeLabel | undefined = undefined;
  /** Its cancellation state, created on first use. */
  cancelScope: CancelScope | undefined = undefined;
  /** Its span, if it is traced. */
  span: ScopeSpan | undefined = undefined;
  /** The outcome set by `setOutcome()`. */
  protected outcomeOverride: OutcomeLabel | undefined = undefined;
  #code: CodeState = "on stack";
  #options: ScopeOptions | undefined;
  readonly #start: number;

  constructor(
    instance: Instance,
    series: Series,
    options: ScopeOptions | undefined,
    parent: ParentScope | undefined,
  ) {
    // First: a getter of the options may throw, and then nothing must have started.
    if (options !== undefined) {
      this.cancelScope = createCancelScope(this, options);
    }
    this.instance = instance;
    this.series = series;
    this.parent = parent;
    this.previous = parent?.lastChild;
    this.#options = options;
    if (parent !== undefined) link<Scope>(this, parent);
    const now = instance.now();
    this.#start = now;
    series.start(now);
  }

  /** Whether the scope is recorded. */
  get isSettled(): boolean {
    return this.outcome !== undefined;
  }

  /** Whether the scope is recorded and its code has ended. */
  get isDone(): boolean {
    return this.outcome !== undefined && this.#code === "ended";
  }

  /** Whether the scope is recorded while its code is running. */
  get isAbandoned(): boolean {
    return this.outcome !== undefined && this.#code !== "ended";
  }

  /** The name, if the scope is running and the code of its pipeline should await it. */
  get unawaitedName(): string | undefined {
    return undefined;
  }

  /** Whether the scope has a timeout or a caller's signal of its own. */
  get isEnforced(): boolean {
    return this.cancelScope !== undefined && this.cancelScope.isEnforced;
  }

  /** The pipeline of its code, which counts the scope if it is abandoned. */
  protected get codePipeline(): ParentScope | undefined {
    return this.parent?.isSettled ? undefined : this.parent;
  }

  /**
   * Returns whether an error may result from an abort by this library: of the scope's own
   * signal, of the signal of an enclosing pipeline, or of another signal that its code
   * uses.
   */
  mayBeFromAbort(error: unknown): boolean {
    if (this.isAbandoned || isAbortReason(error)) return true;
    let { cancelScope, parent } = this as Scope;
    while (!cancelScope?.hasAbortedSignal) {
      if (parent === undefined) return false;
      ({ cancelScope, parent } = parent);
    }
    return true;
  }

  /** The signal that aborts when the scope is cancelled. */
  get signal(): AbortSignal {
    const cancelScope = this.#ensureCancelScope();
    return cancelScope.signal ??
      cancelScope.createSignal(abortedAncestor(this));
  }

  /** A getter, so that the function works destructured, and is created only if used. */
  get setOutcome(): (outcome: Outcome) => void {
    return (outcome) => {
      if (this.isSettled) return;
      this.outcomeOverride = normalizeOutcome(outcome, this.instance.issues);
    };
  }

  /** Returns its kind and name, for a message. */
  abstract describe(): string;

  /** Returns its labels, so that `JSON.stringify()` of a scope is short. */
  toJSON(): Readonly<Record<string, string>> {
    return this.series.labels.values;
  }

  /** Returns the name and the attributes of its span. */
  protected abstract describeSpan(): SpanDescription;

  /** Starts its span. */
  startSpan(parents: SpanParents): void {
    const { tracing } = this.instance;
    this.span = tracing.start(this.describeSpan(), parents);
  }

  /** Calls a function in the context of its span, if it has one. */
  runInSpan<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): R {
    const { span } = this;
    return span === undefined ? fn(...args) : span.runInSpan(fn, ...args);
  }

  /**
   * Starts its timeout, and observes its caller's signal.
   *
   * @returns The cancellation, if that signal is already aborted.
   */
  start(): Cancellation | undefined {
    const { cancelScope } = this;
    if (cancelScope === undefined) return undefined;
    let aborted: AbortSignal | undefined;
    try {
      aborted = cancelScope.start();
    } catch (error) {
      this.instance.issues.reportThrown("timeout or signal", error);
    }
    if (aborted === undefined) return undefined;
    const cancellation = this.#cancellationBy(aborted);
    this.#settleCancelled(cancellation);
    this.markAborted(cancellation.error);
    return cancellation;
  }

  /**
   * Marks its code as pending: from now on, a cancellation settles the scope.
   *
   * @param onCancel Passes the error to the caller when the scope's own timeout passes
   * or its caller's signal aborts.
   */
  markPending(onCancel?: CancelListener): void {
    this.#code = "pending";
    const { cancelScope } = this;
    if (cancelScope === undefined) return;
    if (onCancel !== undefined) cancelScope.onCancel(onCancel);
    const { cancelledBy } = cancelScope;
    if (cancelledBy !== undefined) this.#settleCancelled(cancelledBy);
  }

  /** Settles the scope when its code returns a value. */
  succeed(value: unknown): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      const outcome = this.outcomeOverride ??
        outcomeOfResult(value, this.#options, this.instance);
      this.end(outcome ?? "success");
    } else {
      this.markCodeEnded();
    }
  }

  /** Settles the scope when its code ends without an error or a value to classify. */
  complete(): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      this.end(this.outcomeOverride ?? "success");
    } else {
      this.markCodeEnded();
    }
  }

  /** Settles the scope when its code throws. */
  fail(error: unknown): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      this.span?.recordError(error);
      this.settle(outcomeOfError(error, this.#options, this.instance));
    } else {
      this.markCodeEnded();
    }
  }

  /** Settles the scope when its consumer stops early. */
  cancelByConsumer(): void {
    if (this.outcome !== undefined) return;
    const outcome = this.outcomeOverride ?? "success";
    // A failure that was set must not be subtracted as cancelled.
    this.settle(outcome, outcome === "success");
  }

  /** Marks the code of a settled scope as ended. */
  markCodeEnded(): void {
    this.#code = "ended";
    const { cancelScope } = this;
    if (cancelScope?.abandonedIn === undefined) return;
    cancelScope.abandonedIn.abandonedBelow--;
    cancelScope.abandonedIn = undefined;
  }

  onTimeout(timeout: number): void {
    const message = `${this.describe()} timed out after ${timeout} ms`;
    const error = new DOMException(message, "TimeoutError");
    this.#cancelTree({ error, outcome: "timeout", byCaller: false });
  }

  onAbort(signal: AbortSignal): void {
    this.#cancelTree(this.#cancellationBy(signal));
  }

  /**
   * Cancels only this scope. If its code is on the stack, the scope is cancelled when the
   * code returns a promise, and not if it returns a value.
   */
  cancel(cancellation: Cancellation): void {
    if (this.outcome !== undefined) return;
    if (this.#code === "on stack") {
      this.#ensureCancelScope().cancelledBy ??= cancellation;
    } else {
      this.#settleCancelled(cancellation);
    }
  }

  /** Reacts to a cancellation, after the whole tree is recorded. */
  afterCancel(_cancellation: Cancellation): void {}

  /** Marks its signal as aborted. */
  markAborted(reason: unknown): void {
    this.#ensureCancelScope().markAborted(reason);
  }

  /**
   * Aborts the signal of a settled pipeline together with its own.
   *
   * Not private: the scope may be of another copy of this module.
   */
  linkSignal(cancelScope: CancelScope): void {
    this.#ensureCancelScope().link(cancelScope);
  }

  /** Records an end that its code chose. */
  protected end(outcome: OutcomeLabel): void {
    this.settle(outcome);
  }

  /** Records the outcome, and releases everything that the scope holds. */
  protected settle(outcome: OutcomeLabel, isCancelled = false): void {
    // A classifier that was called to find the outcome may have cancelled the scope.
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    const { instance, series, span } = this;
    const now = instance.now();
    const seconds = now - this.#start;
    series.stop(this.#start);
    const stats = series.record(
      outcome,
      seconds >= 0 ? seconds : normalizeDuration(seconds, instance.issues),
      now,
      span?.labels,
    );
    if (isCancelled) stats.cancelled++;
    this.#options = undefined;
    if (this.cancelScope !== undefined) this.#stop(this.cancelScope);
    span?.end(outcome);
    if (this.#code !== "ended") this.#countAbandoned();
    const { parent } = this;
    if (parent !== undefined) {
      this.parent = undefined;
      unlink<Scope>(this, parent);
    }
    if (this.lastChild !== undefined) this.#reparentChildren(parent);
    else if (this.#code === "ended") this.cancelScope?.release();
  }

  #stop(cancelScope: CancelScope): void {
    try {
      cancelScope.stop();
    } catch (error) {
      this.instance.issues.reportThrown("timeout or signal", error);
    }
  }

  /** Settles this scope and all open scopes below it, then aborts their signals. */
  #cancelTree(cancellation: Cancellation): void {
    if (this.outcome !== undefined) return;
    const { error } = cancellation;
    const cancelScope = this.#ensureCancelScope();
    // Read before this scope is marked and leaves the tree.
    const isAborted = cancelScope.isAborted || isAbortReason(error) ||
      abortedAncestor(this) !== undefined;
    cancelScope.notify(error, isAborted);
    const scopes = subtree<Scope>(this);
    // All are marked first: settling releases the signals of scopes that are not marked.
    for (const each of scopes) each.markAborted(error);
    for (const each of scopes) each.cancel(cancellation);
    for (const each of scopes) each.afterCancel(cancellation);
    abortSignals(scopes);
  }

  #settleCancelled({ error, outcome, byCaller }: Cancellation): void {
    if (outcome !== "success") this.span?.recordError(error);
    this.settle(outcome, byCaller);
  }

  #cancellationBy(signal: AbortSignal): Cancellation {
    const error = readReason(signal);
    const outcome = outcomeOfError(error, this.#options, this.instance);
    return { error, outcome, byCaller: outcome !== "timeout" };
  }

  #ensureCancelScope(): CancelScope {
    return this.cancelScope ??= new CancelScope(this);
  }

  /** Counts this scope as abandoned in the pipeline of its code, until its code ends. */
  #countAbandoned(): void {
    const { codePipeline } = this;
    if (codePipeline === undefined) return;
    codePipeline.abandonedBelow++;
    this.#ensureCancelScope().abandonedIn = codePipeline;
  }

  /** Moves its open children to its parent. */
  #reparentChildren(parent: ParentScope | undefined): void {
    const node = this as unknown as ParentScope;
    reparentChildren<Scope>(node, parent, (child) => {
      child.parent = parent;
      if (parent === undefined || !this.cancelScope?.hasLiveSignal) return;
      // The child's code may use this signal, so it aborts with the child's.
      child.linkSignal(this.cancelScope);
    });
  }
}

/**
 * Aborts the signals of scopes that are marked as aborted. The caller marks all of them
 * first: an abort listener may start a scope, which must find its ancestors aborted.
 */
export function abortSignals(scopes: readonly Scope[]): void {
  for (const each of scopes) each.cancelScope?.abortSignal();
}

/** Returns the cancel scope of the innermost aborted pipeline around a scope. */
function abortedAncestor({ parent }: Scope): CancelScope | undefined {
  for (; parent !== undefined; parent = parent.parent) {
    if (parent.cancelScope?.isAborted) return parent.cancelScope;
  }
}

/** Creates the cancel scope that the options require, if any. */
function createCancelScope(
  scope: Scope,
  { timeout, signal }: ScopeOptions,
): CancelScope | undefined {
  return timeout === undefined && signal === undefined
    ? undefined
    : new CancelScope(scope, timeout, signal);
}
