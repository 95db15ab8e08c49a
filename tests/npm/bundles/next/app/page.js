import { pipeline, stage } from "@lukhas/stage-metrics";

export const dynamic = "force-dynamic";

export default function Page() {
  return pipeline(
    "app_page",
    () => stage("render", () => Promise.resolve("app page")),
  );
}
