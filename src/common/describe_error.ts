import { excerpt } from "./quote.ts";

/** Describes what was thrown, whatever it was, for a message. */
export function describeError(error: unknown): string {
  try {
    return excerpt(String(error));
  } catch {
    return `a value of type ${typeof error} that cannot be shown`;
  }
}
