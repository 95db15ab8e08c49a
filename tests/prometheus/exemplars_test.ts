import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { manualClock } from "../../src/testing.ts";
import { createSdk } from "../support/sdk.ts";
import { eventually } from "../support/wait.ts";
import {
  addressOf,
  isInstalled,
  serve,
  startPrometheus,
} from "./prometheus.ts";

/** Returns the queries of examples/tracing/README.md that find traces. */
function readQueries(): string[] {
  const readme = Deno.readTextFileSync(
    new URL("../../examples/tracing/README.md", import.meta.url),
  );
  return Array.from(readme.matchAll(/'query=([^']+)'/g), ([, query]) => query!);
}

Deno.test({
  name: "Prometheus finds the traces of the runs in each bucket",
  ignore: !isInstalled("prometheus", "exemplars in a real Prometheus"),
  async fn() {
    using sdk = createSdk();
    const clock = manualClock();
    const { metricsHandler, pipeline, stage } = createStageMetrics({
      registry: new Registry(),
      lane: "test",
      tracing: sdk.provider,
      clock,
    });
    for (const seconds of [1 / 128, 1 / 4, 1 / 4, 8]) {
      pipeline("p", () => stage("s", () => clock.advance(seconds)));
    }
    try {
      pipeline("p", () => {
        clock.advance(3 / 8);
        throw new Error("No");
      });
    } catch {
      // A query of examples/tracing/README.md selects it.
    }
    const [first, , third, fourth, failed] = sdk.spans()
      .filter(({ name }) => name === "pipeline p")
      .map(({ traceId }) => traceId);

    const server = serve(metricsHandler());
    {
      await using prometheus = await startPrometheus({ p: addressOf(server) });
      const find = async (promql: string) => {
        const found = await prometheus.queryExemplars(promql);
        return found.map(({ series, labels, value }) => {
          const { __name__: name, le } = series;
          const { trace_id: traceId } = labels;
          return [
            name?.replace(/^.*?_(pipeline|stage)_.*/, "$1"),
            le,
            traceId,
            value,
          ];
        }).sort();
      };
      const histogram = (kind: string) =>
        `lukhas_orchestration_${kind}_duration_seconds_bucket`;
      await eventually(async () => {
        assertEquals(
          await find(`histogram_quantile(0.95, ${histogram("pipeline")})`),
          [
            ["pipeline", "+Inf", fourth, 8],
            ["pipeline", "0.01", first, 1 / 128],
            ["pipeline", "0.25", third, 1 / 4],
            ["pipeline", "0.5", failed, 3 / 8],
          ],
        );
      });
      assertEquals(await find(histogram("stage")), [
        ["stage", "+Inf", fourth, 8],
        ["stage", "0.01", first, 1 / 128],
        ["stage", "0.5", third, 1 / 4],
      ]);
      const [unsuccessful, slow] = readQueries();
      assertEquals(await find(unsuccessful!), [
        ["pipeline", "0.5", failed, 3 / 8],
      ]);
      assertEquals(await find(slow!), [["pipeline", "+Inf", fourth, 8]]);
    }
    await server.shutdown();
  },
});
