import { isObject } from "../common/is_object.ts";
import type { OutcomeLabel } from "../common/outcome.ts";
import {
  type AbortObserver,
  observeAbort,
  readReason,
  unobserveAbort,
} from "./signals.ts";

/** Why a scope ended before its callback did. */
export interface Cancellation {
  /** The error for the caller. */
  readonly error: unknown;
  readonly outcome: OutcomeLabel;
  /** Whether the caller gave up, rather than a deadline passed. */
  readonly byCaller: boolean;
}

/**
 * Gives the caller the error of a cancellation.
 *
 * @param isAborted Whether the error follows from an abort of this library's.
 */
export type CancelListener = (error: unknown, isAborted: boolean) => void;

/** The part of a scope that its {@linkcode CancelScope} uses. */
export interface CancellableScope {
  /** Whether it was recorded. */
  readonly isSettled: boolean;
  /** The pipeline around it, while it is open. */
  readonly parent: CancellableScope | undefined;
  /** What can cancel it, once it is needed. */
  readonly cancelScope: CancelScope | undefined;
  /** Names it in the message of an error. */
  describe(): string;
  /** Reads the reason of an aborted signal as a cancellation. */
  cancellationFrom(reason: unknown): Cancellation;
  /** Records it and all open below it, marks and returns all of them. */
  cancelTree(cancellation: Cancellation): readonly CancellableScope[];
  /** Is called when all of the tree is recorded. */
  afterCancel(cancellation: Cancellation): void;
}

/** The longest delay of a platform's timer: a longer one would wrap around to 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * The deadline and the caller's signal that can cancel a scope, and the signal that is
 * aborted then.
 *
 * It is created when it is first needed. An async context may keep it alive for good,
 * so it holds the reason of an abort, which may refer to anything, only weakly.
 */
export class CancelScope implements AbortObserver {
  /** Whether its scope has a deadline or a caller's signal of its own. */
  readonly isEnforced: boolean;
  /** Whether the signal is aborted, or would be if it had been asked for. */
  isAborted = false;
  /** Whether a signal that was asked for is aborted. */
  hasAbortedSignal = false;
  /** The cancellation of a scope whose code was on the stack. */
  cancelledBy: Cancellation | undefined;
  /** The pipeline that counts the scope as abandoned while its code goes on. */
  abandonedIn: { abandonedBelow: number } | undefined;
  readonly #scope: CancellableScope;
  readonly #timeout: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #callerSignal: AbortSignal | undefined;
  #controller: AbortController | undefined;
  #heldSignal: WeakRef<AbortSignal> | undefined;
  #reason: unknown;
  #onCancel: CancelListener | undefined;
  /** Those of pipelines that have handed the scope over, whose signals it may use. */
  #linked: CancelScope[] | undefined;
  /** Calls the listener that is set once the scope's code has left the stack. */
  #missedCancel: ((listener: CancelListener) => void) | undefined;

  constructor(
    scope: CancellableScope,
    timeout?: number | undefined,
    signal?: AbortSignal | undefined,
  ) {
    this.#scope = scope;
    this.#timeout = timeout;
    this.#callerSignal = signal;
    this.isEnforced = timeout !== undefined || signal !== undefined;
  }

  /**
   * Starts the deadline, and follows the caller's signal unless that is aborted.
   *
   * @returns The signal if it is aborted.
   * @throws The error of a signal or a timer that is not the platform's.
   */
  start(): AbortSignal | undefined {
    const timeout = this.#timeout;
    if (timeout !== undefined && timeout !== Infinity) {
      this.#startTimer(timeout);
    }
    const signal = this.#callerSignal;
    if (signal === undefined) return undefined;
    if (signal.aborted) return signal;
    observeAbort(signal, this);
    return undefined;
  }

  /** Aborts when the scope is cancelled, or when a pipeline around it throws. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const known = this.#heldSignal?.deref();
    if (known !== undefined) return known;
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    const around = abortedAround(this.#scope);
    if (around !== undefined) this.markAborted(around.reason);
    this.abortSignal();
    return signal;
  }

  /** Why the signal is aborted, if that is known still. */
  get reason(): unknown {
    return this.#reason instanceof WeakRef
      ? this.#reason.deref()
      : this.#reason;
  }

