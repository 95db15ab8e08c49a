import type { IssueCounts } from "../common/issues.ts";
import { OUTCOME_LABELS, type OutcomeLabel } from "../common/outcome.ts";
import { LabelSet } from "../exposition/label_set.ts";
import { formatBound } from "../exposition/numbers.ts";
import type { SeriesSource, SeriesView } from "../series/series.ts";
import { takeSnapshot } from "../series/snapshot.ts";
import {
  Column,
  Family,
  type FamilyGroup,
  type FamilyOptions,
} from "./own_metric.ts";

/** A kind of scope, and all that its families do not share with the other's. */
interface Kind {
  readonly name: "pipeline" | "stage";
  readonly durationHelp: string;
  readonly outcomeLabel: "status" | "outcome";
  readonly bounds: Float64Array;
  rows(): Iterable<SeriesView>;
}

/** The metric families that show what the series of a prefix hold. */
export class Families implements FamilyGroup, Iterable<Family> {
  readonly #prefix: string;
  readonly #source: SeriesSource;
  readonly #issues: IssueCounts;
  readonly #now: () => number;
  readonly #byName: ReadonlyMap<string, Family>;
  /** The one that tells of troubles. */
  readonly issues: Family;

  /**
   * @param prefix What all names begin with.
   * @param now The clock by which scopes start and end, in seconds.
   */
  constructor(
    prefix: string,
    source: SeriesSource,
    issues: IssueCounts,
    now: () => number,
  ) {
    this.#prefix = prefix;
    this.#source = source;
    this.#issues = issues;
    this.#now = now;
    const pipeline: Kind = {
      name: "pipeline",
      durationHelp: "The total time taken to execute a pipeline.",
      outcomeLabel: "status",
      bounds: source.pipelineBounds,
      rows: () => source.pipelineSeries(),
    };
    const stage: Kind = {
      name: "stage",
      durationHelp: "The time taken to execute a single stage.",
      outcomeLabel: "outcome",
      bounds: source.stageBounds,
      rows: () => source.stageSeries(),
    };
    const families = [
      durationOptions(prefix, pipeline),
      totalOptions(prefix, pipeline),
      durationOptions(prefix, stage),
      totalOptions(prefix, stage),
      inProgressOptions(prefix, pipeline),
      inProgressOptions(prefix, stage),
      unfinishedOptions(prefix, pipeline, now),
      unfinishedOptions(prefix, stage, now),
      lastEndOptions(prefix, pipeline),
      cancelledOptions(prefix, pipeline),
      cancelledOptions(prefix, stage),
    ].map((options) => new Family(this, options));
    this.issues = new Family(this, issuesOptions(prefix, issues));
    families.push(this.issues);
    this.#byName = new Map(families.map((each) => [each.fullName, each]));
  }

  [Symbol.iterator](): Iterator<Family> {
    return this.#byName.values();
  }

  find(fullName: string): Family | undefined {
    return this.#byName.get(fullName);
  }

  snapshot(): Families {
    const now = this.#now();
    return new Families(
      this.#prefix,
      takeSnapshot(this.#source, now),
      { ...this.#issues },
      () => now,
    );
  }
}

function durationOptions(
  prefix: string,
  kind: Kind,
): FamilyOptions<SeriesView> {
  const name = `${prefix}${kind.name}_duration_seconds`;
  const bounds = [...kind.bounds].map(formatBound).concat("+Inf");
  const columns = byOutcome((outcome) => {
    const labels = { [kind.outcomeLabel]: outcome };
    return {
      buckets: bounds.map((le) =>
        new Column(`${name}_bucket`, { ...labels, le })
      ),
      sum: new Column(`${name}_sum`, labels),
      count: new Column(`${name}_count`, labels),
    };
  });
  return {
    name,
    help: kind.durationHelp,
    type: "histogram",
    rows: kind.rows,
    show(series, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const { histogram, exemplars } = series[outcome] ?? {};
        if (histogram === undefined) continue;
        const { buckets, sum, count } = columns[outcome];
        let below = 0;
        for (let bucket = 0; bucket < buckets.length; bucket++) {
          below += histogram[bucket]!;
          emit(
            buckets[bucket]!,
            series.labels,
            below,
            exemplars?.get(bucket),
          );
        }
        emit(sum, series.labels, histogram[buckets.length]!);
        emit(count, series.labels, below);
      }
    },
    reset(series) {
      for (const outcome of OUTCOME_LABELS) {
        series[outcome]?.histogram?.fill(0);
        series[outcome]?.exemplars?.clear();
      }
    },
  };
}

function totalOptions(prefix: string, kind: Kind): FamilyOptions<SeriesView> {
  const name = `${prefix}${kind.name}_total`;
  const columns = outcomeColumns(name, kind);
  return {
    name,
    help: `The total number of ${kind.name} executions.`,
    type: "counter",
    rows: kind.rows,
    show(series, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const ending = series[outcome];
        if (ending !== undefined) {
          emit(columns[outcome], series.labels, ending.total);
        }
      }
    },
    reset(series) {
      for (const outcome of OUTCOME_LABELS) {
        const ending = series[outcome];
        if (ending !== undefined) ending.total = 0;
      }
    },
  };
}

