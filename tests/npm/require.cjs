/** Uses the package in CommonJS. */
const { createStageMetrics, pipeline, stage } = require(
  "@lukhas/stage-metrics",
);
const { captureMetrics, sampleValue } = require(
  "@lukhas/stage-metrics/testing",
);
const { nodeMetricsHandler } = require("@lukhas/stage-metrics/node");
const { Registry } = require("prom-client");

async function main() {
  const labels = { lane: "batch", pipeline_name: "p", status: "success" };
  const name = "lukhas_orchestration_pipeline_total";
  const own = createStageMetrics({ registry: new Registry(), lane: "batch" });
  const work = () => stage("s", () => Promise.resolve("worked"));

  nodeMetricsHandler({ registry: own.registry });
  console.log(await own.pipeline("p", work));
  console.log(await sampleValue(own.registry, name, labels));
  await captureMetrics({ lane: "batch" }, async ({ registry }) => {
    console.log(await pipeline("p", work));
    console.log(await sampleValue(registry, name, labels));
  });
}

main();
