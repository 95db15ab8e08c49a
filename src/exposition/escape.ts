/** Matches the characters that are escaped in label values. */
const ESCAPED_IN_LABEL_VALUE = /[\\\n"]/;

/** Escapes a label value, or a HELP text of OpenMetrics. */
export function escapeLabelValue(text: string): string {
  if (!ESCAPED_IN_LABEL_VALUE.test(text)) return text;
  return escapeHelp(text).replaceAll('"', '\\"');
}

/** Escapes a HELP text of the text format, where quotes are not escaped. */
export function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}
