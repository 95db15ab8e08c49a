import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { CHANGED_NAMES, UNCHANGED_NAMES } from "../support/malicious_names.ts";
import { eventually } from "../support/wait.ts";
import {
  addressOf,
  isInstalled,
  serve,
  startPrometheus,
} from "./prometheus.ts";

Deno.test({
  name: "Prometheus reads malicious names unchanged, in both formats",
  ignore: !isInstalled("prometheus", "malicious names in a real Prometheus"),
  async fn() {
    const metrics = createStageMetrics({
      registry: new Registry(),
      lane: "test",
      onIssue() {},
    });
    for (
      const name of [...UNCHANGED_NAMES, ...CHANGED_NAMES.keys()] as string[]
    ) {
      metrics.pipeline(name, () => {});
    }
    const handler = metrics.metricsHandler();
    const formats = {
      text: "text/plain",
      openmetrics: "application/openmetrics-text",
    };
    const servers = Object.entries(formats).map(([job, Accept]) => {
      const headers = { Accept };
      return [
        job,
        serve(({ url }) => handler(new Request(url, { headers }))),
      ] as const;
    });
    const jobs = servers.map(([job, server]) => [job, addressOf(server)]);
    {
      await using prometheus = await startPrometheus(Object.fromEntries(jobs));
      const expected = [
        ...new Set([...UNCHANGED_NAMES, ...CHANGED_NAMES.values()]),
      ].sort();
      for (const [job] of servers) {
        await eventually(async () => {
          const results = await prometheus.query(
            `lukhas_orchestration_pipeline_total{job="${job}",status="success"}`,
          );
          assertEquals(
            results.map(({ metric }) => metric.pipeline_name!).sort(),
            expected,
          );
        });
      }
    }
    for (const [, server] of servers) await server.shutdown();
  },
});
