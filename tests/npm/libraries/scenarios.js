/**
 * Runs scenarios, each with its own metrics, and prints their results.
 *
 * @module
 */
import { createStageMetrics } from "@lukhas/stage-metrics";
import { AsyncLocalStorage } from "node:async_hooks";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { Registry } from "prom-client";

/** The options of a detached pipeline. */
export const DETACHED = { detached: true };

/** A context of the program, which shows whether a library keeps contexts. */
export const ownContext = new AsyncLocalStorage();

const NAMES = {
  pipeline_total: ["lane", "pipeline_name", "status"],
  stage_total: ["lane", "pipeline_name", "stage_name", "outcome"],
  pipeline_cancelled_total: ["lane", "pipeline_name", "status"],
  stage_cancelled_total: ["lane", "pipeline_name", "stage_name", "outcome"],
  instrumentation_issues_total: ["issue"],
};

/**
 * Returns the counts that are not 0, by their labels in the order above:
 * `test/page success`, `test/page/read failure`, `cancelled test/page failure`,
 * `late_stage`.
 */
export async function totals({ metricsHandler }) {
  const response = await metricsHandler()(new Request("http://localhost/"));
  const counts = {};
  for (const line of (await response.text()).split("\n")) {
    const [, name, labels, value] =
      /^lukhas_orchestration_(\w+_total){(.*)} (.*)$/.exec(line) ?? [];
    if (!(name in NAMES) || value === "0") continue;
    const parts = NAMES[name].map((label) =>
      new RegExp(`\\b${label}="([^"]*)"`).exec(labels)[1]
    );
    const outcome = parts.length > 1 ? ` ${parts.pop()}` : "";
    const prefix = name.includes("cancelled") ? "cancelled " : "";
    counts[prefix + parts.join("/") + outcome] = Number(value);
  }
  return Object.fromEntries(Object.entries(counts).sort());
}

/** Returns a promise with the functions that settle it. */
export function deferred() {
  const settle = {};
  const promise = new Promise((resolve, reject) =>
    Object.assign(settle, { resolve, reject })
  );
  return { promise, ...settle };
}

/** Waits until a check returns a truthy value, and returns the value. */
export async function until(check) {
  for (let i = 0; i < 200; i++) {
    const result = await check();
    if (result) return result;
    await delay(10);
  }
  throw new Error(`Check never succeeded: ${check}`);
}

/** Returns the value of a promise, or the name of its error. */
export function settled(promise) {
  return promise.then((value) => value, ({ name }) => name);
}

/** The longest wait, in milliseconds. */
const TIMEOUT_MS = 20_000;

/**
 * Runs scenarios in sequence, prints their results as JSON, and exits. The error of a
 * scenario is its result.
 */
export async function printResults(scenarios) {
  const results = {};
  for (const [name, run] of Object.entries(scenarios)) {
    const metrics = createStageMetrics({
      registry: new Registry(),
      lane: "test",
      onIssue() {},
    });
    try {
      results[name] = await Promise.race([
        run(metrics),
        delay(TIMEOUT_MS, "It did not end"),
      ]);
    } catch (error) {
      results[name] = String(error?.stack ?? error);
    }
  }
  console.log(JSON.stringify(results));
  process.exit();
}