function inProgressOptions(
  prefix: string,
  kind: Kind,
): FamilyOptions<SeriesView> {
  const name = `${prefix}${kind.name}_in_progress`;
  const column = new Column(name);
  return {
    name,
    help: `The number of ${kind.name} executions that are running.`,
    type: "gauge",
    rows: kind.rows,
    show({ labels, running }, emit) {
      emit(column, labels, running);
    },
  };
}

function unfinishedOptions(
  prefix: string,
  kind: Kind,
  now: () => number,
): FamilyOptions<{ readonly series: SeriesView; readonly time: number }> {
  const name = `${prefix}${kind.name}_unfinished_seconds`;
  const column = new Column(name);
  return {
    name,
    help:
      `The summed age in seconds of the ${kind.name} executions that are running.`,
    type: "gauge",
    *rows() {
      const time = now();
      for (const series of kind.rows()) yield { series, time };
    },
    show({ series, time }, emit) {
      emit(column, series.labels, series.ageAt(time));
    },
  };
}

function lastEndOptions(prefix: string, kind: Kind): FamilyOptions<SeriesView> {
  const name = `${prefix}${kind.name}_last_end_timestamp_seconds`;
  return {
    name,
    help:
      `When a ${kind.name} execution last ended so, in seconds since the Unix epoch.`,
    type: "gauge",
    aggregator: "max",
    rows: kind.rows,
    ...rareOptions(name, kind, "lastEnd"),
  };
}

function cancelledOptions(
  prefix: string,
  kind: Kind,
): FamilyOptions<SeriesView> {
  const name = `${prefix}${kind.name}_cancelled_total`;
  return {
    name,
    help:
      `The number of ${kind.name} executions that a caller or a consumer had given up.`,
    type: "counter",
    rows: kind.rows,
    ...rareOptions(name, kind, "cancelled"),
  };
}

/** What is shown only of the outcomes that have had it. */
function rareOptions(
  name: string,
  kind: Kind,
  key: "cancelled" | "lastEnd",
): Pick<FamilyOptions<SeriesView>, "show" | "reset"> {
  const columns = outcomeColumns(name, kind);
  return {
    show(series, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const value = series[outcome]?.[key] ?? 0;
        if (value > 0) emit(columns[outcome], series.labels, value);
      }
    },
    reset(series) {
      for (const outcome of OUTCOME_LABELS) {
        const ending = series[outcome];
        if (ending !== undefined) ending[key] = 0;
      }
    },
  };
}

function issuesOptions(
  prefix: string,
  issues: IssueCounts,
): FamilyOptions<keyof IssueCounts> {
  const name = `${prefix}instrumentation_issues_total`;
  const column = new Column(name);
  return {
    name,
    help: "The total number of troubles that the instrumentation itself had.",
    type: "counter",
    rows: () => Object.keys(issues) as (keyof IssueCounts)[],
    show(issue, emit) {
      emit(column, new LabelSet({ issue }), issues[issue]);
    },
    reset(issue) {
      issues[issue] = 0;
    },
  };
}

function outcomeColumns(
  name: string,
  { outcomeLabel }: Kind,
): Readonly<Record<OutcomeLabel, Column>> {
  return byOutcome((outcome) => new Column(name, { [outcomeLabel]: outcome }));
}

function byOutcome<T>(
  make: (outcome: OutcomeLabel) => T,
): Readonly<Record<OutcomeLabel, T>> {
  return Object.fromEntries(
    OUTCOME_LABELS.map((outcome) => [outcome, make(outcome)]),
  ) as Record<OutcomeLabel, T>;
}
