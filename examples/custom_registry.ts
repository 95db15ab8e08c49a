/**
 * Puts the metrics, under a prefix of one's own, into a registry that one has, next
 * to metrics written by hand, and serves both.
 *
 * Run it: `deno run examples/custom_registry.ts`
 *
 * @module
 */
import { createStageMetrics } from "@lukhas/stage-metrics";
import { Gauge, Registry } from "prom-client";

const registry = new Registry();
registry.setDefaultLabels({ service: "billing" });
const queueSize = new Gauge({
  name: "billing_queue_size",
  help: "How many invoices wait to be sent.",
  registers: [registry],
});

const { pipeline, stage, metricsHandler } = createStageMetrics({
  registry,
  prefix: "billing_",
  lane: "canary",
  // Under a prefix of one's own, buckets are one's own too, in seconds.
  stageBuckets: [0.1, 1, 10, 60],
});

queueSize.set(2);
await pipeline("invoices", async () => {
  for (const customer of ["Ada", "Grace"]) {
    await stage("send", () => Promise.resolve(`Dear ${customer}, …`));
    queueSize.dec();
  }
});

// As a service: Deno.serve(metricsHandler());
const response = await metricsHandler()(
  new Request("http://localhost/metrics"),
);
console.log(await response.text());
