/** An observer of signals. */
export interface AbortObserver {
  /** Handles the abort of an observed signal. */
  onAbort(signal: AbortSignal): void;
}

/** The observers of one signal, and the listener that calls them. */
interface Observation {
  readonly observers: Set<AbortObserver>;
  readonly listener: () => void;
}

/**
 * The observations by signal. All scopes share one listener per signal: Node warns of
 * more than ten, and signals of `AbortSignal.any()` accumulate on a long-lived signal.
 */
const observations = new WeakMap<AbortSignal, Observation>();

/**
 * Calls an observer when a signal aborts, until it is removed.
 *
 * @throws The error of a signal that refuses listeners, as a frozen one in Deno does.
 */
export function observeAbort(
  signal: AbortSignal,
  observer: AbortObserver,
): void {
  const known = observations.get(signal);
  if (known !== undefined) {
    known.observers.add(observer);
    return;
  }
  const observers = new Set([observer]);
  const listener = () => {
    // Latest first, so that the innermost scope ends first.
    for (const each of [...observers].reverse()) {
      // An earlier call may have removed this one.
      if (observers.has(each)) each.onAbort(signal);
    }
  };
  signal.addEventListener("abort", listener, { once: true });
  // After `addEventListener()`: it may throw, or call the listener at once.
  observations.set(signal, { observers, listener });
}

/**
 * Removes an observer, and the listener with the last one.
 *
 * @throws The error of a signal that refuses to remove the listener.
 */
export function unobserveAbort(
  signal: AbortSignal,
  observer: AbortObserver,
): void {
  const entry = observations.get(signal);
  if (entry === undefined) return;
  entry.observers.delete(observer);
  if (entry.observers.size > 0) return;
  // First: if the signal throws, a later observer still gets a listener.
  observations.delete(signal);
  signal.removeEventListener("abort", entry.listener);
}

/** Returns the reason of an aborted signal, or the error thrown by reading it. */
export function readReason(signal: AbortSignal): unknown {
  try {
    return signal.reason;
  } catch (error) {
    return error;
  }
}
