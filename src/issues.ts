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
 * - `hook_error`: `classifyError`, `classifyResult`, `onIssue` or `clock` threw;
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
  #telling = false;

  constructor(
    counts: IssueCounts,
    onIssue: (report: IssueReport) => unknown = warnOncePerKind(),
  ) {
    this.#counts = counts;
    this.#onIssue = onIssue;
  }

  report(issue: Issue, message: string): void {
    this.#counts[issue]++;
    // An `onIssue` that causes issues itself would never come to an end.
    if (this.#telling) return;
    this.#telling = true;
    try {
      const told = this.#onIssue({ issue, message });
      // An async hook's rejection must not become an unhandled one.
      if (told instanceof Promise) told.catch(() => this.#counts.hook_error++);
    } catch {
      this.#counts.hook_error++;
    } finally {
      this.#telling = false;
    }
  }

  /**
   * Calls a function of the user's that must not break what is measured.
   *
   * @returns What it returned, or `undefined` if it threw.
   */
  guard<T>(name: string, hook: () => T): T | undefined {
    try {
      return hook();
    } catch (error) {
      this.report("hook_error", `${name} threw ${describeError(error)}`);
      return undefined;
    }
  }
}

/** Says what was thrown, whatever it was. */
export function describeError(error: unknown): string {
  try {
    return String(error);
  } catch {
    return `a value of type ${typeof error} that cannot be shown`;
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
