/** A part of a program, to be bundled with the library, with prom-client, or with both. */
export * from "@lukhas/stage-metrics";
export { Counter } from "prom-client";
