/**
 * How a pipeline or a stage ended.
 *
 * It is the value of the label `status` of pipelines and `outcome` of stages.
 */
export type Outcome = "success" | "failure" | "timeout";

/** An outcome as a label holds it: what is none of the three is `unknown`. */
export type OutcomeLabel = Outcome | "unknown";

/** Every outcome that a label can hold. */
export const OUTCOME_LABELS: readonly OutcomeLabel[] = [
  "success",
  "failure",
  "timeout",
  "unknown",
];

/** Reads an error as an outcome; `undefined` leaves it to the next in line. */
export type ErrorClassifier = (error: unknown) => Outcome | undefined;

/** Reads a value as an outcome; `undefined` means `success`. */
export type ResultClassifier = {
  // Written as a method, it takes functions of a narrower parameter: those who
  // classify a stage's value know its type, these options do not.
  classify(value: unknown): Outcome | undefined;
}["classify"];

/** How many errors deep a chain of causes is followed. */
const MAX_DEPTH = 16;

/** `Deno.errors.TimedOut` is the one well-known class that is named otherwise. */
const TIMEOUT_NAME = /(?:TimeoutError|^TimedOut)$/;

const TIMEOUT_CODE = /^(?:ETIMEDOUT|ESOCKETTIMEDOUT|UND_ERR_\w+_TIMEOUT)$/;

/**
 * Reads an error as an outcome: `timeout` if it tells of one, else `failure`.
 *
 * A timeout is an error
 *
 * - whose `name` is `TimeoutError` or ends in it, as that of
 *   {@linkcode https://dom.spec.whatwg.org/#dom-abortsignal-timeout | AbortSignal.timeout},
 *   or is `TimedOut`, as that of `Deno.errors.TimedOut`;
 * - whose `code` is `ETIMEDOUT`, `ESOCKETTIMEDOUT` or `UND_ERR_…_TIMEOUT`;
 * - whose `cause` is one, or the cause's cause and so on, at most 16 deep;
 * - an `AbortError` whose `reason` is one;
 * - an `AggregateError` all of whose `errors` are.
 *
 * A plain cancellation (`AbortError`) is no timeout.
 *
 * @param error What was thrown, or what a promise rejected with.
 * @returns `"timeout"` or `"failure"`.
 *
 * @example
 * ```ts
 * import { classifyError } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const late = new DOMException("Signal timed out", "TimeoutError");
 * assertEquals(classifyError(late), "timeout");
 * assertEquals(classifyError(new Error("No answer", { cause: late })), "timeout");
 * assertEquals(classifyError(new TypeError("Not a number")), "failure");
 * ```
 */
export function classifyError(error: unknown): Outcome {
  try {
    return isTimeout(error, 0, new Map()) ? "timeout" : "failure";
  } catch {
    // A proxy or a getter of the error's threw: nothing says timeout.
    return "failure";
  }
}

/** @param known What was found of the errors before, each of which is read once. */
function isTimeout(
  error: unknown,
  depth: number,
  known: Map<object, boolean>,
): boolean {
  if (typeof error !== "object" || error === null) return false;
  if (depth === MAX_DEPTH) return false;
  const knownAs = known.get(error);
  if (knownAs !== undefined) return knownAs;
  // Until it is found to be one: its own cause tells nothing new of it.
  known.set(error, false);
  const { name, code, cause, reason, errors } = error as {
    [key in "name" | "code" | "cause" | "reason" | "errors"]?: unknown;
  };
  const isOne = (each: unknown) => isTimeout(each, depth + 1, known);
  const found = typeof name === "string" && TIMEOUT_NAME.test(name) ||
    typeof code === "string" && TIMEOUT_CODE.test(code) ||
    isOne(cause) || name === "AbortError" && isOne(reason) ||
    name === "AggregateError" && Array.isArray(errors) && errors.length > 0 &&
      errors.every(isOne);
  known.set(error, found);
  return found;
}
