import type { IssueReporter } from "./issues.ts";
import { OVERFLOW } from "./labels.ts";
import type { Instance } from "./scope.ts";
import type { PipelineNode, Series } from "./series.ts";
import { quote } from "./quote.ts";

/** Where the runs of a pipeline are counted: with the overflow, if there is no room. */
export function placePipeline(
  { tree, issues }: Instance,
  node: PipelineNode,
): Series {
  if (node.series !== undefined) return node.series;
  if (tree.isFull) reportOverflow(issues, `Pipeline ${quote(node.name)}`);
  return node.startSeries();
}

/**
 * Where the runs of a stage are counted: with the overflow, if there is no room.
 *
 * @param name A name that is safe.
 */
export function placeStage(
  { tree, issues }: Instance,
  node: PipelineNode,
  name: string,
): Series {
  const series = node.findStage(name);
  if (series !== undefined) return series;
  if (tree.isFull) {
    reportOverflow(
      issues,
      `Stage ${quote(name)} of pipeline ${quote(node.name)}`,
    );
  }
  return node.stage(name);
}

function reportOverflow(issues: IssueReporter, what: string): void {
  issues.report(
    "label_overflow",
    `${what} was recorded as "${OVERFLOW}", as there are more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`,
  );
}
