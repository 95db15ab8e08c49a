import { captureStack, findCallSite } from "./call_site.ts";
import { monotonicSeconds } from "./clock.ts";
import { describeError } from "./describe_error.ts";
// Unlike `instanceof`, it knows the promises of other realms.
import { isPromise } from "node:util/types";

/** How often an instance's `onIssue` is called, for each kind of issue. */
const REPORTS_PER_SECOND = 10;

/**
 * A kind of issue that the library found or had, the value of the label `issue` of
 * `lukhas_orchestration_instrumentation_issues_total`:
 *
 * - `orphan_stage`: a stage ran with no pipeline around it;
 * - `late_stage`: a stage started after its pipeline had ended;
 * - `late_pipeline`: a pipeline started in the context of one that had ended;
 * - `unawaited_stage`: a pipeline returned while a stage of it was still running;
 * - `undeclared_stage`: a declared pipeline ran a stage that it does not declare;
 * - `invalid_name`: the name of a pipeline, stage or lane was invalid;
 * - `invalid_value`: a duration or an outcome was invalid;
 * - `label_overflow`: a run was recorded under the `overflow` label set;
 * - `registry_conflict`: the registry has other metrics of the same names, or the same
 *   metrics with other options;
 * - `collector_error`: a metric of the registry could not be collected;
 * - `hook_error`: `classifyError`, `classifyResult`, `onIssue`, `clock`, `tracing`, a
 *   `signal`, or a stream that was stopped threw;
 * - `already_closed`: an open pipeline was closed twice;
 * - `worker_unresponsive`: a worker did not answer a scrape in time;
 * - `invalid_message`: a message on the channel of the workers was refused.
 */
export type Issue =
  | "orphan_stage"
  | "late_stage"
  | "late_pipeline"
  | "unawaited_stage"
  | "undeclared_stage"
  | "invalid_name"
  | "invalid_value"
  | "label_overflow"
  | "registry_conflict"
  | "collector_error"
  | "hook_error"
  | "already_closed"
  | "worker_unresponsive"
  | "invalid_message";

/** The argument of `onIssue`. */
export interface IssueReport {
  /** The kind of issue. */
  readonly issue: Issue;
  /** Says the cause, and the remedy. */
  readonly message: string;
  /** The stack of an error that was created where the issue was found. */
  readonly stack: string;
}

/** How an instance reports issues. */
export interface IssueReporterOptions {
  readonly onIssue?: ((report: IssueReport) => unknown) | undefined;
  readonly strict?: boolean | undefined;
}

/** How often each kind occurred. */
export type IssueCounts = Record<Issue, number>;

/** Returns the counts of all kinds, each of them 0. */
export function zeroIssueCounts(): IssueCounts {
  return {
    orphan_stage: 0,
    late_stage: 0,
    late_pipeline: 0,
    unawaited_stage: 0,
    undeclared_stage: 0,
    invalid_name: 0,
    invalid_value: 0,
    label_overflow: 0,
    registry_conflict: 0,
    collector_error: 0,
    hook_error: 0,
    already_closed: 0,
    worker_unresponsive: 0,
    invalid_message: 0,
  };
}

/** Counts the issues of an instance, and reports them to its owner. */
export class IssueReporter {
  readonly #counts: IssueCounts;
  readonly #onIssue: ((report: IssueReport) => unknown) | undefined;
  readonly #strict: boolean;
  readonly #rateLimits = new Map<Issue, RateLimit>();
  /** The kinds that the default hook has warned of. */
  readonly #warned = new Set<Issue>();
  #isReporting = false;

  constructor(
    counts: IssueCounts,
    { onIssue, strict = false }: IssueReporterOptions = {},
  ) {
    this.#counts = counts;
    this.#onIssue = onIssue;
    this.#strict = strict;
  }

  /** Counts an issue, and reports it unless there are too many of its kind. */
  report(issue: Issue, message: string): void {
    this.#counts[issue]++;
    // An `onIssue` that causes issues itself must not recurse.
    if (this.#isReporting || !this.#mayReport(issue)) return;
    this.#isReporting = true;
    try {
      const stack = captureStack(message);
      const report = { issue, message, stack };
      const result = this.#onIssue === undefined
        ? warn(report)
        : this.#onIssue(report);
      // The rejection of an async hook must not become an unhandled one.
      if (isPromise(result)) {
        result.catch(() => this.#counts.hook_error++);
      }
    } catch {
      this.#counts.hook_error++;
    } finally {
      this.#isReporting = false;
    }
  }

  /**
   * Reports a mistake in the user's code.
   *
   * @throws {Error} If the reporter is strict.
   */
  reportMisuse(issue: Issue, message: string): void {
    this.report(issue, message);
    if (this.#strict) throw new Error(message);
  }

  /**
   * Calls a function of the user's, whose errors must not break the measured code.
   *
   * @returns Its result, or `undefined` if it threw.
   */
  guard<T>(name: string, hook: () => T): T | undefined {
    try {
      const result = hook();
      // An async one returns too late to be of use. Its errors count, too.
      if (isPromise(result)) {
        result.catch((error) => this.reportThrown(name, error));
      }
      return result;
    } catch (error) {
      this.reportThrown(name, error);
      return undefined;
    }
  }

  /** Reports the error of a function or an object of the user's. */
  reportThrown(name: string, error: unknown): void {
    this.report("hook_error", `${name} threw ${describeError(error)}`);
  }

  /** Limits the stacks that are taken, as those cost time. */
  #mayReport(issue: Issue): boolean {
    if (this.#onIssue === undefined) {
      const isFirst = !this.#warned.has(issue);
      this.#warned.add(issue);
      return isFirst;
    }
    let limit = this.#rateLimits.get(issue);
    if (limit === undefined) {
      limit = new RateLimit(REPORTS_PER_SECOND);
      this.#rateLimits.set(issue, limit);
    }
    return limit.tryTake();
  }
}

/** The default hook: warns once for each kind. */
function warn({ issue, message, stack }: IssueReport): void {
  const site = findCallSite(stack, message);
  const place = site === undefined ? "" : `, at ${site}`;
  console.warn(
    `stage-metrics: ${message} (${issue}${place}; further ones are only counted)`,
  );
}

/** Lets something happen so often a second, and no oftener. */
class RateLimit {
  readonly #perSecond: number;
  #second = -Infinity;
  #used = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Whether it may happen now. */
  tryTake(): boolean {
    const second = Math.floor(monotonicSeconds());
    if (second !== this.#second) {
      this.#second = second;
      this.#used = 0;
    }
    return ++this.#used <= this.#perSecond;
  }
}
