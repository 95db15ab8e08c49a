import type { IssueCounts } from "../common/issues.ts";
import type { Exemplar } from "../exposition/exemplar.ts";
import { LabelSet } from "../exposition/label_set.ts";
import {
  addDefaultLabels,
  type MetricFamily,
  Sample,
} from "../exposition/model.ts";
import type { Emit, TemplatedSamples } from "../exposition/sample_template.ts";
import type { SeriesSource } from "../series/series.ts";

/** The numbers behind the own metrics of one registry and prefix. */
export interface MetricsSource {
  readonly series: SeriesSource;
  readonly issues: IssueCounts;
  /** Returns the time by which the age of running scopes is measured, in seconds. */
  now(): number;
}

/** The definition of an own metric. It holds no numbers. */
export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly aggregator: "sum" | "max";
  /** Emits the samples of a source, and yields after each series. */
  collect(source: MetricsSource, now: number, emit: Emit): Iterable<void>;
  /** Sets the numbers to 0. Gauges of running scopes cannot be reset. */
  reset?(source: MetricsSource): void;
}

/** A sample in prom-client's contract. */
interface MetricValue {
  /** The name, if it differs from the metric's name. */
  readonly metricName?: string;
  readonly labels: Record<string, string>;
  readonly value: number;
  readonly exemplar?: Exemplar;
}

/** The content of a metric in prom-client's contract. */
interface MetricView {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: MetricValue[];
}

/**
 * Marks own metrics: `instanceof` fails if another copy of this module made them. The
 * number changes with the members that other copies use.
 */
const OWN_METRIC = Symbol.for("@lukhas/stage-metrics/2/own_metric");

/** Returns whether a metric of a registry belongs to this library. */
export function isOwnMetric(metric: object): metric is OwnMetric {
  return (metric as Partial<OwnMetric> | null)?.[OWN_METRIC] === true;
}

/** An own metric in prom-client's contract, for a registry to hold. */
export class OwnMetric {
  readonly [OWN_METRIC] = true;
  /** The name. A registry that renders OpenMetrics removes `_total` from it. */
  name: string;
  readonly help: string;
  readonly type: string;
  /** How prom-client's cluster registry merges the metric. */
  readonly aggregator: string;
  readonly definition: MetricDefinition;
  readonly source: MetricsSource;

  constructor(definition: MetricDefinition, source: MetricsSource) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.aggregator = definition.aggregator;
    this.definition = definition;
    this.source = source;
  }

  /** The registered name, which registries do not change. */
  get fullName(): string {
    return this.definition.name;
  }

  get(): Promise<MetricView> {
    const { name, help, type, aggregator } = this;
    const values = this.#values();
    return Promise.resolve({ name, help, type, aggregator, values });
  }

  getForPromString(): Promise<MetricView> {
    return this.get();
  }

  /** Returns the description, without the source, which holds all series. */
  toJSON(): Omit<MetricView, "values"> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator };
  }

  reset(): void {
    this.definition.reset?.(this.source);
  }

  /** Returns the current samples, as new objects: registries change them. */
  #values(): MetricValue[] {
    const values: MetricValue[] = [];
    emitAll(
      this.definition,
      this.source,
      (template, labels, value, exemplar) =>
        values.push({
          ...(template.name === this.fullName
            ? {}
            : { metricName: template.name }),
          labels: { ...labels.values, ...template.labels },
          value,
          ...(exemplar === undefined ? {} : { exemplar }),
        }),
    );
    return values;
  }
}

/** The names of the labels of own metrics. */
const OWN_LABELS: ReadonlySet<string> = new Set([
  "lane",
  "pipeline_name",
  "stage_name",
  "status",
  "outcome",
  "le",
  "issue",
]);

/** An own metric as a scrape shows it. */
export class OwnFamily implements MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly templated: TemplatedSamples | undefined;
  readonly #definition: MetricDefinition;
  readonly #source: MetricsSource;
  readonly #defaultLabels: Readonly<Record<string, unknown>>;

  /** @param defaultLabels The labels that the registry adds to every sample. */
  constructor(
    definition: MetricDefinition,
    source: MetricsSource,
    defaultLabels: Readonly<Record<string, unknown>>,
  ) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.aggregator = definition.aggregator;
    this.#definition = definition;
    this.#source = source;
    this.#defaultLabels = defaultLabels;
    // With a default label of such a name, not all samples get the same labels.
    if (!Object.keys(defaultLabels).some((name) => OWN_LABELS.has(name))) {
      this.templated = {
        defaultLabels: new LabelSet(addDefaultLabels({}, defaultLabels)),
        collect: (emit) => definition.collect(source, source.now(), emit),
      };
    }
  }

  get samples(): Sample[] {
    const samples: Sample[] = [];
    emitAll(
      this.#definition,
      this.#source,
      (template, labels, value, exemplar) =>
        samples.push(
          new Sample(
            template.name,
            addDefaultLabels(
              { ...labels.values, ...template.labels },
              this.#defaultLabels,
            ),
            value,
            exemplar,
          ),
        ),
    );
    return samples;
  }
}

/** Emits the current samples of a source without a pause. */
function emitAll(
  definition: MetricDefinition,
  source: MetricsSource,
  emit: Emit,
): void {
  for (const _ of definition.collect(source, source.now(), emit));
}
