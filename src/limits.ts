import { classifyError, type Outcome } from "./outcome.ts";
import { follow, type Follower, unfollow } from "./signals.ts";

/** An end that a scope's code did not choose. */
export interface Cancellation {
  /** What the caller gets. */
  readonly error: unknown;
  readonly outcome: Outcome;
  /** Whether the caller gave up; else it was a deadline. */
  readonly isCancelled: boolean;
}

/** What can be ended before its code ends. */
export interface LimitedScope {
  readonly settled: boolean;
  /** The pipeline around it, if there is one. */
  readonly parent: LimitingScope | undefined;
  /** In milliseconds. */
  readonly timeout: number | undefined;
  /** The signal that the caller gave. */
  readonly callerSignal: AbortSignal | undefined;
  /** Names it in the message of an error. */
  describe(): string;
  /** Records it. */
  cancel(cancellation: Cancellation): void;
}

/** What ends all that is open below when it is ended. */
interface LimitingScope {
  readonly settled: boolean;
  readonly isLimited: boolean;
  readonly limits: Limits;
}

/** Whether the end of the pipeline around a scope that starts now is its own. */
export function isLimiting(
  parent: LimitingScope | undefined,
): parent is LimitingScope {
  return parent !== undefined && parent.isLimited && !parent.settled;
}

/**
 * Lets go of the caller of a scope that is ended. The error comes first, so that the
 * `reject` of a promise will do, without a closure around it.
 */
export type Abandon = (error: unknown, cancellation: Cancellation) => void;

/** A reason, which may be `undefined`. */
interface Aborted {
  readonly reason: unknown;
}

/** What the platform's timers can wait: more wraps around to 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * What ends a scope before its code does: its deadline, its caller's signal and the
 * end of the pipeline around it; and the signal by which its code learns of it.
 *
 * A scope without any of these has none.
 */
export class Limits implements Follower {
  readonly #scope: LimitedScope;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #controller: AbortController | undefined;
  /** Not read from the options again: these are the caller's to change. */
  #followed: AbortSignal | undefined;
  // What others of a tree have to do with is not private: they may be of another copy
  // of this class, as `shared.ts` says.
  /** Those of the pipeline around, once these have joined them. */
  parent: Limits | undefined;
  // Those that joined and still have something open are a list, in the order of their
  // start: a set would cost as much as the timer does.
  lastChild: Limits | undefined;
  previous: Limits | undefined;
  next: Limits | undefined;
  /** Lets go of the caller, from when on the scope can be ended. */
  abandon: Abandon | undefined;
  /** What the caller has, if it is a promise. */
  result: Promise<unknown> | undefined;
  /** What ended it, or is to end it as soon as it can be. */
  endedBy: Cancellation | undefined;
  /** Why the signal is aborted, or would be if it had been asked for. */
  aborted: Aborted | undefined;
  /** Whether they can end the scope, or are there for its signal alone. */
  readonly canEnd: boolean;
  /** Whether they have ended it, while its code goes on. */
  hasEnded = false;

  constructor(scope: LimitedScope, canEnd: boolean) {
    this.#scope = scope;
    this.canEnd = canEnd;
  }

  /** Is aborted when the scope is ended, or when a pipeline around it throws. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      const aborted = this.#joinAll();
      if (aborted !== undefined) this.#controller.abort(aborted.reason);
    }
    return this.#controller.signal;
  }

  /**
   * Starts the deadline, and listens to the caller's signal and the pipeline around.
   *
   * @returns What has ended the scope already, if anything has.
   */
  start(): Cancellation | undefined {
    const { timeout, callerSignal, parent } = this.#scope;
    if (callerSignal?.aborted) {
      const cancellation = cancellationBy(callerSignal);
      this.cancel(cancellation);
      this.abort(cancellation.error);
      return cancellation;
    }
    if (isLimiting(parent)) this.#join(parent.limits);
    if (callerSignal !== undefined) {
      this.#followed = callerSignal;
      follow(callerSignal, this);
    }
    if (timeout !== undefined && timeout !== Infinity) this.#wait(timeout);
    return undefined;
  }

  /**
   * Says how to let go of the caller, from when on the scope can be ended. Before,
   * its code is on the stack, and how that returns is what the caller gets.
   *
   * @param result What the caller has, if it is a promise that is rejected then.
   */
  race(abandon: Abandon, result?: Promise<unknown>): void {
    this.abandon = abandon;
    this.result = result;
    if (this.endedBy !== undefined) this.end(this.endedBy);
  }

