/** A server that the test runs by `bun --hot` and edits. */
import {
  configure,
  definePipeline,
  metricsHandler,
  stage,
} from "@lukhas/stage-metrics";

configure({ lane: "blue" });

const answering = definePipeline("answering", {
  stages: { search: {}, rank: {} },
});

// Kept, as the reload evaluates this module again.
globalThis.server ??= Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: () => new Response(),
});
globalThis.server.reload({
  fetch: metricsHandler({
    next: () =>
      answering.run(() =>
        stage("search", () => Promise.resolve(new Response("found")))
      ),
  }),
});
console.log(`Listening on ${globalThis.server.url}`);
