/** A worker of Cloudflare's runtime that measures its requests and serves the metrics. */
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";

const handler = metricsHandler({
  next: (request) =>
    pipeline("greeting", async () => {
      const name = await stage("read", () => request.text());
      await stage("slow", { timeout: 5 }, () => new Promise(() => {}))
        .catch(() => {});
      return stage("write", () => new Response(`Hello, ${name}!`));
    }),
});

function answerForWorkers() {
  try {
    metricsHandler({ workers: true });
    return "created";
  } catch (error) {
    return String(error);
  }
}

export default {
  fetch: (request) =>
    new URL(request.url).pathname === "/workers"
      ? new Response(answerForWorkers())
      : handler(request),
};
