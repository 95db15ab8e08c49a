import { formatBound } from "./buckets.ts";
import type { IssueCounts } from "./issues.ts";
import type { Ending, Series, SeriesTree } from "./series.ts";

/** One sample of a metric, as registries pass it on. */
export interface Sample {
  /** The name, where it is not that of the metric itself. */
  readonly metricName?: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** What a registry takes for a metric's content. */
export interface MetricView {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: Sample[];
}

interface FamilyOptions {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly aggregator?: "sum" | "max";
  /** Called anew for each view: labels of a sample may be changed by others. */
  samples(): Iterable<Sample>;
  /** Zeroes what was counted, in place. Gauges of what is running have none. */
  reset?(): void;
}

/**
 * A metric family of ours, in the shape in which registries of prom-client hold
 * their metrics.
 */
export class Family {
  /** The registered name: OpenMetrics registries write the one without `_total`. */
  name: string;
  /** The name that stays. */
  readonly fullName: string;
  readonly help: string;
  readonly type: string;
  /** How prom-client's cluster registry merges it. */
  readonly aggregator: string;
  readonly #options: FamilyOptions;

  constructor(options: FamilyOptions) {
    this.name = options.name;
    this.fullName = options.name;
    this.help = options.help;
    this.type = options.type;
    this.aggregator = options.aggregator ?? "sum";
    this.#options = options;
  }

