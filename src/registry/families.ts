import type { IssueCounts } from "../common/issues.ts";
import { OUTCOME_LABELS, type OutcomeLabel } from "../common/outcome.ts";
import { LabelSet } from "../exposition/label_set.ts";
import { formatBound } from "../exposition/numbers.ts";
import { type Emit, SampleTemplate } from "../exposition/sample_template.ts";
import type { OutcomeStats } from "../series/outcome_stats.ts";
import type { SeriesSource, SeriesView } from "../series/series.ts";
import { takeSnapshot } from "../series/snapshot.ts";
import {
  type MetricDefinition,
  type MetricsSource,
  OwnFamily,
} from "./own_metric.ts";

/** The upper bounds of the buckets of durations, in seconds, without `+Inf`. */
type Bounds = Pick<SeriesSource, "pipelineBounds" | "stageBounds">;

/** A kind of scope, with the differences between the metrics of pipelines and stages. */
interface Kind {
  readonly name: "pipeline" | "stage";
  readonly durationHelp: string;
  readonly outcomeLabel: "status" | "outcome";
  readonly bounds: Float64Array;
  seriesOf(source: MetricsSource): Iterable<SeriesView>;
}

/**
 * Defines the metrics of all series of a prefix.
 *
 * @param prefix The prefix of all names.
 */
export function defineSeriesMetrics(
  prefix: string,
  { pipelineBounds, stageBounds }: Bounds,
): readonly MetricDefinition[] {
  const pipeline: Kind = {
    name: "pipeline",
    durationHelp: "The total time taken to execute a pipeline.",
    outcomeLabel: "status",
    bounds: pipelineBounds,
    seriesOf: ({ series }) => series.pipelineSeries(),
  };
  const stage: Kind = {
    name: "stage",
    durationHelp: "The time taken to execute a single stage.",
    outcomeLabel: "outcome",
    bounds: stageBounds,
    seriesOf: ({ series }) => series.stageSeries(),
  };
  return [
    defineDuration(prefix, pipeline),
    defineTotal(prefix, pipeline),
    defineDuration(prefix, stage),
    defineTotal(prefix, stage),
    defineInProgress(prefix, pipeline),
    defineInProgress(prefix, stage),
    defineUnfinished(prefix, pipeline),
    defineUnfinished(prefix, stage),
    defineLastEnd(prefix, pipeline),
    defineCancelled(prefix, pipeline),
    defineCancelled(prefix, stage),
  ];
}

/** Defines the metric of the issues of a prefix. */
export function defineIssuesMetric(prefix: string): MetricDefinition {
  const name = `${prefix}instrumentation_issues_total`;
  const template = new SampleTemplate(name);
  const issuesOf = ({ issues }: MetricsSource) =>
    Object.keys(issues) as (keyof IssueCounts)[];
  return {
    name,
    help: "The total number of instrumentation issues.",
    type: "counter",
    aggregator: "sum",
    *collect(source, _now, emit) {
      for (const issue of issuesOf(source)) {
        emit(template, new LabelSet({ issue }), source.issues[issue]);
        yield;
      }
    },
    reset(source) {
      for (const issue of issuesOf(source)) source.issues[issue] = 0;
    },
  };
}

/** Returns all own families of a source. */
export function ownFamilies(
  prefix: string,
  source: MetricsSource,
  defaultLabels: Readonly<Record<string, unknown>>,
): OwnFamily[] {
  return [
    ...defineSeriesMetrics(prefix, source.series),
    defineIssuesMetric(prefix),
  ].map((definition) => new OwnFamily(definition, source, defaultLabels));
}

/** Copies the numbers of a source, so that they do not change while they are read. */
export function snapshotSource(
  { series, issues, now }: MetricsSource,
): MetricsSource {
  const time = now();
  return {
    series: takeSnapshot(series, time),
    issues: { ...issues },
    now: () => time,
  };
}

/** The definition of a metric of series, which is collected from one series at a time. */
interface SeriesMetric extends Omit<MetricDefinition, "collect" | "reset"> {
  collectSeries(series: SeriesView, now: number, emit: Emit): void;
  resetStats?(stats: OutcomeStats): void;
}

/** Extends the definition for one series to all series of a kind. */
function defineForSeries(
  { seriesOf }: Kind,
  { collectSeries, resetStats, ...description }: SeriesMetric,
): MetricDefinition {
  const collect = function* (
    source: MetricsSource,
    now: number,
    emit: Emit,
  ): Generator<void> {
    for (const series of seriesOf(source)) {
      collectSeries(series, now, emit);
      yield;
    }
  };
  if (resetStats === undefined) return { ...description, collect };
  return {
    ...description,
    collect,
    reset(source) {
      for (const series of seriesOf(source)) {
        for (const outcome of OUTCOME_LABELS) {
          const stats = series[outcome];
          if (stats !== undefined) resetStats(stats);
        }
      }
    },
  };
}

