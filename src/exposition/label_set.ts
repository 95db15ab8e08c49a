/** The labels of a series, and their text. */
export class LabelSet {
  /** The label values by name. */
  readonly values: Readonly<Record<string, string>>;
  #text: string | undefined;

  constructor(values: Readonly<Record<string, string>>) {
    this.values = values;
  }

  /** The text between the braces: built once for all lines of the series. */
  get text(): string {
    return this.#text ??= Object.entries(this.values)
      .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
      .join();
  }
}

const ESCAPED_IN_LABEL_VALUE = /[\\\n"]/;

/** Escapes a label value, or a HELP text of OpenMetrics. */
export function escapeLabelValue(text: string): string {
  if (!ESCAPED_IN_LABEL_VALUE.test(text)) return text;
  return escapeHelp(text).replaceAll('"', '\\"');
}

/** Escapes a HELP text of the text format, which leaves quotes as they are. */
export function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
