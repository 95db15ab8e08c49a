/** Is run by `bun --hot`, and edited meanwhile. */
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

// Bun takes a server of the same address for the same one, and reloads it.
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
