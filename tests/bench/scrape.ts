/**
 * Measures how long scrapes take, and how long they pause the event loop.
 *
 * @module
 */
import * as successor from "@prometheus-io/client";
import * as promClient from "prom-client";
import { createStageMetrics } from "../../mod.ts";
import { collectGarbage, medianOf, takeTurns } from "./measure.ts";
import { byHand, type PromClient } from "./prom_client.ts";

/** How often each way to scrape is timed, one after the other. */
const ROUNDS = 9;

/** One scrape, or the median of several; times in milliseconds. */
export interface Scrape {
  /** From the request to the last byte. */
  readonly duration: number;
  /** The longest delay of a timer of one millisecond meanwhile. */
  readonly stall: number;
  /** The size of the body. */
  readonly bytes: number;
}

const CONTENDERS = [
  "text",
  "openMetrics",
  "textGzip",
  "openMetricsGzip",
  "promClient",
  "successor",
] as const;

type Contender = typeof CONTENDERS[number];

/** The figures of scrapes. */
export type ScrapeFigures =
  & Readonly<Record<Contender, Scrape>>
  & {
    readonly durationOverPromClient: number;
    readonly stallOverPromClient: number;
  };

/** A way to scrape some label sets of stages. */
interface Scraper {
  /** Changes all label sets. */
  change(): void;
  /** Scrapes, and returns the number of bytes. */
  scrape(): Promise<number>;
}

type StageName = readonly [pipeline: string, stage: string];

/** Times scrapes of label sets of stages, all of which have changed. */
export async function measureScrapes(
  labelSets: number,
): Promise<ScrapeFigures> {
  const names = Array.from(
    { length: labelSets },
    (_, i): StageName => [`pipeline_${Math.floor(i / 10)}`, `stage_${i % 10}`],
  );
  const scrapers: Record<Contender, Scraper> = {
    ...own(names),
    promClient: byClient(promClient, names),
    successor: byClient(successor as unknown as PromClient, names),
  };
  const rounds = await takeTurns(ROUNDS, scrapers, timeScrape);
  return {
    ...Object.fromEntries(CONTENDERS.map((name) => [name, {
      duration: medianOf(rounds, (round) => round[name].duration),
      stall: medianOf(rounds, (round) => round[name].stall),
      bytes: medianOf(rounds, (round) => round[name].bytes),
    }])) as Record<Contender, Scrape>,
    durationOverPromClient: medianOf(
      rounds,
      ({ text, promClient }) => text.duration / promClient.duration,
    ),
    stallOverPromClient: medianOf(
      rounds,
      ({ text, promClient }) => text.stall / promClient.stall,
    ),
  };
}

function own(names: readonly StageName[]) {
  const { metricsHandler, recordStageMetrics } = createStageMetrics({
    registry: new promClient.Registry(),
    cardinalityLimit: Infinity,
  });
  const handler = metricsHandler();

  function scraper(accept: string, coding: string): Scraper {
    return {
      change() {
        for (const [pipelineName, stageName] of names) {
          const durationSec = Math.random();
          const outcome = "success";
          recordStageMetrics({ pipelineName, stageName, durationSec, outcome });
        }
      },
      async scrape() {
        const headers = { "Accept": accept, "Accept-Encoding": coding };
        const request = new Request("http://localhost/", { headers });
        const { body } = await handler(request);
        let bytes = 0;
        for await (const chunk of body!) bytes += chunk.length;
        return bytes;
      },
    };
  }

  return {
    text: scraper("text/plain", "identity"),
    openMetrics: scraper("application/openmetrics-text", "identity"),
    textGzip: scraper("text/plain", "gzip"),
    openMetricsGzip: scraper("application/openmetrics-text", "gzip"),
  };
}

function byClient(client: PromClient, names: readonly StageName[]): Scraper {
  const { registry, recordStage } = byHand(client);
  const encoder = new TextEncoder();
  return {
    change() {
      for (const [pipeline, stage] of names) {
        recordStage(pipeline, stage, Math.random());
      }
    },
    async scrape() {
      return encoder.encode(await registry.metrics()).length;
    },
  };
}

async function timeScrape({ change, scrape }: Scraper): Promise<Scrape> {
  change();
  collectGarbage();
  let last: number;
  let stall = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    stall = Math.max(stall, now - last - 1);
    last = now;
  }, 1);
  // Wait until the timer runs undisturbed.
  await new Promise((resolve) => setTimeout(resolve, 20));
  stall = 0;
  const start = last = performance.now();
  const bytes = await scrape();
  const duration = performance.now() - start;
  // Let the timer fire once more.
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearInterval(timer);
  return { duration, stall, bytes };
}
