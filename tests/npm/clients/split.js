/**
 * Runs a pipeline beside the project's own client: `node split.js CLIENT USE`,
 * where USE is "records", "records late", "idle" or "configures".
 */
import { configure, metricsHandler, pipeline } from "@lukhas/stage-metrics";
import process from "node:process";

const [client, use] = process.argv.slice(2);
const { Counter, register } = await import(client);

const issues = [];
configure({
  lane: "test",
  onIssue: ({ issue, message }) => issues.push(`${issue}: ${message}`),
});
const record = () =>
  new Counter({ name: "requests_total", help: "Requests." }).inc();
const serve = metricsHandler();
const scrape = async () =>
  await (await serve(new Request("http://localhost/"))).text();

if (use === "configures") configure({ registry: register });
if (use === "configures" || use === "records") record();
pipeline("p", () => {});
await scrape();
if (use === "records late") record();
// An issue of the second scrape is in its response or in the next one.
await scrape();
console.log(JSON.stringify({ text: await scrape(), issues }));
