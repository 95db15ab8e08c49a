import type { Exemplar } from "./exemplar.ts";
import type { LabelSet } from "./label_set.ts";

/**
 * The name of a sample, and its labels that are the same for all series, such as
 * `outcome` and `le`.
 *
 * Their text is built once. A scrape only adds the labels of series and the values.
 */
export class SampleTemplate {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The text before the labels of a series. */
  readonly before: string;
  /** The text of the template's labels, which follow the labels of a series. */
  readonly after: string;
  /** The text between the labels of a series and a value, without default labels. */
  readonly end: string;

  /**
   * @param name The full name of the sample.
   * @param labels The labels. Their values must not need escaping.
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

/** Receives a sample of a series. */
export type Emit = (
  template: SampleTemplate,
  labels: LabelSet,
  value: number,
  exemplar?: Exemplar,
) => void;

/** Samples that are emitted one by one, without an object for each. */
export interface TemplatedSamples {
  /** The labels that the registry adds to every sample. */
  readonly defaultLabels: LabelSet;
  /** Emits the samples, and yields after each series. */
  collect(emit: Emit): Iterable<void>;
}
