/**
 * Runs the measurement that the argument names, in the current runtime, and prints the
 * figures. Each runs in its own process, as garbage of one would slow down the next.
 *
 * @module
 */
import process from "node:process";
import { measureMemory, type MemoryFigures } from "./memory.ts";
import { measurePipelines, type PipelineFigures } from "./pipelines.ts";
import { measureScrapes, type ScrapeFigures } from "./scrape.ts";
import {
  isMeasuredThread,
  measureThreads,
  serveThread,
  type ThreadFigures,
} from "./threads.ts";

/** All figures of a runtime. */
export interface Figures {
  readonly pipelines: PipelineFigures;
  readonly largeScrape: ScrapeFigures;
  readonly smallScrape: ScrapeFigures;
  readonly memory: MemoryFigures;
  readonly threads: ThreadFigures;
}

const MEASURES: { readonly [K in keyof Figures]: () => Promise<Figures[K]> } = {
  pipelines: measurePipelines,
  largeScrape: () => measureScrapes(10_000),
  smallScrape: () => measureScrapes(100),
  memory: measureMemory,
  threads: measureThreads,
};

if (isMeasuredThread()) {
  serveThread();
} else {
  const measure = MEASURES[process.argv[2] as keyof Figures];
  console.log(JSON.stringify(await measure()));
}
