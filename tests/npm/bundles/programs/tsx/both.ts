/** Uses the library by `require()`, as tsx compiles this import to, and by `import()`. */
import {
  configure,
  metricsHandler,
  pipeline,
  stage,
} from "@lukhas/stage-metrics";

async function main() {
  const imported = await import("@lukhas/stage-metrics");
  configure({ lane: "canary" });
  pipeline("required", () => stage("s", () => {}));
  imported.pipeline("imported", () => imported.stage("s", () => {}));
  pipeline("both", () => imported.stage("s", () => {}));
  const { printMetrics } = await import("../print.js");
  await printMetrics({
    required: metricsHandler(),
    imported: imported.metricsHandler(),
  });
}

main();