  /**
   * Sets the listener that passes the error of a cancellation to the caller. Until then
   * the scope's code is on the stack, and the caller gets its return value or error.
   */
  onCancel(listener: CancelListener): void {
    const missedCancel = this.#missedCancel;
    this.#missedCancel = undefined;
    if (missedCancel !== undefined) missedCancel(listener);
    else if (!this.#scope.isSettled) this.#onCancel = listener;
  }

  /** Whether the signal was asked for, and can still abort. */
  get hasSignal(): boolean {
    return this.#controller !== undefined;
  }

  /** Marks the signal as aborted; {@linkcode abortSignal} aborts it. */
  markAborted(reason: unknown): void {
    if (this.isAborted) return;
    for (const each of this.#linked ?? []) each.markAborted(reason);
    this.isAborted = true;
    this.#reason = isObject(reason) ? new WeakRef(reason) : reason;
  }

  /** Aborts the signal, if it is marked so and was asked for. */
  abortSignal(): void {
    if (this.isAborted) this.#abortLinked();
    const controller = this.#controller;
    if (!this.isAborted || controller === undefined) return;
    const { reason } = this;
    this.hasAbortedSignal = true;
    if (isObject(reason)) abortReasons.add(reason);
    this.#holdWeakly();
    controller.abort(reason);
  }

  /**
   * Clears its timer and its listeners.
   *
   * @throws The error of a signal or a timer that is not the platform's.
   */
  stop(): void {
    const timer = this.#timer;
    const callerSignal = this.#callerSignal;
    this.#timer = this.#callerSignal = this.#onCancel = undefined;
    this.cancelledBy = undefined;
    if (timer !== undefined) clearTimeout(timer);
    if (callerSignal !== undefined) unobserveAbort(callerSignal, this);
  }

  /** Holds the signal weakly from now on, as it will never be aborted. */
  release(): void {
    this.#missedCancel = this.#linked = undefined;
    if (!this.isAborted) this.#holdWeakly();
  }

  /** Has a signal of a pipeline that has ended abort with this one. */
  link(cancelScope: CancelScope): void {
    (this.#linked ??= []).push(cancelScope);
  }

  #abortLinked(): void {
    for (const each of this.#linked ?? []) each.abortSignal();
    this.#linked = undefined;
  }

  #holdWeakly(): void {
    if (this.#controller === undefined) return;
    this.#heldSignal = new WeakRef(this.#controller.signal);
    this.#controller = undefined;
  }

  onAbort(signal: AbortSignal): void {
    this.#cancel(this.#scope.cancellationFrom(readReason(signal)));
  }

  #cancel(cancellation: Cancellation): void {
    if (this.#scope.isSettled) return;
    const { error } = cancellation;
    const onCancel = this.#onCancel;
    // Read before the scope leaves the tree.
    const isAborted = this.isAborted || isAbortReason(error) ||
      abortedAround(this.#scope) !== undefined;
    const scopes = this.#scope.cancelTree(cancellation);
    if (onCancel !== undefined) onCancel(error, isAborted);
    else if (!this.#scope.isSettled) {
      this.#missedCancel ??= (listener) => listener(error, isAborted);
    }
    for (const each of scopes) each.afterCancel(cancellation);
    abortSignals(scopes);
  }

  #startTimer(ms: number): void {
    const delay = Math.min(Math.max(ms, 0), MAX_DELAY_MS);
    // A closure would cost half as much as the timer does.
    this.#timer = setTimeout(CancelScope.#onTimer, delay, this, ms - delay);
  }

  static #onTimer(scope: CancelScope, remaining: number): void {
    if (remaining > 0) scope.#startTimer(remaining);
    else scope.#onTimeout();
  }

  #onTimeout(): void {
    const message =
      `${this.#scope.describe()} timed out after ${this.#timeout} ms`;
    const error = new DOMException(message, "TimeoutError");
    this.#cancel({ error, outcome: "timeout", byCaller: false });
  }
}

/**
 * Aborts the signals of scopes that are marked as aborted. All of them are marked
 * before: a listener may start another scope, which must find those around it aborted.
 */
export function abortSignals(scopes: readonly CancellableScope[]): void {
  for (const each of scopes) each.cancelScope?.abortSignal();
}

/** The reasons by which the library has aborted signals. */
const abortReasons = new WeakSet<object>();

/** Whether an error is the reason of an abort of this library's, or has it as a cause. */
export function isAbortReason(error: unknown): boolean {
  if (!isObject(error)) return false;
  if (abortReasons.has(error)) return true;
  try {
    const { cause } = error as { readonly cause?: unknown };
    return isObject(cause) && abortReasons.has(cause);
  } catch {
    // The library's own reasons can be read.
    return false;
  }
}

/** Returns the `CancelScope` of the innermost aborted pipeline around a scope. */
function abortedAround({ parent }: CancellableScope): CancelScope | undefined {
  for (; parent !== undefined; parent = parent.parent) {
    if (parent.cancelScope?.isAborted) return parent.cancelScope;
  }
}
