import type { IssueCounts } from "../common/issues.ts";
import { OUTCOME_LABELS, type OutcomeLabel } from "../common/outcome.ts";
import { LabelSet } from "../exposition/label_set.ts";
import { formatBound } from "../exposition/numbers.ts";
import type { SeriesSource, SeriesView } from "../series/series.ts";
import { takeSnapshot } from "../series/snapshot.ts";
import {
  type FamilyGroup,
  OwnMetric,
  type OwnMetricOptions,
  SampleTemplate,
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
export class Families implements FamilyGroup, Iterable<OwnMetric> {
  readonly #prefix: string;
  readonly #source: SeriesSource;
  readonly #issues: IssueCounts;
  readonly #now: () => number;
  readonly #byName: ReadonlyMap<string, OwnMetric>;
  /** The one that tells of troubles. */
  readonly issues: OwnMetric;

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
    ].map((options) => new OwnMetric(this, options));
    this.issues = new OwnMetric(this, issuesOptions(prefix, issues));
    families.push(this.issues);
    this.#byName = new Map(families.map((each) => [each.fullName, each]));
  }

  [Symbol.iterator](): Iterator<OwnMetric> {
    return this.#byName.values();
  }

  find(fullName: string): OwnMetric | undefined {
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
): OwnMetricOptions<SeriesView> {
  const name = `${prefix}${kind.name}_duration_seconds`;
  const bounds = [...kind.bounds].map(formatBound).concat("+Inf");
  const templates = byOutcome((outcome) => {
    const labels = { [kind.outcomeLabel]: outcome };
    return {
      buckets: bounds.map((le) =>
        new SampleTemplate(`${name}_bucket`, { ...labels, le })
      ),
      sum: new SampleTemplate(`${name}_sum`, labels),
      count: new SampleTemplate(`${name}_count`, labels),
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
        const { buckets, sum, count } = templates[outcome];
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

function totalOptions(
  prefix: string,
  kind: Kind,
): OwnMetricOptions<SeriesView> {
  const name = `${prefix}${kind.name}_total`;
  const templates = outcomeTemplates(name, kind);
  return {
    name,
    help: `The total number of ${kind.name} executions.`,
    type: "counter",
    rows: kind.rows,
    show(series, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const stats = series[outcome];
        if (stats !== undefined) {
          emit(templates[outcome], series.labels, stats.total);
        }
      }
    },
    reset(series) {
      for (const outcome of OUTCOME_LABELS) {
        const stats = series[outcome];
        if (stats !== undefined) stats.total = 0;
      }
    },
  };
}

function inProgressOptions(
  prefix: string,
  kind: Kind,
): OwnMetricOptions<SeriesView> {
  const name = `${prefix}${kind.name}_in_progress`;
  const template = new SampleTemplate(name);
  return {
    name,
    help: `The number of ${kind.name} executions that are running.`,
    type: "gauge",
    rows: kind.rows,
    show({ labels, running }, emit) {
      emit(template, labels, running);
    },
  };
}

function unfinishedOptions(
  prefix: string,
  kind: Kind,
  now: () => number,
): OwnMetricOptions<{ readonly series: SeriesView; readonly time: number }> {
  const name = `${prefix}${kind.name}_unfinished_seconds`;
  const template = new SampleTemplate(name);
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
      emit(template, series.labels, series.ageAt(time));
    },
  };
}

function lastEndOptions(
  prefix: string,
  kind: Kind,
): OwnMetricOptions<SeriesView> {
  const name = `${prefix}${kind.name}_last_end_timestamp_seconds`;
  return {
    name,
    help:
      `When a ${kind.name} execution last ended so, in seconds since the Unix epoch.`,
    type: "gauge",
    aggregator: "max",
    rows: kind.rows,
    ...sparseSamples(name, kind, "lastEnd"),
  };
}

function cancelledOptions(
  prefix: string,
  kind: Kind,
): OwnMetricOptions<SeriesView> {
  const name = `${prefix}${kind.name}_cancelled_total`;
  return {
    name,
    help:
      `The number of ${kind.name} executions that a caller or a consumer had given up.`,
    type: "counter",
    rows: kind.rows,
    ...sparseSamples(name, kind, "cancelled"),
  };
}

/** What is shown only of the outcomes that have had it. */
function sparseSamples(
  name: string,
  kind: Kind,
  key: "cancelled" | "lastEnd",
): Pick<OwnMetricOptions<SeriesView>, "show" | "reset"> {
  const templates = outcomeTemplates(name, kind);
  return {
    show(series, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const value = series[outcome]?.[key] ?? 0;
        if (value > 0) emit(templates[outcome], series.labels, value);
      }
    },
    reset(series) {
      for (const outcome of OUTCOME_LABELS) {
        const stats = series[outcome];
        if (stats !== undefined) stats[key] = 0;
      }
    },
  };
}

function issuesOptions(
  prefix: string,
  issues: IssueCounts,
): OwnMetricOptions<keyof IssueCounts> {
  const name = `${prefix}instrumentation_issues_total`;
  const template = new SampleTemplate(name);
  return {
    name,
    help: "The total number of troubles that the instrumentation itself had.",
    type: "counter",
    rows: () => Object.keys(issues) as (keyof IssueCounts)[],
    show(issue, emit) {
      emit(template, new LabelSet({ issue }), issues[issue]);
    },
    reset(issue) {
      issues[issue] = 0;
    },
  };
}

function outcomeTemplates(
  name: string,
  { outcomeLabel }: Kind,
): Readonly<Record<OutcomeLabel, SampleTemplate>> {
  return byOutcome((outcome) =>
    new SampleTemplate(name, { [outcomeLabel]: outcome })
  );
}

function byOutcome<T>(
  make: (outcome: OutcomeLabel) => T,
): Readonly<Record<OutcomeLabel, T>> {
  return Object.fromEntries(
    OUTCOME_LABELS.map((outcome) => [outcome, make(outcome)]),
  ) as Record<OutcomeLabel, T>;
}
