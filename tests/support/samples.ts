/**
 * Reads metrics for tests.
 *
 * @module
 */
import type { StageMetrics } from "../../mod.ts";

const PREFIX = "lukhas_orchestration_";

/**
 * Scrapes an instance and returns its samples, as {@linkcode parseSamples} does.
 */
export async function samplesOf(
  { metricsHandler }: Pick<StageMetrics, "metricsHandler">,
  names?: RegExp,
): Promise<Record<string, number>> {
  const response = await metricsHandler()(new Request("http://localhost/"));
  return parseSamples(await response.text(), names);
}

/**
 * Returns the values of the samples in an exposition, by series without the prefix:
 * `stage_total{lane="…",…}` → 1. Leaves out samples that are 0.
 *
 * @param names Matches the names of the samples, by default of all totals.
 */
export function parseSamples(
  text: string,
  names: RegExp = /_total$/,
): Record<string, number> {
  const samples = text.split("\n")
    .map((line) => /^(([^{ ]+)[^]*) (\S+)$/.exec(line))
    .filter((found) => found !== null && !found[0].startsWith("#"))
    .map((found) => found as unknown as [string, string, string, string])
    .filter(([, , name, value]) => names.test(name) && value !== "0")
    .map(([, series, , value]) =>
      [series.replace(PREFIX, ""), Number(value)] as const
    );
  return Object.fromEntries(samples);
}

/** Returns the series of a pipeline's total, as `samplesOf()` names it. */
export function pipelineTotal(
  name: string,
  status: string,
  lane = "test",
): string {
  return `pipeline_total{lane="${lane}",pipeline_name="${name}",status="${status}"}`;
}

/** Returns the series of a stage's total, as `samplesOf()` names it. */
export function stageTotal(
  pipeline: string,
  name: string,
  outcome: string,
  lane = "test",
): string {
  return `stage_total{lane="${lane}",pipeline_name="${pipeline}",stage_name="${name}",outcome="${outcome}"}`;
}

/** Returns the series that counts the cancelled runs of a total. */
export function cancelledTotal(total: string): string {
  return total.replace("_total", "_cancelled_total");
}

/** Returns the series of an issue, as `samplesOf()` names it. */
export function issuesTotal(issue: string): string {
  return `instrumentation_issues_total{issue="${issue}"}`;
}
