import { describeError } from "./describe_error.ts";
import { RateLimit } from "./rate_limit.ts";

/** Of each kind, to an instance's `onIssue`. */
const REPORTS_PER_SECOND = 10;

/**
 * A kind of trouble that the library had, the value of the label `issue` of
 * `lukhas_orchestration_instrumentation_issues_total`:
 *
 * - `orphan_stage`: a stage ran with no pipeline around it;
 * - `late_stage`: a stage started after its pipeline had returned or thrown;
 * - `undeclared_stage`: a declared pipeline ran a stage that it does not declare;
 * - `invalid_name`: a pipeline, stage or lane had no usable name;
 * - `invalid_value`: a duration or an outcome was none;
 * - `label_overflow`: a record went to the `overflow` label set;
 * - `registry_conflict`: the registry did not take the metrics;
 * - `collector_error`: a metric of the registry could not be collected;
 * - `hook_error`: `classifyError`, `classifyResult`, `onIssue`, `clock` or `tracing`
 *   threw;
 * - `already_closed`: an open pipeline was closed twice;
 * - `worker_unresponsive`: a worker did not answer a scrape in time.
 */
export type Issue =
  | "orphan_stage"
  | "late_stage"
  | "undeclared_stage"
  | "invalid_name"
  | "invalid_value"
  | "label_overflow"
  | "registry_conflict"
  | "collector_error"
  | "hook_error"
  | "already_closed"
  | "worker_unresponsive";

/** What `onIssue` is told. */
export interface IssueReport {
  /** The kind of trouble. */
  readonly issue: Issue;
  /** What happened, and what to do about it. */
  readonly message: string;
  /** Where: the stack of calls, as that of an error. */
  readonly stack: string;
}

/** Who is told of issues, and how. */
export interface IssueReporterOptions {
  readonly onIssue?: ((report: IssueReport) => unknown) | undefined;
  readonly strict?: boolean | undefined;
}

/** How often each kind occurred. */
export type IssueCounts = Record<Issue, number>;

/** Every kind, each at 0. */
export function zeroIssues(): IssueCounts {
  return {
    orphan_stage: 0,
    late_stage: 0,
    undeclared_stage: 0,
    invalid_name: 0,
    invalid_value: 0,
    label_overflow: 0,
    registry_conflict: 0,
    collector_error: 0,
    hook_error: 0,
    already_closed: 0,
    worker_unresponsive: 0,
  };
}

/** Counts the issues of an instance, and tells its owner. */
export class IssueReporter {
  readonly #counts: IssueCounts;
  readonly #onIssue: (report: IssueReport) => unknown;
  readonly #strict: boolean;
  readonly #limits = new Map<Issue, RateLimit>();
  #telling = false;

  constructor(
    counts: IssueCounts,
    { onIssue = warnOncePerKind(), strict = false }: IssueReporterOptions = {},
  ) {
    this.#counts = counts;
    this.#onIssue = onIssue;
    this.#strict = strict;
  }

  report(issue: Issue, message: string): void {
    this.#counts[issue]++;
    // An `onIssue` that causes issues itself would never come to an end.
    if (this.#telling || !this.#mayTell(issue)) return;
    this.#telling = true;
    try {
      const { stack = "" } = new Error(message);
      const told = this.#onIssue({ issue, message, stack });
      // An async hook's rejection must not become an unhandled one.
      if (told instanceof Promise) told.catch(() => this.#counts.hook_error++);
    } catch {
      this.#counts.hook_error++;
    } finally {
      this.#telling = false;
    }
  }

  /**
   * Reports what is wrong in the user's code, and where it is.
   *
   * @throws {Error} If the reporter is strict.
   */
  reportMisuse(issue: Issue, message: string): void {
    this.report(issue, message);
    if (this.#strict) throw new Error(message);
  }

  /**
   * Calls a function of the user's that must not break what is measured.
   *
   * @returns What it returned, or `undefined` if it threw.
   */
  guard<T>(name: string, hook: () => T): T | undefined {
    const tell = (error: unknown) =>
      this.report("hook_error", `${name} threw ${describeError(error)}`);
    try {
      const answer = hook();
      // One that is async answers too late; it must not fail unheard, either.
      if (answer instanceof Promise) answer.catch(tell);
      return answer;
    } catch (error) {
      tell(error);
      return undefined;
    }
  }

  /** Keeps a flood of issues from becoming one of stacks, which take time. */
  #mayTell(issue: Issue): boolean {
    let limit = this.#limits.get(issue);
    if (limit === undefined) {
      limit = new RateLimit(REPORTS_PER_SECOND);
      this.#limits.set(issue, limit);
    }
    return limit.take();
  }
}

function warnOncePerKind(): (report: IssueReport) => void {
  const warned = new Set<Issue>();
  return ({ issue, message }) => {
    if (warned.has(issue)) return;
    warned.add(issue);
    console.warn(
      `stage-metrics: ${message} (${issue}; further ones are only counted)`,
    );
  };
}
