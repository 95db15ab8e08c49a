import type { Exemplar } from "./exemplar.ts";
import type { LabelSet } from "./label_set.ts";

/**
 * The parts of a sample that are the same for all label sets of a family: its name, and
 * labels such as `outcome` and `le`.
 *
 * Their text is built once. A scrape only adds label sets and values.
 */
export class SampleTemplate {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The text before the label set. */
  readonly before: string;
  /** The text of the labels, which follow the label set. */
  readonly after: string;
  /** The text between the label set and the value, if there are no default labels. */
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

/** Receives a sample. */
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
  /** Emits the samples, and yields after each label set. */
  collect(emit: Emit): Iterable<void>;
}
