import { assertEquals } from "@std/assert";
import { createFolder, startDemo } from "../support/demo.ts";
import { eventually } from "../support/wait.ts";
import {
  addressOf,
  isInstalled,
  type QueryResult,
  serve,
  startPrometheus,
} from "./prometheus.ts";

const PREFIX = "lukhas_orchestration_";

/** The questions, how often each is asked, and the outcomes of the pipeline and stages. */
const QUESTIONS: readonly {
  readonly question: string;
  readonly times: number;
  readonly ends: Readonly<Record<string, "success" | "failure">>;
}[] = [
  {
    question: "What do roses want?",
    times: 5,
    ends: {
      "": "success",
      intent: "success",
      decision: "success",
      processing: "success",
      rank: "success",
      delivery: "success",
    },
  },
  {
    question: 'Roses "want rain"',
    times: 2,
    ends: {
      "": "success",
      intent: "success",
      decision: "success",
      processing: "success",
      rank: "success",
      delivery: "success",
      validation: "failure",
      reflection: "failure",
    },
  },
  {
    question: "roses in nosuch.md",
    times: 3,
    ends: { "": "failure", intent: "success", decision: "failure" },
  },
];

/** Starts a proxy for scrapes that records the content types of the responses. */
function startProxy(target: string, accept?: string) {
  const types = new Set<string | null>();
  const server = serve(async (request) => {
    const headers = { Accept: accept ?? request.headers.get("Accept") ?? "" };
    const response = await fetch(`${target}/metrics`, { headers });
    const type = response.headers.get("Content-Type");
    types.add(type);
    return new Response(await response.text(), {
      headers: { "Content-Type": type ?? "" },
    });
  });
  return { server, types };
}

/** Returns the samples of a counter that are not 0, by their stage and outcome. */
function countsOf(results: readonly QueryResult[]): Record<string, number> {
  return Object.fromEntries(
    results.filter(({ value }) => value !== 0).map(({ metric, value }) => [
      `${metric.stage_name ?? ""} ${metric.status ?? metric.outcome}`,
      value,
    ]),
  );
}

/** Returns the expected result of `countsOf()`, for the pipeline or for its stages. */
function expectedCounts(ofStages: boolean): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { times, ends } of QUESTIONS) {
    for (const [stage, outcome] of Object.entries(ends)) {
      if ((stage !== "") !== ofStages) continue;
      const key = `${stage} ${outcome}`;
      counts[key] = (counts[key] ?? 0) + times;
    }
  }
  return counts;
}

/**
 * The quantile of a histogram, as Prometheus defines it: the observations of a
 * bucket lie evenly between its bounds.
 *
 * @see {@link https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile | histogram_quantile()}
 */
function histogramQuantile(
  quantile: number,
  buckets: readonly (readonly [bound: number, count: number])[],
): number {
  const rank = quantile * buckets.at(-1)![1];
  const i = buckets.findIndex(([, count]) => count >= rank);
  const [bound, count] = buckets[i]!;
  const [lowerBound, lowerCount] = buckets[i - 1] ?? [0, 0];
  if (bound === Infinity) return lowerBound;
  return lowerBound +
    (bound - lowerBound) * (rank - lowerCount) / (count - lowerCount);
}

/** The buckets of a stage's successes, in a scrape. */
function bucketsOf(text: string, stage: string): [number, number][] {
  const bucket = new RegExp(
    `^${PREFIX}stage_duration_seconds_bucket\\{.*stage_name="${stage}",outcome="success",le="(.*)"\\} (.*)$`,
    "gm",
  );
  return [...text.matchAll(bucket)].map(([, le = "", count]) => [
    Number(le.replace("+Inf", "Infinity")),
    Number(count),
  ]);
}

Deno.test({
  name: "Prometheus scrapes every count of the demo, in both formats",
  ignore: !isInstalled("prometheus", "scraping by a real Prometheus"),
  async fn() {
    await using folder = await createFolder();
    await using demo = await startDemo(folder.path);
    const jobs = {
      openmetrics: startProxy(demo.url),
      text: startProxy(demo.url, "text/plain;version=0.0.4"),
    };
    await using _openmetrics = jobs.openmetrics.server;
    await using _text = jobs.text.server;
    for (const { question, times } of QUESTIONS) {
      for (let i = 0; i < times; i++) {
        const url = `${demo.url}/ask?q=${encodeURIComponent(question)}`;
        await (await fetch(url)).text();
      }
    }
    const scraped = await (await fetch(`${demo.url}/metrics`)).text();

    await using prometheus = await startPrometheus({
      openmetrics: addressOf(jobs.openmetrics.server),
      text: addressOf(jobs.text.server),
    });
    for (const job of ["openmetrics", "text"]) {
      await eventually(async () => {
        const pipelines = `${PREFIX}pipeline_total{job="${job}"}`;
        const stages = `${PREFIX}stage_total{job="${job}"}`;
        assertEquals(
          countsOf(await prometheus.query(pipelines)),
          expectedCounts(false),
        );
        assertEquals(
          countsOf(await prometheus.query(stages)),
          expectedCounts(true),
        );
      });
      for (const stage of ["intent", "processing"]) {
        const series =
          `${PREFIX}stage_duration_seconds_bucket{job="${job}",stage_name="${stage}",outcome="success"}`;
        for (const quantile of [0.5, 0.95]) {
          const [answer] = await prometheus.query(
            `histogram_quantile(${quantile}, ${series})`,
          );
          assertEquals(
            answer?.value.toPrecision(12),
            histogramQuantile(quantile, bucketsOf(scraped, stage))
              .toPrecision(12),
          );
        }
      }
      assertEquals(
        await prometheus.query(`sum(${PREFIX}stage_in_progress{job="${job}"})`),
        [{ metric: {}, value: 0 }],
      );
    }
    assertEquals([...jobs.openmetrics.types], [
      "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ]);
    assertEquals([...jobs.text.types], [
      "text/plain; version=0.0.4; charset=utf-8",
    ]);
  },
});
