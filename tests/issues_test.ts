import { createStageMetrics, type IssueReport } from "../mod.ts";
import { issuesTotal, samplesOf } from "./samples.ts";
import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";

function create(onIssue?: (report: IssueReport) => void) {
  return createStageMetrics({
    registry: new Registry(),
    lane: "test",
    onIssue,
  });
}

Deno.test("onIssue() is told of each issue: its kind, what happened and what to do", () => {
  const reports: IssueReport[] = [];
  const { stage } = create((report) => reports.push(report));
  stage("one", () => {});
  stage("two", () => {});
  assertEquals(
    reports,
    ["one", "two"].map((name) => ({
      issue: "orphan_stage",
      message:
        `Stage "${name}" ran with no pipeline around it: run it inside of pipeline(), or call the stage() of the pipeline's scope`,
    })),
  );
});

Deno.test("onIssue() defaults to one warning for each kind", async () => {
  const warnings: unknown[][] = [];
  const { warn } = console;
  console.warn = (...args) => warnings.push(args);
  try {
    const metrics = create();
    for (const name of ["one", "two", ""]) metrics.stage(name, () => {});
    assertEquals(warnings, [
      [
        `stage-metrics: Stage "one" ran with no pipeline around it: run it inside of pipeline(), or call the stage() of the pipeline's scope (orphan_stage; further ones are only counted)`,
      ],
      [
        `stage-metrics: A stage name must not be empty: recorded as "unknown" (invalid_name; further ones are only counted)`,
      ],
    ]);
    const issues = await samplesOf(metrics, /issues_total$/);
    assertEquals(issues, {
      [issuesTotal("orphan_stage")]: 3,
      [issuesTotal("invalid_name")]: 1,
    });
  } finally {
    console.warn = warn;
  }
});

Deno.test("onIssue() that throws or rejects is counted, and costs the work nothing", async () => {
  for (
    const onIssue of [
      () => {
        throw new Error("Broken hook");
      },
      () => Promise.reject(new Error("Broken hook")),
    ]
  ) {
    const metrics = create(onIssue);
    assertEquals(metrics.stage("s", () => 1), 1);
    await Promise.resolve();
    assertEquals(await samplesOf(metrics, /issues_total$/), {
      [issuesTotal("orphan_stage")]: 1,
      [issuesTotal("hook_error")]: 1,
    });
  }
});

Deno.test("onIssue() that causes issues itself comes to an end", async () => {
  const metrics = create(() => metrics.stage("told", () => {}));
  metrics.stage("s", () => {});
  assertEquals(await samplesOf(metrics, /issues_total$/), {
    [issuesTotal("orphan_stage")]: 2,
  });
});
