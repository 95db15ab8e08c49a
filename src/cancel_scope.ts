import { follow, type Follower, unfollow } from "./signals.ts";
import type { OutcomeLabel } from "./outcome.ts";

/** Why a scope ended before its code did. */
export interface Cancellation {
  /** What the caller gets. */
  readonly error: unknown;
  readonly outcome: OutcomeLabel;
  /** Whether the caller gave up, rather than a deadline passed. */
  readonly byCaller: boolean;
}

/**
 * Gives the caller the error of a cancellation.
 *
 * @param isAborted Whether the scope was aborted before, as a pipeline around it threw.
 */
export type CancelListener = (error: unknown, isAborted: boolean) => void;

/** What a {@linkcode CancelScope} needs of the scope that it belongs to. */
export interface CancellableScope {
  /** The pipeline around it, while it is open. */
  readonly parent: CancellableScope | undefined;
  /** What can cancel it, once it is needed. */
  readonly cancelScope: CancelScope | undefined;
  /** Names it in the message of an error. */
  describe(): string;
  /** Reads the reason of an aborted signal as a cancellation. */
  cancellationBy(reason: unknown): Cancellation;
  /** Records it and all that is open below it, and returns all of them. */
  cancelTree(cancellation: Cancellation): readonly CancellableScope[];
  /** Is called when all of the tree is recorded. */
  afterCancel(cancellation: Cancellation): void;
  /** Aborts its signal. */
  abort(reason: unknown): void;
}

/** The longest delay of a platform's timer: a longer one would wrap around to 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * What can cancel a scope, its own deadline and the signal of its caller; and the
 * signal by which its code learns of that.
 *
 * A scope has one from when it is first needed. An async context may keep it alive for
 * good, so it holds no reason of an abort, which can lead to anything, but weakly.
 */
export class CancelScope implements Follower {
  /** Whether its scope has a deadline or a caller's signal of its own. */
  readonly isEnforced: boolean;
  /** Whether the signal is aborted, or would be if it had been asked for. */
  isAborted = false;
  /** Whether a signal that was asked for is aborted. */
  hasAbortedSignal = false;
  /** What cancelled the scope while its code was on the stack. */
  cancelledBy: Cancellation | undefined;
  /** The pipeline that counts the scope as abandoned while its code goes on. */
  abandonedIn: { abandonedBelow: number } | undefined;
  readonly #scope: CancellableScope;
  readonly #timeout: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #followed: AbortSignal | undefined;
  #controller: AbortController | undefined;
  #abortedSignal: WeakRef<AbortSignal> | undefined;
  #reason: unknown;
  #onCancel: CancelListener | undefined;
  /** Calls the listener that is set once the scope's code has left the stack. */
  #early: ((listener: CancelListener) => void) | undefined;

  constructor(
    scope: CancellableScope,
    timeout?: number | undefined,
    signal?: AbortSignal | undefined,
  ) {
    this.#scope = scope;
    this.#timeout = timeout;
    this.isEnforced = timeout !== undefined || signal !== undefined;
    if (signal !== undefined) {
      // Kept, as the caller may replace it in the options later.
      this.#followed = signal;
      follow(signal, this);
    }
    if (timeout !== undefined && timeout !== Infinity) this.#wait(timeout);
  }

  /** Aborts when the scope is cancelled, or when a pipeline around it throws. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const known = this.#abortedSignal?.deref();
    if (known !== undefined) return known;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    if (this.isAborted) this.#abortSignal();
    else {
      const around = abortedAround(this.#scope);
      if (around !== undefined) this.abort(around.reason);
    }
    return signal;
  }

  /** Why the signal is aborted, if that is known still. */
  get reason(): unknown {
    return this.#reason instanceof WeakRef
      ? this.#reason.deref()
      : this.#reason;
  }

  /**
   * Sets what gives the caller the error when the scope is cancelled. Before that is
   * set, the scope's code is on the stack, and how it returns is what the caller gets.
   */
  onCancel(listener: CancelListener): void {
    this.#onCancel = listener;
    this.#early?.(listener);
  }

  /** Aborts the signal. */
  abort(reason: unknown): void {
    if (this.isAborted) return;
    this.isAborted = true;
    this.#reason = Object(reason) === reason
      ? new WeakRef(reason as object)
      : reason;
    if (this.#controller !== undefined) this.#abortSignal();
  }

  /** Leaves no timer and no listener behind. */
  stop(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    if (this.#followed !== undefined) unfollow(this.#followed, this);
    this.#timer = this.#followed = this.#onCancel = undefined;
    this.cancelledBy = undefined;
  }

  onAbort({ reason }: AbortSignal): void {
    this.#cancel(this.#scope.cancellationBy(reason));
  }

  #cancel(cancellation: Cancellation): void {
    const { error } = cancellation;
    const onCancel = this.#onCancel;
    // Both before the scope lets go of what is around it.
    const isAborted = this.isAborted ||
      abortedAround(this.#scope) !== undefined;
    const scopes = this.#scope.cancelTree(cancellation);
    if (onCancel !== undefined) onCancel(error, isAborted);
    else this.#early ??= (listener) => listener(error, isAborted);
    for (const each of scopes) each.afterCancel(cancellation);
    for (const each of scopes) each.abort(error);
  }

  #abortSignal(): void {
    const controller = this.#controller!;
    this.hasAbortedSignal = true;
    this.#controller = undefined;
    this.#abortedSignal = new WeakRef(controller.signal);
    controller.abort(this.reason);
  }

  #wait(ms: number): void {
    const delay = Math.min(Math.max(ms, 0), MAX_DELAY_MS);
    // A closure would cost half as much as the timer does.
    this.#timer = setTimeout(CancelScope.#onTimer, delay, this, ms - delay);
  }

  static #onTimer(scope: CancelScope, remaining: number): void {
    if (remaining > 0) scope.#wait(remaining);
    else scope.#expire();
  }

  #expire(): void {
    const message =
      `${this.#scope.describe()} timed out after ${this.#timeout} ms`;
    const error = new DOMException(message, "TimeoutError");
    this.#cancel({ error, outcome: "timeout", byCaller: false });
  }
}

/** Returns what is aborted of the innermost aborted pipeline around a scope. */
function abortedAround({ parent }: CancellableScope): CancelScope | undefined {
  for (; parent !== undefined; parent = parent.parent) {
    if (parent.cancelScope?.isAborted) return parent.cancelScope;
  }
}
