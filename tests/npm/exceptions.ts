/**
 * The tests that do not run on some runtime.
 *
 * @module
 */

/** A test that cannot pass on a runtime, for a reason outside the library. */
export interface Exception {
  /** The start of the runtime's name. */
  readonly runtime: string;
  /** The name of the test. */
  readonly test: string;
  readonly why: string;
}

export const EXCEPTIONS: readonly Exception[] = [
  {
    runtime: "Bun ",
    test: "classifyError() returns timeout for undici's own timeouts",
    why: "Bun replaces undici by its own, which has no timeouts",
  },
  {
    runtime: "Bun ",
    test: "stageStream() runs a ReadableStream's source inside its pipeline",
    why: "a source runs in the context in which its stream was created",
  },
  {
    runtime: "Bun ",
    test:
      "metricsHandler() aborts a scrape after two minutes, even if it is still read",
    why: "fake timers do not replace the functions of node:timers",
  },
];
