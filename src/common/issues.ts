// Unlike `instanceof`, this recognizes the promises of other realms.
import { isPromise } from "node:util/types";
import { captureStack, findCallSite } from "./call_site.ts";
import { monotonicSeconds } from "./clock.ts";
import { describeError } from "./describe_error.ts";

/** The number of calls of an instance's `onIssue` per second and kind of issue. */
const REPORTS_PER_SECOND = 10;

/**
 * A kind of instrumentation issue, the value of the label `issue` of
 * `lukhas_orchestration_instrumentation_issues_total`:
 *
 * - `orphan_stage`: a stage ran outside a pipeline;
 * - `late_stage`: a stage started after its pipeline had ended;
 * - `late_pipeline`: a pipeline started in the context of one that had ended;
 * - `unawaited_stage`: a pipeline returned while one of its stages was still running;
 * - `undeclared_stage`: a declared pipeline ran an undeclared stage;
 * - `invalid_name`: the name of a pipeline, stage or lane was invalid;
 * - `invalid_value`: a duration or an outcome was invalid;
 * - `label_overflow`: a run was recorded under the `overflow` label set, because of the
 *   `cardinalityLimit`;
 * - `registry_conflict`: the registry has other metrics with the same names, or the same
 *   metrics with other options;
 * - `collector_error`: a metric of the registry could not be collected;
 * - `hook_error`: `classifyError`, `classifyResult`, `onIssue`, `clock`, `tracing`, a
 *   `signal`, or a stopped stream threw;
 * - `already_closed`: a pipeline handle was closed twice;
 * - `worker_unresponsive`: a worker did not answer a scrape in time;
 * - `invalid_message`: an invalid message on the channel of the workers was ignored.
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
  /** The cause and the remedy. */
  readonly message: string;
  /** The stack of the place where the issue was found. */
  readonly stack: string;
}

/** The options of an {@linkcode IssueReporter}. */
export interface IssueReporterOptions {
  readonly onIssue?: ((report: IssueReport) => unknown) | undefined;
  readonly strict?: boolean | undefined;
}

/** The number of issues of each kind. */
export type IssueCounts = Record<Issue, number>;

/** Returns a count of 0 for each kind. */
export function zeroIssues(): IssueCounts {
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

/** Counts the issues of an instance, and reports them to the user. */
export class IssueReporter {
  readonly #counts: IssueCounts;
  readonly #onIssue: ((report: IssueReport) => unknown) | undefined;
  readonly #strict: boolean;
  readonly #rateLimits = new Map<Issue, RateLimit>();
  /** The kinds that the default `onIssue` has logged. */
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
    // An issue that `onIssue` causes is only counted, to avoid recursion.
    if (this.#isReporting || !this.#mayReport(issue)) return;
    this.#isReporting = true;
    try {
      const stack = captureStack(message);
      const report = { issue, message, stack };
      const result = this.#onIssue === undefined
        ? warn(report)
        : this.#onIssue(report);
      // The rejection of an async `onIssue` must not be unhandled.
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
   * Reports a mistake in the user's code, and throws if the reporter is strict.
   *
   * @throws {Error} If the reporter is strict.
   */
  reportMisuse(issue: Issue, message: string): void {
    this.report(issue, message);
    if (this.#strict) throw new Error(message);
  }

  /**
   * Calls a user's function, and reports its error instead of throwing it.
   *
   * @returns Its result, or `undefined` if it threw.
   */
  guard<T>(name: string, hook: () => T): T | undefined {
    try {
      const result = hook();
      // An async function's result comes too late, but its error is reported.
      if (isPromise(result)) {
        result.catch((error) => this.reportThrown(name, error));
      }
      return result;
    } catch (error) {
      this.reportThrown(name, error);
      return undefined;
    }
  }

  /** Reports an error thrown by a user's function or object. */
  reportThrown(name: string, error: unknown): void {
    this.report("hook_error", `${name} threw ${describeError(error)}`);
  }

  /** Returns whether to report an issue. Capturing a stack for each would be slow. */
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

/** Logs an issue. This is the default `onIssue`, called once per kind. */
function warn({ issue, message, stack }: IssueReport): void {
  const site = findCallSite(stack, message);
  const place = site === undefined ? "" : `, at ${site}`;
  console.warn(
    `stage-metrics: ${message} (${issue}${place}; later occurrences are only counted)`,
  );
}

/** A limit of events per second. */
class RateLimit {
  readonly #perSecond: number;
  #second = -Infinity;
  #used = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /** Counts an event, and returns whether it is within the limit. */
  tryTake(): boolean {
    const second = Math.floor(monotonicSeconds());
    if (second !== this.#second) {
      this.#second = second;
      this.#used = 0;
    }
    return ++this.#used <= this.#perSecond;
  }
}
