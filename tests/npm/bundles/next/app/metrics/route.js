import { metricsHandler } from "@lukhas/stage-metrics";
import { Counter } from "prom-client";

const scrapes = new Counter({ name: "scrapes_total", help: "The scrapes." });
const serve = metricsHandler();

export function GET(request) {
  scrapes.inc();
  return serve(request);
}
