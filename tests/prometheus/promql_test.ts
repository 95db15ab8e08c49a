import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { eventually } from "../support/wait.ts";
import {
  addressOf,
  isInstalled,
  type QueryResult,
  serve,
  startPrometheus,
} from "./prometheus.ts";

/** Returns the questions of examples/promql.md, with their queries. */
function readQueries(): Map<string, string> {
  const readme = Deno.readTextFileSync(
    new URL("../../examples/promql.md", import.meta.url),
  );
  const entries = readme.matchAll(
    /\*\*([^*]+\?)\*\*(?:(?!```)[^*])*```promql\n([^`]+)```/g,
  );
  return new Map([...entries].map(([, question = "", query = ""]) => [
    question.replace(/\s+/g, " "),
    query,
  ]));
}

/**
 * The runs that a round records. The second round records three times as many: all
 * series grow in proportion, so `rate()` extrapolates them by the same factor, and their
 * ratios are exact.
 */
const ROUND = [
  { pipeline: "a", lane: "x", status: "success", seconds: 0.2, times: 6 },
  { pipeline: "a", lane: "x", status: "success", seconds: 3, times: 1 },
  { pipeline: "a", lane: "y", status: "failure", seconds: 0.1, times: 2 },
  { pipeline: "a", lane: "y", status: "timeout", seconds: 4, times: 1 },
  { pipeline: "fine", lane: "y", status: "success", seconds: 0.1, times: 2 },
  { pipeline: "never", lane: "z", status: "failure", seconds: 0.1, times: 1 },
] as const;

/** The stages of a round, all of pipeline "a" and lane "x". */
const STAGES = [
  { stage: "fast", outcome: "success", seconds: 0.015, times: 10 },
  { stage: "slow", outcome: "success", seconds: 0.15, times: 9 },
  { stage: "slow", outcome: "timeout", seconds: 0.3, times: 11 },
] as const;

/** Returns the exposition of the Python module: `error`, no zeros, four metrics. */
function pythonSamples(rounds: number): string {
  const labels = 'lane="x",pipeline_name="python"';
  const total = "lukhas_orchestration_pipeline_total";
  const duration = "lukhas_orchestration_pipeline_duration_seconds";
  const lines = [
    `${total}{lane="x",pipeline_name="python fine",status="success"} ${rounds}`,
  ];
  for (const [status, times] of [["success", 3], ["error", 1]] as const) {
    const count = times * rounds;
    lines.push(
      `${total}{${labels},status="${status}"} ${count}`,
      // Each took 0.3 s.
      `${duration}_bucket{${labels},status="${status}",le="0.25"} 0`,
      `${duration}_bucket{${labels},status="${status}",le="1.0"} ${count}`,
      `${duration}_bucket{${labels},status="${status}",le="+Inf"} ${count}`,
      `${duration}_sum{${labels},status="${status}"} ${0.3 * count}`,
      `${duration}_count{${labels},status="${status}"} ${count}`,
    );
  }
  return `${lines.join("\n")}\n`;
}

/** Returns the values by their labels, without the ratios of pipelines that never ran. */
function byLabels(results: readonly QueryResult[]): Record<string, number> {
  return Object.fromEntries(
    results.filter(({ value }) => !Number.isNaN(value)).map(
      ({ metric, value }) => [
        Object.values(metric).sort().join(" / "),
        // Extrapolation causes rounding errors.
        Number(value.toPrecision(9)),
      ],
    ),
  );
}

const HOUR = 3600;

/** The checks of the answers, by question. */
const ANSWERS: Record<string, (answer: Record<string, number>) => void> = {
  "Which share of each pipeline's runs does not succeed?": (answer) =>
    assertEquals(answer, {
      a: 0.3,
      fine: 0,
      never: 1,
      nightly: 0,
      python: 0.25,
      "python fine": 0,
    }),
  "How long do 95 % of each stage's runs take at most, whatever their outcome?":
    (
      answer,
    ) =>
      assertEquals(answer, {
        // All of them within (0.01, 0.02].
        "a / fast": 0.0195,
        // The 19th of 20, of which 9 are within (0.1, 0.2] and 11 within (0.2, 0.5].
        "a / slow": Number((0.2 + 0.3 * 10 / 11).toPrecision(9)),
      }),
  "Which share of the runs succeeds within 250 ms?": (answer) =>
    assertEquals(answer, { a: 0.6, fine: 1, never: 0, nightly: 1, python: 0 }),
  "Which stage is the slowest, on average?": (answer) =>
    // 9 of 0.15 s and 11 of 0.3 s.
    assertEquals(answer, { "a / slow": 0.2325 }),
  "How many runs a second are there, by lane?": (answer) => {
    const ratios = Object.entries(answer).map((
      [lane, rate],
    ) => [lane, Number((rate / answer.z!).toPrecision(6))]);
    // Lane "x" has 7 own runs and 5 of the Python module, "y" has 5 and "z" 2.
    assertEquals(Object.fromEntries(ratios), { x: 6, y: 2.5, z: 1 });
  },
  "Which stages timed out within the last hour, and how often?": (answer) =>
    assertEquals(Object.keys(answer), ["a / slow"]),
  "Which pipelines are stuck, and how many of their runs?": (answer) =>
    assertEquals(answer, { stuck: 2 }),
  "Has the nightly run not succeeded for 26 hours?": (
    { nightly, ...others },
  ) => {
    assertEquals(Math.floor(nightly! / HOUR), 27);
    assertEquals(others, { never: Infinity });
  },
};

Deno.test({
  name:
    "examples/promql.md answers its questions, for a fleet with Python services",
  ignore: !isInstalled("prometheus", "examples/promql.md"),
  async fn() {
    const metrics = createStageMetrics({ registry: new Registry(), lane: "z" });
    // A registry of its own, as each reads the system time once a second.
    const past = createStageMetrics({ registry: new Registry(), lane: "z" });
    let rounds = 0;
    function recordRound(): void {
      rounds++;
      for (const { pipeline, lane, status, seconds, times } of ROUND) {
        for (let i = 0; i < times; i++) {
          metrics.recordPipelineMetrics({
            pipelineName: pipeline,
            lane,
            status,
            durationSec: seconds,
          });
        }
      }
      for (const { stage, outcome, seconds, times } of STAGES) {
        for (let i = 0; i < times; i++) {
          metrics.recordStageMetrics({
            pipelineName: "a",
            stageName: stage,
            lane: "x",
            outcome,
            durationSec: seconds,
          });
        }
      }
      recordLongAgo(27 * HOUR, () => past.pipeline("nightly", () => {}));
    }

    const { promise, resolve } = Promise.withResolvers<void>();
    const stuck = [1, 2].map(() => metrics.pipeline("stuck", () => promise));
    const registry = [metrics.registry, past.registry];
    const handler = metrics.metricsHandler({ registry });
    await using server = serve(async (request) => {
      const own = await handler(new Request(request.url));
      return new Response(await own.text() + pythonSamples(rounds), own);
    });
    recordRound();
    await using prometheus = await startPrometheus({
      fleet: addressOf(server),
    });
    const waitForRounds = () =>
      eventually(async () => {
        const answer = await prometheus.query(
          'lukhas_orchestration_pipeline_total{pipeline_name="never", status="failure"}',
        );
        assertEquals(answer.map(({ value }) => value), [rounds]);
      });
    await waitForRounds();
    for (let i = 0; i < 3; i++) recordRound();
    await waitForRounds();

    const queries = readQueries();
    assertEquals([...queries.keys()].sort(), Object.keys(ANSWERS).sort());
    for (const [question, query] of queries) {
      const answer = byLabels(await prometheus.query(query));
      try {
        ANSWERS[question]!(answer);
      } catch (cause) {
        throw new Error(`${question} ${JSON.stringify(answer)}`, { cause });
      }
    }
    resolve();
    await Promise.all(stuck);
  },
});

/** Calls a function with the system clock set back by some seconds. */
function recordLongAgo(seconds: number, fn: () => void): void {
  const { now } = Date;
  const past = now() - seconds * 1000;
  try {
    Date.now = () => past;
    fn();
  } finally {
    Date.now = now;
  }
}
