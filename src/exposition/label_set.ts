import { escapeLabelValue } from "./escape.ts";

/** The labels of a series, and their text. */
export class LabelSet {
  /** The label values by name. */
  readonly values: Readonly<Record<string, string>>;
  #text: string | undefined;

  constructor(values: Readonly<Record<string, string>>) {
    this.values = values;
  }

  /** The text between the braces, built once for all lines of the series. */
  get text(): string {
    return this.#text ??= Object.entries(this.values)
      .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
      .join();
  }
}
