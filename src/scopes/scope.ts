import type { IssueReporter } from "../common/issues.ts";
import { normalizeDuration, normalizeOutcome } from "../common/labels.ts";
import {
  classifyError,
  type ErrorClassifier,
  type Outcome,
  type OutcomeLabel,
  type ResultClassifier,
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
  type Cancellation,
  type CancelListener,
  CancelScope,
  isAbortReason,
} from "./cancel_scope.ts";
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
  readonly tracing: ScopeTracer;
}

/**
 * Where the code of a scope is: on the stack, waited for, or at its end.
 *
 * A stream and a handle are waited for until they end or are closed.
 */
type CodeState = "on stack" | "pending" | "ended";

/** A scope that others start inside. */
export interface ParentScope extends Scope, ParentNode<Scope> {
  lastChild: Scope | undefined;
  /** How many scopes below it were cancelled while their code goes on. */
  abandonedBelow: number;
}

/**
 * One run of a pipeline or a stage: timed, and recorded once, when it settles.
 *
 * Async contexts can keep it alive for good, as those of pools, sockets and timers do:
 * once it has settled, it holds nothing of its caller's. It leaves the tree then, and
 * hands its open children over to its parent.
 */
export abstract class Scope implements TreeNode<Scope> {
  readonly instance: Instance;
  readonly series: Series;
  /** The open pipeline around it, until it settles. */
  parent: ParentScope | undefined;
  previous: Scope | undefined;
  next: Scope | undefined = undefined;
  abstract readonly lastChild: Scope | undefined;
  /** How it was recorded, once it has settled. */
  outcome: OutcomeLabel | undefined = undefined;
  /** What can cancel it, once it is needed. */
  cancelScope: CancelScope | undefined = undefined;
  /** Its span, if it is traced. */
  span: ScopeSpan | undefined = undefined;
  /** The outcome that was set, if any. */
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
    // First: it does not begin where a getter of the options throws.
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

  /** Whether it was recorded. */
  get isSettled(): boolean {
    return this.outcome !== undefined;
  }

  /** Whether it was recorded, and its code has ended, too. */
  get isDone(): boolean {
    return this.outcome !== undefined && this.#code === "ended";
  }

  /** Whether it was cancelled, and its code goes on. */
  get isAbandoned(): boolean {
    return this.outcome !== undefined && this.#code !== "ended";
  }

  /** Its name, if it is still running and its pipeline's code should await it. */
  get unawaitedName(): string | undefined {
    return undefined;
  }

  /** Whether it has a deadline or a caller's signal of its own. */
  get isEnforced(): boolean {
    return this.cancelScope !== undefined && this.cancelScope.isEnforced;
  }

  /** The pipeline that counts it as abandoned if its code outlasts it. */
  protected get codePipeline(): ParentScope | undefined {
    return this.parent?.isSettled ? undefined : this.parent;
  }

  /**
   * Whether an error may come from an abort by this library: of the scope's own signal,
   * of the signal of a pipeline around it, or of another one that its code uses.
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

  get signal(): AbortSignal {
    return this.#ensureCancelScope().signal;
  }

  /** A getter, so that it works destructured and costs nothing unless used. */
  get setOutcome(): (outcome: Outcome) => void {
    return (outcome) => {
      if (this.isSettled) return;
      this.outcomeOverride = normalizeOutcome(outcome, this.instance.issues);
    };
  }

  abstract describe(): string;

  /** Returns its labels, as a log of scopes is written by `JSON.stringify()`. */
  toJSON(): Readonly<Record<string, string>> {
    return this.series.labels.values;
  }

