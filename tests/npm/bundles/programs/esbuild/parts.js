/** Runs two parts of a program in one process: `node parts.js FIRST SECOND`. */
import { printMetrics, scrape } from "../print.js";
import process from "node:process";

const [firstPath, secondPath] = process.argv.slice(2);
// In sequence, as all use the registry of the part that loads first.
const first = await import(firstPath);
const second = await import(secondPath);

first.configure({ lane: "canary" });
const declared = second.definePipeline("declared", { stages: { s: {} } });
declared.run(() => first.stage("s", () => {}));
first.pipeline("of_first", () => second.stage("s", () => {}));
second.pipeline("of_second", () => second.stage("s", () => {}));
new first.Counter({ name: "first_total", help: "Help" }).inc();

const ofFirst = await scrape(first.metricsHandler());
new second.Counter({ name: "second_total", help: "Help" }).inc();
await printMetrics({
  first: () => new Response(ofFirst),
  second: second.metricsHandler(),
});
