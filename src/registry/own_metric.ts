import { type Exemplar, renderExemplar } from "../exposition/exemplar.ts";
import { LabelSet } from "../exposition/label_set.ts";
import {
  addDefaultLabels,
  type MetricFamily,
  Sample,
} from "../exposition/model.ts";
import { formatValue } from "../exposition/numbers.ts";

/** One sample of a metric, as registries pass it on. */
export interface MetricValue {
  /** The name, where it is not that of the metric itself. */
  readonly metricName?: string;
  readonly labels: Record<string, string>;
  readonly value: number;
  readonly exemplar?: Exemplar;
}

/** What a registry takes for a metric's content. */
export interface MetricView {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly values: MetricValue[];
}

/**
 * What one and the same sample of all label sets of a family has in common: all but
 * the labels of the set and the value.
 *
 * It is written out once, so that a scrape is a matter of numbers.
 */
export class SampleTemplate {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What stands before the labels of the set. */
  readonly before: string;
  /** What stands after them. */
  readonly after: string;
  /** The same, up to the value. */
  readonly end: string;

  /**
   * @param name The full name of the sample.
   * @param labels Labels beside those of the set, with values to be written as they
   * are.
   */
  constructor(name: string, labels: Readonly<Record<string, string>> = {}) {
    this.name = name;
    this.labels = labels;
    this.before = `${name}{`;
    this.after = Object.entries(labels)
      .map(([label, value]) => `,${label}="${value}"`).join("");
    this.end = `${this.after}} `;
  }
}

/** Takes a sample. */
export type Emit = (
  template: SampleTemplate,
  labels: LabelSet,
  value: number,
  exemplar?: Exemplar,
) => void;

/**
 * What a family is made of.
 *
 * @typeParam R What is counted under a label set.
 */
export interface OwnMetricOptions<R> {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly aggregator?: "sum" | "max";
  /** What is counted, one for each label set. */
  rows(): Iterable<R>;
  /** Shows the samples of one. */
  show(row: R, emit: Emit): void;
  /** Zeroes one, in place. Gauges of what is running have none. */
  reset?(row: R): void;
}

/** Families that are counted together. */
export interface FamilyGroup {
  /** The one of that full name. */
  find(fullName: string): OwnMetric | undefined;
  /** The same, of what is so now, whatever is counted until they are read. */
  snapshot(): FamilyGroup;
}

/** Marks families: `instanceof` does not know those of another copy of this class. */
const FAMILY = Symbol.for("@lukhas/stage-metrics/1/family");

/** Whether a metric that a registry holds is one of ours. */
export function isOwnMetric(metric: object): metric is OwnMetric {
  return (metric as Partial<OwnMetric> | null)?.[FAMILY] === true;
}

/**
 * A metric family of ours, in the shape in which registries of prom-client hold
 * their metrics.
 */
export class OwnMetric {
  readonly [FAMILY] = true;
  /** The registered name: OpenMetrics registries write the one without `_total`. */
  name: string;
  /** The name that stays. */
  readonly fullName: string;
  readonly help: string;
  readonly type: string;
  /** How prom-client's cluster registry merges it. */
  readonly aggregator: string;
  readonly group: FamilyGroup;
  readonly #options: OwnMetricOptions<unknown>;

  constructor(group: FamilyGroup, options: OwnMetricOptions<unknown>) {
    this.group = group;
    this.name = options.name;
    this.fullName = options.name;
    this.help = options.help;
    this.type = options.type;
    this.aggregator = options.aggregator ?? "sum";
    this.#options = options;
  }

  /** The samples as they are now, each an object of its own: others may change it. */
  samples(): MetricValue[] {
    const samples: MetricValue[] = [];
    this.#show(({ name, labels }, { values }, value, exemplar) => {
      samples.push({
        ...(name === this.fullName ? {} : { metricName: name }),
        labels: { ...values, ...labels },
        value,
        ...(exemplar === undefined ? {} : { exemplar }),
      });
    });
    return samples;
  }

  /**
   * The samples as they are when read, as lines of both formats: those of a label
   * set at a time.
   *
   * @param common More labels for each, as they stand between the braces.
   * @param withExemplars Whether it is the format that has them.
   */
  *lines(common: string, withExemplars: boolean): Generator<string> {
    const { rows, show } = this.#options;
    let lines = "";
    // What the lines before began with: most begin alike, and a string that has been
    // put together is cheaper to repeat than to put together.
    let [head, name, set]: [string, string?, LabelSet?] = [""];
    const emit: Emit = (template, labels, value, exemplar) => {
      if (labels !== set || template.name !== name) {
        head = `${template.before}${labels.text}`;
        name = template.name;
        set = labels;
      }
      const end = common === ""
        ? template.end
        : `${template.after},${common}} `;
      const behind = withExemplars && exemplar !== undefined
        ? renderExemplar(exemplar)
        : "";
      lines += head + end + formatValue(value) + behind + "\n";
    };
    for (const row of rows()) {
      show(row, emit);
      yield lines;
      lines = "";
    }
  }

  get(): Promise<MetricView> {
    const { name, help, type, aggregator } = this;
    const values = this.samples();
    return Promise.resolve({ name, help, type, aggregator, values });
  }

  getForPromString(): Promise<MetricView> {
    return this.get();
  }

  /** Leaves out the group, which leads back to the family. */
  toJSON(): Omit<MetricView, "values"> {
    const { name, help, type, aggregator } = this;
    return { name, help, type, aggregator };
  }

  reset(): void {
    const { rows, reset } = this.#options;
    if (reset === undefined) return;
    for (const row of rows()) reset(row);
  }

  #show(emit: Emit): void {
    const { rows, show } = this.#options;
    for (const row of rows()) show(row, emit);
  }
}

/** Labels of ours: none that a registry adds may stand beside them. */
const OWN_LABELS: ReadonlySet<string> = new Set([
  "lane",
  "pipeline_name",
  "stage_name",
  "status",
  "outcome",
  "le",
  "issue",
]);

/** A family of ours as a scrape shows it. */
export class OwnMetricView implements MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly lines: MetricFamily["lines"];
  readonly #family: OwnMetric;
  readonly #common: Readonly<Record<string, unknown>>;

  /** @param common The labels that the registry adds to every sample. */
  constructor(family: OwnMetric, common: Readonly<Record<string, unknown>>) {
    const { fullName, help, type, aggregator } = family;
    this.name = fullName;
    this.help = help;
    this.type = type;
    this.aggregator = aggregator;
    this.#family = family;
    this.#common = common;
    // Of one that is named like ours it depends on the sample whether it is added.
    if (!Object.keys(common).some((name) => OWN_LABELS.has(name))) {
      const { text } = new LabelSet(addDefaultLabels({}, common));
      this.lines = (withExemplars) => family.lines(text, withExemplars);
    }
  }

  get samples(): Sample[] {
    return this.#family.samples().map((sample) =>
      new Sample(
        sample.metricName ?? this.name,
        addDefaultLabels(sample.labels, this.#common),
        sample.value,
        sample.exemplar,
      )
    );
  }
}