  /** Describes it for its span. */
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
   * Starts its deadline, and follows its caller's signal.
   *
   * @returns The cancellation, if that signal was aborted beforehand.
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
    const cancellation = this.cancellationFrom(readReason(aborted));
    this.#settleCancelled(cancellation);
    this.markAborted(cancellation.error);
    return cancellation;
  }

  /**
   * Lets it be cancelled from now on, as its code has left the stack.
   *
   * @param onCancel Passes the error to the caller when the scope's own deadline passes
   * or its caller's signal aborts.
   */
  markPending(onCancel?: CancelListener): void {
    this.#code = "pending";
    if (this.cancelScope === undefined) return;
    const { cancelledBy } = this.cancelScope;
    if (cancelledBy !== undefined) this.#settleCancelled(cancelledBy);
    if (onCancel !== undefined) this.cancelScope.onCancel(onCancel);
  }

  /** Ends it, as its code returned. */
  succeed(value: unknown): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      this.end(this.outcomeOverride ?? this.#readResult(value) ?? "success");
    } else {
      this.markCodeEnded();
    }
  }

  /** Ends it, as its code ended well, with no value to be read. */
  complete(): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      this.end(this.outcomeOverride ?? "success");
    } else {
      this.markCodeEnded();
    }
  }

  /** Ends it, as its code threw. */
  fail(error: unknown): void {
    if (this.outcome === undefined) {
      this.#code = "ended";
      this.span?.recordError(error);
      this.settle(this.#readError(error));
    } else {
      this.markCodeEnded();
    }
  }

  /** Ends it, as its consumer stopped early. */
  cancelByConsumer(): void {
    if (this.outcome !== undefined) return;
    const outcome = this.outcomeOverride ?? "success";
    // A failure that was set must not be hidden by being subtracted.
    this.settle(outcome, outcome === "success");
  }

  /** Notes that the code of a scope that was settled before has ended, too. */
  markCodeEnded(): void {
    this.#code = "ended";
    const { cancelScope } = this;
    if (cancelScope?.abandonedIn === undefined) return;
    cancelScope.abandonedIn.abandonedBelow--;
    cancelScope.abandonedIn = undefined;
  }

  /** Cancels it while its code goes on. */
  cancel(cancellation: Cancellation): void {
    if (this.outcome !== undefined) return;
    if (this.#code === "on stack") {
      this.#ensureCancelScope().cancelledBy ??= cancellation;
    } else {
      this.#settleCancelled(cancellation);
    }
  }

  cancelTree(cancellation: Cancellation): Scope[] {
    const scopes = subtree<Scope>(this);
    // First, as a scope releases its signal when it is recorded, unless it is marked.
    for (const each of scopes) each.markAborted(cancellation.error);
    for (const each of scopes) each.cancel(cancellation);
    return scopes;
  }

  /** Is called after a cancellation, once all of its tree is recorded. */
  afterCancel(_cancellation: Cancellation): void {}

  /** Marks it and its signal as aborted. */
  markAborted(reason: unknown): void {
    this.#ensureCancelScope().markAborted(reason);
  }

  cancellationFrom(reason: unknown): Cancellation {
    const outcome = this.#readError(reason);
    return { error: reason, outcome, byCaller: outcome !== "timeout" };
  }

  /** Records an end that its code chose. */
  protected end(outcome: OutcomeLabel): void {
    this.settle(outcome);
  }

  protected settle(outcome: OutcomeLabel, isCancelled = false): void {
    // A hook that was called to find the outcome may have cancelled it.
    if (this.outcome !== undefined) return;
    this.outcome = outcome;
    const { instance, series, span } = this;
    const now = instance.now();
    const seconds = now - this.#start;
    series.stop(this.#start);
    const ending = series.record(
      outcome,
      seconds >= 0 ? seconds : normalizeDuration(seconds, instance.issues),
      now,
      span?.labels,
    );
    if (isCancelled) ending.cancelled++;
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

  #settleCancelled(cancellation: Cancellation): void {
    const { error, outcome, byCaller } = cancellation;
    if (outcome !== "success") this.span?.recordError(error);
    this.settle(outcome, byCaller);
  }

  #ensureCancelScope(): CancelScope {
    return this.cancelScope ??= new CancelScope(this);
  }

  /** Counts it in the pipeline that its code belongs to, as that code goes on. */
  #countAbandoned(): void {
    const { codePipeline } = this;
    if (codePipeline === undefined) return;
    codePipeline.abandonedBelow++;
    this.#ensureCancelScope().abandonedIn = codePipeline;
  }

  #reparentChildren(parent: ParentScope | undefined): void {
    const node = this as unknown as ParentScope;
    reparentChildren<Scope>(node, parent, (child) => {
      child.parent = parent;
      if (parent === undefined || !this.cancelScope?.hasSignal) return;
      // The child may use this signal, so that this one aborts with its own.
      const cancelScope = child.#ensureCancelScope();
      if (!cancelScope.isAborted) cancelScope.link(this.cancelScope);
    });
  }

  #readResult(value: unknown): OutcomeLabel | undefined {
    if (
      this.#options === undefined && this.instance.classifyResult === undefined
    ) return undefined;
    return this.#read(this.#options, "classifyResult", value) ??
      this.#read(this.instance, "classifyResult", value);
  }

  #readError(error: unknown): OutcomeLabel {
    return this.#read(this.#options, "classifyError", error) ??
      this.#read(this.instance, "classifyError", error) ??
      classifyError(error);
  }

  #read(
    owner: Classifiers | undefined,
    name: keyof Classifiers,
    value: unknown,
  ): OutcomeLabel | undefined {
    const { issues } = this.instance;
    let classify: Classifiers[typeof name];
    try {
      classify = owner?.[name];
    } catch (error) {
      // A getter of the options threw.
      issues.reportThrown(name, error);
    }
    if (classify === undefined) return undefined;
    const outcome = issues.guard(name, () => classify(value));
    return outcome === undefined
      ? undefined
      : normalizeOutcome(outcome, issues);
  }
}

/** The functions that read how a scope ended. */
type Classifiers = Pick<ScopeOptions, "classifyError" | "classifyResult">;

/** Creates what can cancel a scope by its options, if they have a limit. */
function createCancelScope(
  scope: Scope,
  { timeout, signal }: ScopeOptions,
): CancelScope | undefined {
  return timeout === undefined && signal === undefined
    ? undefined
    : new CancelScope(scope, timeout, signal);
}
