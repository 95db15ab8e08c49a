/** Runs a pipeline of two stages, and prints its counts as JSON. */
import {
  configure,
  metricsHandler,
  pipeline,
  stage,
} from "@lukhas/stage-metrics";
import { runInNewContext } from "node:vm";

configure({
  lane: "test",
  // A promise of another realm, as one in Jest is: it must not be unhandled.
  onIssue: runInNewContext("() => Promise.reject(new Error('From the hook'))"),
});

stage("orphan", () => {});
await pipeline("p", async (scope) => {
  await stage("quick", () => JSON.stringify(scope));
  await stage("slow", { timeout: 5 }, () => new Promise(() => {}))
    .catch(() => {});
});

const response = await metricsHandler()(new Request("http://localhost/"));
const counters =
  /^lukhas_orchestration_(?:(?:pipeline|stage)_total\{lane="test",|instrumentation_issues_total\{)(.*)\} ([1-9]\d*)$/gm;
const counts = [...(await response.text()).matchAll(counters)]
  .map(([, labels, count]) =>
    `${labels.match(/(?<=")[^",]+(?=")/g).join(" ")} ${count}`
  );
console.log(JSON.stringify(counts));
