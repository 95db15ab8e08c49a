import { pipeline, stage } from "@lukhas/stage-metrics";

export function POST() {
  return pipeline(
    "work",
    () => stage("answer", () => Promise.resolve(new Response("work"))),
  );
}
