/**
 * Records durations that were measured elsewhere: here, the runs in a log.
 *
 * Run:     deno run examples/record.ts
 *
 * @module
 */
import {
  metricsHandler,
  type Outcome,
  recordPipelineMetrics,
  recordStageMetrics,
} from "@lukhas/stage-metrics";

const LOG = `
import download success 0.48
import parse    success 0.07
import store    timeout 5.00
import -        timeout 5.55
`;

for (const line of LOG.trim().split("\n")) {
  const [pipelineName = "", stageName = "", outcome = "", seconds] = line
    .split(/\s+/);
  const durationSec = Number(seconds);
  if (stageName === "-") {
    const status = outcome as Outcome;
    recordPipelineMetrics({ pipelineName, durationSec, status, lane: "batch" });
  } else {
    recordStageMetrics({
      pipelineName,
      stageName,
      durationSec,
      outcome: outcome as Outcome,
      lane: "batch",
    });
  }
}

const response = await metricsHandler()(
  new Request("http://localhost/metrics"),
);
console.log(await response.text());
