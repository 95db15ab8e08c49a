import { configure, definePipeline, stage } from "@lukhas/stage-metrics";

export function register() {
  configure({ lane: "canary" });
  const warmUp = definePipeline("warm_up", { stages: { load: {}, never: {} } });
  warmUp.run(() => stage("load", () => {}));
}
