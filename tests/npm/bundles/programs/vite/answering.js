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

export function answer() {
  answering.run(() => stage("search", () => {}));
}

export const serve = metricsHandler();
