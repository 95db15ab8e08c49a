/** Says what was thrown, whatever it was. */
export function describeError(error: unknown): string {
  try {
    return String(error);
  } catch {
    return `a value of type ${typeof error} that cannot be shown`;
  }
}
