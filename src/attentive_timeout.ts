import { clearTimeout, setTimeout } from "node:timers";

/** So much at once is counted, in milliseconds, however long it took. */
const STEP_MS = 50;

/**
 * Calls back when so many milliseconds have passed in which the event loop ran.
 *
 * While it stands still, nothing is heard, and what was said meanwhile waits behind the
 * timers: whoever then gave up would call others silent whom it did not listen to.
 *
 * @param isRef Whether the process lives on for it.
 * @returns What stops it.
 */
export function attentiveTimeout(
  callback: () => void,
  milliseconds: number,
  isRef = true,
): () => void {
  let timer: ReturnType<typeof setTimeout>;
  const step = (left: number) => {
    // One more turn, to hear what came during the last step.
    const next = left > 0 ? () => step(left - STEP_MS) : callback;
    timer = setTimeout(next, Math.max(0, Math.min(left, STEP_MS)));
    if (!isRef) timer.unref();
  };
  step(milliseconds);
  return () => clearTimeout(timer);
}