  /** Ends all that is open below, innermost first, and then the scope itself. */
  end(cancellation: Cancellation): void {
    const tree = this.tree();
    for (const each of tree) each.endedBy ??= cancellation;
    const open = tree.filter((each) => each.canBeEnded);
    // Whoever learns of it finds all of them recorded.
    for (const each of open) each.cancel(cancellation);
    for (const each of open) {
      each.abandon!(cancellation.error, cancellation);
      // The code that would have waited for it may have been abandoned before.
      if (each !== this) each.result?.catch(() => {});
    }
    for (const each of tree) each.abortAlone(cancellation.error);
  }

  /** Aborts the signal, and those below, without ending anything. */
  abort(reason: unknown): void {
    for (const each of this.tree().reverse()) each.abortAlone(reason);
  }

  /** Aborts this signal alone. */
  abortAlone(reason: unknown): void {
    if (this.aborted !== undefined) return;
    this.aborted = { reason };
    this.#controller?.abort(reason);
  }

  /** Leaves no timer and no listener behind. */
  stop(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#followed !== undefined) unfollow(this.#followed, this);
    let leaving = this.leave();
    while (leaving !== undefined) leaving = leaving.leave();
  }

  onAbort(signal: AbortSignal): void {
    this.end(cancellationBy(signal));
  }

  get canBeEnded(): boolean {
    return this.abandon !== undefined && !this.#scope.settled;
  }

  cancel(cancellation: Cancellation): void {
    this.hasEnded = true;
    this.#scope.cancel(cancellation);
  }

  /**
   * Those of all that is open below, and these: the innermost first, and of those side
   * by side the last ones.
   *
   * It does not call itself: agents that do nest deeper than the stack could follow.
   */
  tree(): Limits[] {
    const tree: Limits[] = [];
    const remaining: Limits[] = [this];
    for (let each; (each = remaining.pop()) !== undefined;) {
      tree.push(each);
      let child = each.lastChild;
      for (; child !== undefined; child = child.previous) remaining.push(child);
    }
    return tree.reverse();
  }

  /**
   * Joins all that are around, up to the top, as any of them may throw.
   *
   * @returns Why the signal is aborted already, if it is.
   */
  #joinAll(): Aborted | undefined {
    const isOpen = !this.#scope.settled;
    let { aborted } = this;
    let above = this.joinNext(isOpen);
    while (aborted === undefined && above !== undefined) {
      aborted = above.aborted;
      above = above.joinNext(isOpen);
    }
    return aborted;
  }

  /** Joins those of the pipeline around, if so told, and gives them. */
  joinNext(isToJoin: boolean): Limits | undefined {
    const next = this.#scope.parent?.limits;
    if (next !== undefined && isToJoin) this.#join(next);
    return next;
  }

  #join(parent: Limits): void {
    if (this.parent !== undefined) return;
    this.parent = parent;
    this.previous = parent.lastChild;
    if (this.previous !== undefined) this.previous.next = this;
    parent.lastChild = this;
  }

  /**
   * Leaves the pipeline around, unless there is anything open below, which that may
   * end.
   *
   * @returns Those of the pipeline around, which may leave now.
   */
  leave(): Limits | undefined {
    if (!this.#scope.settled || this.lastChild !== undefined) return undefined;
    const { parent } = this;
    if (parent === undefined) return undefined;
    const previous = this.previous;
    const next = this.next;
    if (next === undefined) parent.lastChild = previous;
    else next.previous = previous;
    if (previous !== undefined) previous.next = next;
    // Whoever keeps this keeps none of the others.
    this.parent = this.previous = this.next = undefined;
    return parent;
  }

  #wait(ms: number): void {
    const delay = Math.min(Math.max(ms, 0), MAX_DELAY_MS);
    // A closure would cost half as much as the timer does.
    this.#timer = setTimeout(Limits.#onTimer, delay, this, ms - delay);
  }

  static #onTimer(limits: Limits, remaining: number): void {
    if (remaining > 0) limits.#wait(remaining);
    else limits.#expire();
  }

  #expire(): void {
    const { timeout } = this.#scope;
    const message = `${this.#scope.describe()} timed out after ${timeout} ms`;
    const error = new DOMException(message, "TimeoutError");
    this.end({ error, outcome: "timeout", isCancelled: false });
  }
}

/** A signal aborts because the caller gave up, or because of a deadline of its own. */
function cancellationBy({ reason }: AbortSignal): Cancellation {
  const outcome = classifyError(reason);
  return { error: reason, outcome, isCancelled: outcome !== "timeout" };
}
