/**
 * Prints how `classifyError()` reads the errors of failing calls.
 *
 * @module
 */
import { classifyError } from "@lukhas/stage-metrics";
import process from "node:process";

/** The limit of calls that are meant to time out, in milliseconds. */
export const LIMIT_MS = 50;

/**
 * Calls functions that fail, prints the outcomes of their errors as JSON, and exits.
 * Each outcome is followed by the error's code, or else its class.
 */
export async function printOutcomes(failures) {
  const outcomes = await Promise.all(
    Object.entries(failures).map(async ([name, fail]) => [
      name,
      await outcomeOf(fail),
    ]),
  );
  console.log(JSON.stringify(Object.fromEntries(outcomes)));
  // Some libraries still wait for an unresponsive server.
  process.exit();
}

async function outcomeOf(fail) {
  try {
    await fail();
  } catch (error) {
    return `${classifyError(error)} ${error.code ?? error.constructor.name}`;
  }
  return "nothing failed";
}
