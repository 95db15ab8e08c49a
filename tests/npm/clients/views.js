/** Renders the metrics by every function of prom-client, and prints the texts. */
import {
  configure,
  definePipeline,
  metricsHandler,
  pipeline,
  stage,
} from "@lukhas/stage-metrics";
import { sampleValue } from "@lukhas/stage-metrics/testing";
import { AggregatorRegistry, Counter, register, Registry } from "prom-client";

const NAME = "lukhas_orchestration_pipeline_total";
const SERIES = { lane: "test", pipeline_name: "p", status: "success" };

const issues = [];
configure({ lane: "test", onIssue: ({ message }) => issues.push(message) });
const serve = metricsHandler();
const run = () => pipeline("p", () => stage("s", () => {}));
const requests = new Counter({ name: "requests_total", help: "Requests." });

const scrape = async () =>
  await (await serve(new Request("http://localhost/"))).text();

definePipeline("declared", { stages: { s: {} } })
  .run(() => stage("s", () => {}));
run();
requests.inc();

const texts = {};
texts["metricsHandler()"] = await scrape();
texts["metrics()"] = await register.metrics();
texts["getSingleMetricAsString()"] = await register.getSingleMetricAsString(
  NAME,
);
texts["merge()"] = await Registry.merge([register, new Registry()]).metrics();
const json = JSON.stringify(await register.getMetricsAsJSON());
texts["aggregate()"] = await AggregatorRegistry.aggregate([
  JSON.parse(json),
  JSON.parse(json),
]).metrics();

register.setDefaultLabels({ app: "shop" });
texts["metricsHandler() with default labels"] = await scrape();
texts["metrics() with default labels"] = await register.metrics();
register.setDefaultLabels({});

register.resetMetrics();
run();
texts["resetMetrics()"] = await register.metrics();

register.clear();
run();
texts["clear()"] = await register.metrics();

const value = await sampleValue(register, NAME, SERIES);
console.log(JSON.stringify({ texts, value, issues }));
