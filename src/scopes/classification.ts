import type { IssueReporter } from "../common/issues.ts";
import { normalizeOutcome } from "../common/labels.ts";
import { classifyError, type OutcomeLabel } from "../common/outcome.ts";
import type { ScopeOptions } from "./options.ts";

/** The user's functions that classify how a scope ended. */
type Classifiers = Readonly<
  Pick<ScopeOptions, "classifyError" | "classifyResult">
>;

/** The part of an instance that classification uses. */
interface ClassifyingInstance extends Classifiers {
  readonly issues: IssueReporter;
}

/**
 * Returns the outcome of a returned value, or `undefined` if no classifier returns one.
 *
 * @param options The options of the scope, which take precedence over the instance.
 */
export function outcomeOfResult(
  value: unknown,
  options: Classifiers | undefined,
  instance: ClassifyingInstance,
): OutcomeLabel | undefined {
  if (options === undefined && instance.classifyResult === undefined) {
    return undefined;
  }
  const { issues } = instance;
  return classifyBy(options, "classifyResult", value, issues) ??
    classifyBy(instance, "classifyResult", value, issues);
}

/**
 * Returns the outcome of an error. {@linkcode classifyError} decides if none of the
 * user's classifiers returns one.
 *
 * @param options The options of the scope, which take precedence over the instance.
 */
export function outcomeOfError(
  error: unknown,
  options: Classifiers | undefined,
  instance: ClassifyingInstance,
): OutcomeLabel {
  const { issues } = instance;
  return classifyBy(options, "classifyError", error, issues) ??
    classifyBy(instance, "classifyError", error, issues) ??
    classifyError(error);
}

/** Returns the outcome that a user's classifier returns, if there is one. */
function classifyBy(
  owner: Classifiers | undefined,
  name: keyof Classifiers,
  value: unknown,
  issues: IssueReporter,
): OutcomeLabel | undefined {
  let classify: Classifiers[typeof name];
  try {
    classify = owner?.[name];
  } catch (error) {
    // A getter of the options threw.
    issues.reportThrown(name, error);
  }
  if (classify === undefined) return undefined;
  const outcome = issues.guard(name, () => classify(value));
  return outcome === undefined ? undefined : normalizeOutcome(outcome, issues);
}
