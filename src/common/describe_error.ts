import { excerpt } from "./quote.ts";

/** Returns a text for a thrown value of any type, for a message. Never throws. */
export function describeError(error: unknown): string {
  try {
    return excerpt(String(error));
  } catch {
    return `a value of type ${typeof error} that cannot be shown`;
  }
}
