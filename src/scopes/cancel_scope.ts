import { isObject } from "../common/is_object.ts";
import type { OutcomeLabel } from "../common/outcome.ts";
import { type AbortObserver, observeAbort, unobserveAbort } from "./signals.ts";

/** Why a scope ended before its callback did. */
export interface Cancellation {
  /** The error for the caller. */
  readonly error: unknown;
  readonly outcome: OutcomeLabel;
  /** Whether the caller cancelled the scope, rather than a timeout. */
  readonly byCaller: boolean;
}

/**
 * Passes the error of a cancellation to the caller.
 *
 * @param isAborted Whether the error follows from an abort by this library.
 */
export type CancelListener = (error: unknown, isAborted: boolean) => void;

/** A scope that a {@linkcode CancelScope} can cancel. */
export interface Cancellable extends AbortObserver {
  /**
   * Cancels the scope when its timeout has passed.
   *
   * @param timeout The timeout, in milliseconds.
   */
  onTimeout(timeout: number): void;
}

/** The longest delay of a platform's timer. A longer delay would overflow to 1 ms. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * The timeout and the caller's signal that can cancel a scope, and the signal that a
 * cancellation aborts.
 *
 * A scope creates it on first use. An async context may keep it alive forever, so it
 * holds the reason of an abort only weakly.
 */
export class CancelScope {
  /** Whether the scope has a timeout or a caller's signal of its own. */
  readonly isEnforced: boolean;
  /** Whether the signal is aborted, or will be aborted when it is created. */
  isAborted = false;
  /** Whether a signal was created and is aborted. */
  hasAbortedSignal = false;
  /** The cancellation of a scope whose code is still on the stack. */
  cancelledBy: Cancellation | undefined;
  /** The pipeline that counts the scope as abandoned while its code is running. */
  abandonedIn: { abandonedBelow: number } | undefined;
  /** Receives the error of a cancellation, once the scope's code has left the stack. */
  #onCancel: CancelListener | undefined;
  /** The arguments for a listener that is added after the cancellation. */
  #missed: Parameters<CancelListener> | undefined;
  readonly #owner: Cancellable;
  readonly #timeout: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #callerSignal: AbortSignal | undefined;
  #controller: AbortController | undefined;
  #heldSignal: WeakRef<AbortSignal> | undefined;
  #reason: unknown;
  /** The cancel scopes of settled pipelines around it, whose signals it may use. */
  #linked: CancelScope[] | undefined;

  constructor(
    owner: Cancellable,
    timeout?: number | undefined,
    signal?: AbortSignal | undefined,
  ) {
    this.#owner = owner;
    this.#timeout = timeout;
    this.#callerSignal = signal;
    this.isEnforced = timeout !== undefined || signal !== undefined;
  }

  /**
   * Starts the timeout, and observes the caller's signal unless it is aborted.
   *
   * @returns The caller's signal if it is aborted.
   * @throws The error of a signal or a timer that a user has replaced.
   */
  start(): AbortSignal | undefined {
    const timeout = this.#timeout;
    if (timeout !== undefined && timeout !== Infinity) {
      this.#startTimer(timeout);
    }
    const signal = this.#callerSignal;
    if (signal === undefined) return undefined;
    if (signal.aborted) return signal;
    observeAbort(signal, this.#owner);
    return undefined;
  }

  /**
   * Sets the listener, once the scope's code has left the stack. Calls it at once if the
   * scope is already cancelled.
   */
  onCancel(listener: CancelListener): void {
    this.#onCancel = listener;
    if (this.#missed !== undefined) this.notify(...this.#missed);
  }

  /** Calls the listener, at once or when it is set. */
  notify(error: unknown, isAborted: boolean): void {
    if (this.#onCancel === undefined) this.#missed ??= [error, isAborted];
    else this.#onCancel(error, isAborted);
  }

  /**
   * Stops the timer, and removes the observer and the listener.
   *
   * @throws The error of a signal or a timer that a user has replaced.
   */
  stop(): void {
    const timer = this.#timer;
    const callerSignal = this.#callerSignal;
    this.#timer = this.#callerSignal = this.#onCancel = undefined;
    this.cancelledBy = this.#missed = undefined;
    if (timer !== undefined) clearTimeout(timer);
    if (callerSignal !== undefined) unobserveAbort(callerSignal, this.#owner);
  }

  /** The signal, if it was created and is not yet garbage-collected. */
  get signal(): AbortSignal | undefined {
    return this.#controller?.signal ?? this.#heldSignal?.deref();
  }

  /**
   * Creates the signal.
   *
   * @param ancestor The innermost aborted cancel scope around it, if any.
   */
  createSignal(ancestor: CancelScope | undefined): AbortSignal {
    this.#controller = new AbortController();
    const { signal } = this.#controller;
    if (ancestor !== undefined) this.markAborted(ancestor.reason);
    this.abortSignal();
    return signal;
  }

  /** Whether the signal was created, and can still abort. */
  get hasLiveSignal(): boolean {
    return this.#controller !== undefined;
  }

  /** The reason of the abort, unless it is garbage-collected. */
  get reason(): unknown {
    return this.#reason instanceof WeakRef
      ? this.#reason.deref()
      : this.#reason;
  }

  /** Marks the signal as aborted, for {@linkcode abortSignal} to abort it. */
  markAborted(reason: unknown): void {
    if (this.isAborted) return;
    for (const each of this.#linked ?? []) each.markAborted(reason);
    this.isAborted = true;
    this.#reason = isObject(reason) ? new WeakRef(reason) : reason;
  }

  /** Aborts the signal if it was created and is marked as aborted. */
  abortSignal(): void {
    if (!this.isAborted) return;
    for (const each of this.#linked ?? []) each.abortSignal();
    this.#linked = undefined;
    const controller = this.#controller;
    if (controller === undefined) return;
    const { reason } = this;
    this.hasAbortedSignal = true;
    if (isObject(reason)) abortReasons.add(reason);
    this.#holdSignalWeakly();
    controller.abort(reason);
  }

  /** Aborts the signal of a settled pipeline together with this one. */
  link(cancelScope: CancelScope): void {
    if (!this.isAborted) (this.#linked ??= []).push(cancelScope);
  }

  /** Lets the signal be garbage-collected, unless it is marked as aborted. */
  release(): void {
    this.#linked = undefined;
    if (!this.isAborted) this.#holdSignalWeakly();
  }

  #holdSignalWeakly(): void {
    if (this.#controller === undefined) return;
    this.#heldSignal = new WeakRef(this.#controller.signal);
    this.#controller = undefined;
  }

  /** Starts a timer, or a chain of timers if the delay is too long for one. */
  #startTimer(ms: number): void {
    const delay = Math.min(Math.max(ms, 0), MAX_DELAY_MS);
    // A static method: creating a closure costs half as much as starting the timer.
    this.#timer = setTimeout(CancelScope.#onTimer, delay, this, ms - delay);
  }

  static #onTimer(cancelScope: CancelScope, remaining: number): void {
    if (remaining > 0) cancelScope.#startTimer(remaining);
    else cancelScope.#owner.onTimeout(cancelScope.#timeout!);
  }
}

/** The reasons of all aborts by this library. */
const abortReasons = new WeakSet<object>();

/** Returns whether an error, or its cause, is the reason of an abort by this library. */
export function isAbortReason(error: unknown): boolean {
  if (!isObject(error)) return false;
  if (abortReasons.has(error)) return true;
  try {
    const { cause } = error as { readonly cause?: unknown };
    return isObject(cause) && abortReasons.has(cause);
  } catch {
    // A getter threw. The library's own reasons have none.
    return false;
  }
}
