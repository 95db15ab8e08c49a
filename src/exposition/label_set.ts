/** The labels of a series, and how they are written. */
export class LabelSet {
  /** By name. */
  readonly values: Readonly<Record<string, string>>;
  #text: string | undefined;

  constructor(values: Readonly<Record<string, string>>) {
    this.values = values;
  }

  /** As they stand between the braces: put together once, for all of its lines. */
  get text(): string {
    return this.#text ??= Object.entries(this.values)
      .map(([name, value]) => `${name}="${escapeLabelValue(value)}"`)
      .join();
  }
}

const TO_BE_ESCAPED = /[\\\n"]/;

/** Escapes what stands between quotes, in both formats. */
export function escapeLabelValue(text: string): string {
  if (!TO_BE_ESCAPED.test(text)) return text;
  return escapeHelp(text).replaceAll('"', '\\"');
}

/** Escapes what stands without quotes, in the text format. */
export function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