function defineDuration(prefix: string, kind: Kind): MetricDefinition {
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
  return defineForSeries(kind, {
    name,
    help: kind.durationHelp,
    type: "histogram",
    aggregator: "sum",
    collectSeries(series, _now, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const { histogram, exemplars } = series[outcome] ?? {};
        if (histogram === undefined) continue;
        const { buckets, sum, count } = templates[outcome];
        let cumulative = 0;
        for (let bucket = 0; bucket < buckets.length; bucket++) {
          cumulative += histogram[bucket]!;
          emit(
            buckets[bucket]!,
            series.labels,
            cumulative,
            exemplars?.get(bucket),
          );
        }
        emit(sum, series.labels, histogram[buckets.length]!);
        emit(count, series.labels, cumulative);
      }
    },
    resetStats({ histogram, exemplars }) {
      histogram?.fill(0);
      exemplars?.clear();
    },
  });
}

function defineTotal(prefix: string, kind: Kind): MetricDefinition {
  const name = `${prefix}${kind.name}_total`;
  const templates = outcomeTemplates(name, kind);
  return defineForSeries(kind, {
    name,
    help: `The total number of ${kind.name} executions.`,
    type: "counter",
    aggregator: "sum",
    collectSeries(series, _now, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const stats = series[outcome];
        if (stats !== undefined) {
          emit(templates[outcome], series.labels, stats.total);
        }
      }
    },
    resetStats(stats) {
      stats.total = 0;
    },
  });
}

function defineInProgress(prefix: string, kind: Kind): MetricDefinition {
  const name = `${prefix}${kind.name}_in_progress`;
  const template = new SampleTemplate(name);
  return defineForSeries(kind, {
    name,
    help: `The number of ${kind.name} executions in progress.`,
    type: "gauge",
    aggregator: "sum",
    collectSeries({ labels, running }, _now, emit) {
      emit(template, labels, running);
    },
  });
}

function defineUnfinished(prefix: string, kind: Kind): MetricDefinition {
  const name = `${prefix}${kind.name}_unfinished_seconds`;
  const template = new SampleTemplate(name);
  return defineForSeries(kind, {
    name,
    help: `The summed age of the ${kind.name} executions in progress.`,
    type: "gauge",
    aggregator: "sum",
    collectSeries(series, now, emit) {
      emit(template, series.labels, series.ageAt(now));
    },
  });
}

function defineLastEnd(prefix: string, kind: Kind): MetricDefinition {
  return defineForSeries(kind, {
    help:
      `The Unix time of the last ${kind.name} execution with this ${kind.outcomeLabel}.`,
    type: "gauge",
    aggregator: "max",
    ...sparseSamples(
      `${prefix}${kind.name}_last_end_timestamp_seconds`,
      kind,
      "lastEnd",
    ),
  });
}

function defineCancelled(prefix: string, kind: Kind): MetricDefinition {
  return defineForSeries(kind, {
    help:
      `The total number of ${kind.name} executions cancelled by their caller or consumer.`,
    type: "counter",
    aggregator: "sum",
    ...sparseSamples(
      `${prefix}${kind.name}_cancelled_total`,
      kind,
      "cancelled",
    ),
  });
}

/** Defines a metric that has samples only for outcomes whose value is above 0. */
function sparseSamples(
  name: string,
  kind: Kind,
  key: "cancelled" | "lastEnd",
): Pick<SeriesMetric, "name" | "collectSeries" | "resetStats"> {
  const templates = outcomeTemplates(name, kind);
  return {
    name,
    collectSeries(series, _now, emit) {
      for (const outcome of OUTCOME_LABELS) {
        const value = series[outcome]?.[key] ?? 0;
        if (value > 0) emit(templates[outcome], series.labels, value);
      }
    },
    resetStats(stats) {
      stats[key] = 0;
    },
  };
}

/** Returns a template for each outcome. */
function outcomeTemplates(
  name: string,
  { outcomeLabel }: Kind,
): Readonly<Record<OutcomeLabel, SampleTemplate>> {
  return byOutcome((outcome) =>
    new SampleTemplate(name, { [outcomeLabel]: outcome })
  );
}

/** Returns an object with a value for each outcome. */
function byOutcome<T>(
  create: (outcome: OutcomeLabel) => T,
): Readonly<Record<OutcomeLabel, T>> {
  return Object.fromEntries(
    OUTCOME_LABELS.map((outcome) => [outcome, create(outcome)]),
  ) as Record<OutcomeLabel, T>;
}
