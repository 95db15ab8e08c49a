/**
 * Registers metrics whose names clash in OpenMetrics.
 *
 * @module
 */
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client";
import { createStageMetrics } from "../../mod.ts";

/** Creates an instance on a registry of metrics with clashing names. */
export function createClashes() {
  const registry = new Registry();
  const registers = [registry];
  const messages: string[] = [];
  const { metricsHandler } = createStageMetrics({
    registry,
    lane: "test",
    onIssue: ({ message }) => {
      messages.push(message);
    },
  });
  const help = "Help";
  new Gauge({ name: "jobs", help, registers }).set(1);
  new Counter({ name: "jobs_total", help, registers }).inc(2);
  new Histogram({ name: "x", help, registers, buckets: [1] }).observe(3);
  new Gauge({ name: "x_count", help, registers }).set(4);
  new Summary({ name: "y", help, registers }).observe(5);
  new Gauge({ name: "y_created", help, registers }).set(6);
  new Gauge({ name: "x_info", help, registers }).set(7);
  new Counter({ name: "_total", help, registers }).inc(8);
  const scrape = async (accept: string) => {
    const headers = { Accept: accept };
    const request = new Request("http://localhost/", { headers });
    return await (await metricsHandler()(request)).text();
  };
  return { scrape, messages };
}
