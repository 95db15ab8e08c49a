/**
 * Adds the metrics, under a custom prefix, to an existing registry, and serves them
 * with the other metrics of the registry.
 *
 * Run:     deno run examples/custom_registry.ts
 *
 * @module
 */
import { createStageMetrics } from "@lukhas/stage-metrics";
import { Gauge, Registry } from "prom-client";

const registry = new Registry();
registry.setDefaultLabels({ service: "billing" });
const queueSize = new Gauge({
  name: "billing_queue_size",
  help: "The number of invoices that wait to be sent.",
  registers: [registry],
});

const { pipeline, stage, metricsHandler } = createStageMetrics({
  registry,
  prefix: "billing_",
  lane: "canary",
  // In seconds. The default prefix has fixed buckets, which can only be extended.
  stageBuckets: [0.1, 1, 10, 60],
});

queueSize.set(2);
await pipeline("invoices", async () => {
  for (const customer of ["Ada", "Grace"]) {
    await stage("send", () => Promise.resolve(`Dear ${customer}, …`));
    queueSize.dec();
  }
});

// In a service: Deno.serve(metricsHandler());
const response = await metricsHandler()(
  new Request("http://localhost/metrics"),
);
console.log(await response.text());
