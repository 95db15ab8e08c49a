/**
 * Runs a pipeline beside a client of the project's own: `node split.js CLIENT USE`,
 * where USE is "records", "idle" or "configures".
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
if (use === "configures") configure({ registry: register });
if (use !== "idle") {
  new Counter({ name: "requests_total", help: "Requests." }).inc();
}
pipeline("p", () => {});
const serve = metricsHandler();
await serve(new Request("http://localhost/"));
const response = await serve(new Request("http://localhost/"));
console.log(JSON.stringify({ text: await response.text(), issues }));