  /** The samples as they are now, each an object of its own. */
  samples(): Sample[] {
    return [...this.#options.samples()];
  }

  get(): Promise<MetricView> {
    const { name, help, type, aggregator } = this;
    const values = this.samples();
    return Promise.resolve({ name, help, type, aggregator, values });
  }

  getForPromString(): Promise<MetricView> {
    return this.get();
  }

  reset(): void {
    this.#options.reset?.();
  }
}

/** A kind of scope, and all that its families do not share with the other's. */
interface Kind {
  readonly name: "pipeline" | "stage";
  readonly durationHelp: string;
  readonly outcomeLabel: "status" | "outcome";
  readonly bounds: Float64Array;
  /** The label sets, without their outcomes. */
  series(): Iterable<[Record<string, string>, Series]>;
}

/**
 * Makes the metric families that show what a tree of series holds.
 *
 * @param prefix What all names begin with.
 * @param now The clock by which scopes start and end, in seconds.
 */
export function createFamilies(
  prefix: string,
  tree: SeriesTree,
  issues: IssueCounts,
  now: () => number,
): Family[] {
  const pipeline: Kind = {
    name: "pipeline",
    durationHelp: "The total time taken to execute a pipeline.",
    outcomeLabel: "status",
    bounds: tree.pipelineBounds,
    series: () => pipelineSeries(tree),
  };
  const stage: Kind = {
    name: "stage",
    durationHelp: "The time taken to execute a single stage.",
    outcomeLabel: "outcome",
    bounds: tree.stageBounds,
    series: () => stageSeries(tree),
  };
  return [
    durationFamily(prefix, pipeline),
    totalFamily(prefix, pipeline),
    durationFamily(prefix, stage),
    totalFamily(prefix, stage),
    inProgressFamily(prefix, pipeline),
    inProgressFamily(prefix, stage),
    unfinishedFamily(prefix, pipeline, now),
    unfinishedFamily(prefix, stage, now),
    lastEndFamily(prefix, pipeline),
    cancelledFamily(prefix, pipeline),
    cancelledFamily(prefix, stage),
    issuesFamily(prefix, issues),
  ];
}

function durationFamily(prefix: string, kind: Kind): Family {
  const name = `${prefix}${kind.name}_duration_seconds`;
  const bounds = [...kind.bounds].map(formatBound).concat("+Inf");
  return new Family({
    name,
    help: kind.durationHelp,
    type: "histogram",
    *samples() {
      for (const [labels, { histogram }] of endings(kind)) {
        if (histogram === undefined) continue;
        let count = 0;
        for (const [bucket, le] of bounds.entries()) {
          count += histogram[bucket]!;
          yield {
            metricName: `${name}_bucket`,
            labels: { ...labels, le },
            value: count,
          };
        }
        const sum = histogram[bounds.length]!;
        yield { metricName: `${name}_sum`, labels: { ...labels }, value: sum };
        yield { metricName: `${name}_count`, labels, value: count };
      }
    },
    reset() {
      for (const [, ending] of endings(kind)) ending.histogram?.fill(0);
    },
  });
}

function totalFamily(prefix: string, kind: Kind): Family {
  return new Family({
    name: `${prefix}${kind.name}_total`,
    help: `The total number of ${kind.name} executions.`,
    type: "counter",
    *samples() {
      for (const [labels, { total }] of endings(kind)) {
        yield { labels, value: total };
      }
    },
    reset() {
      for (const [, ending] of endings(kind)) ending.total = 0;
    },
  });
}

function inProgressFamily(prefix: string, kind: Kind): Family {
  return new Family({
    name: `${prefix}${kind.name}_in_progress`,
    help: `The number of ${kind.name} executions that are running.`,
    type: "gauge",
    *samples() {
      for (const [labels, { running }] of kind.series()) {
        yield { labels, value: running };
      }
    },
  });
}

function unfinishedFamily(
  prefix: string,
  kind: Kind,
  now: () => number,
): Family {
  return new Family({
    name: `${prefix}${kind.name}_unfinished_seconds`,
    help:
      `The summed age in seconds of the ${kind.name} executions that are running.`,
    type: "gauge",
    *samples() {
      const time = now();
      for (const [labels, series] of kind.series()) {
        yield { labels, value: series.unfinishedSeconds(time) };
      }
    },
  });
}

function lastEndFamily(prefix: string, kind: Kind): Family {
  return new Family({
    name: `${prefix}${kind.name}_last_end_timestamp_seconds`,
    help:
      `When a ${kind.name} execution last ended so, in seconds since the Unix epoch.`,
    type: "gauge",
    aggregator: "max",
    *samples() {
      for (const [labels, { lastEnd }] of endings(kind)) {
        if (lastEnd > 0) yield { labels, value: lastEnd };
      }
    },
    reset() {
      for (const [, ending] of endings(kind)) ending.lastEnd = 0;
    },
  });
}

function cancelledFamily(prefix: string, kind: Kind): Family {
  return new Family({
    name: `${prefix}${kind.name}_cancelled_total`,
    help:
      `The number of ${kind.name} executions that a caller or a consumer had given up.`,
    type: "counter",
    *samples() {
      for (const [labels, { cancelled }] of endings(kind)) {
        if (cancelled > 0) yield { labels, value: cancelled };
      }
    },
    reset() {
      for (const [, ending] of endings(kind)) ending.cancelled = 0;
    },
  });
}

function issuesFamily(prefix: string, issues: IssueCounts): Family {
  return new Family({
    name: `${prefix}instrumentation_issues_total`,
    help: "The total number of troubles that the instrumentation itself had.",
    type: "counter",
    *samples() {
      for (const [issue, value] of Object.entries(issues)) {
        yield { labels: { issue }, value };
      }
    },
    reset() {
      for (const issue of Object.keys(issues) as (keyof IssueCounts)[]) {
        issues[issue] = 0;
      }
    },
  });
}

function* pipelineSeries(
  tree: SeriesTree,
): Generator<[Record<string, string>, Series]> {
  for (const { lane, name, series } of tree.pipelines()) {
    if (series !== undefined) yield [{ lane, pipeline_name: name }, series];
  }
}

function* stageSeries(
  tree: SeriesTree,
): Generator<[Record<string, string>, Series]> {
  for (const node of tree.pipelines()) {
    for (const [stage_name, series] of node.stages()) {
      yield [{ lane: node.lane, pipeline_name: node.name, stage_name }, series];
    }
  }
}

function* endings(kind: Kind): Generator<[Record<string, string>, Ending]> {
  for (const [labels, series] of kind.series()) {
    for (const [outcome, ending] of series.endings()) {
      yield [{ ...labels, [kind.outcomeLabel]: outcome }, ending];
    }
  }
}
