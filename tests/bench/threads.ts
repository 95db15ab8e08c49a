/**
 * Measures how long a scrape of several threads takes, and how long it pauses each of
 * them, where all of them have large foreign metrics.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { parentPort, Worker, workerData } from "node:worker_threads";
import { Histogram } from "prom-client";
import { configure, metricsHandler } from "../../mod.ts";
import { medianOf } from "./measure.ts";

/** The file in which Linux shows the CPU time of a thread. */
const SCHEDULE = "/proc/thread-self/schedstat";
const hasSchedule = existsSync(SCHEDULE);

const THREADS = 4;
const LABEL_SETS = 1_500;
const ROUNDS = 9;

/** Figures of scrapes; times in milliseconds. */
interface ThreadScrape {
  /** From the request to the last byte. */
  readonly duration: number;
  /** The longest delay of a timer of one millisecond in the scraped thread. */
  readonly scrapedStall: number;
  /** The longest delay in any other thread. */
  readonly otherStall: number;
}

/** All figures of threads. */
export interface ThreadFigures {
  /** The first scrape, for which threads send everything. */
  readonly first: ThreadScrape;
  /** The first scrape of a thread that has just started. */
  readonly newThread: ThreadScrape;
  /** The median of scrapes after which every value had changed. */
  readonly changed: ThreadScrape;
  /** The size of the last answer. */
  readonly bytes: number;
}

interface Thread {
  call<C extends keyof Commands>(
    command: C,
  ): Promise<Awaited<ReturnType<Commands[C]>>>;
  terminate(): Promise<unknown>;
}

/** Measures scrapes of four threads that have 1,500 label sets each. */
export async function measureThreads(): Promise<ThreadFigures> {
  const threads = await startThreads(THREADS);
  let bytes = 0;

  async function scrape(scraped: Thread): Promise<ThreadScrape> {
    await Promise.all(threads.map((thread) => thread.call("observe")));
    await Promise.all(threads.map((thread) => thread.call("watch")));
    const { duration, bytes: size } = await scraped.call("scrape");
    bytes = size;
    const stalls = await Promise.all(
      threads.map((thread) => thread.call("stall")),
    );
    const others = stalls.filter((_, i) => threads[i] !== scraped);
    return {
      duration,
      scrapedStall: stalls[threads.indexOf(scraped)]!,
      otherStall: Math.max(...others),
    };
  }

  const first = await scrape(threads[0]!);
  const rounds: ThreadScrape[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rounds.push(await scrape(threads[round % THREADS]!));
  }
  threads.push(...await startThreads(1));
  const newThread = await scrape(threads.at(-1)!);
  await Promise.all(threads.map((thread) => thread.terminate()));
  const median = (name: keyof ThreadScrape) =>
    medianOf(rounds, (round) => round[name]);
  return {
    first,
    newThread,
    changed: {
      duration: median("duration"),
      scrapedStall: median("scrapedStall"),
      otherStall: median("otherStall"),
    },
    bytes,
  };
}

function startThreads(count: number): Promise<Thread[]> {
  return Promise.all(Array.from({ length: count }, startThread));
}

/** Starts this program once more, as a thread that calls `serveThread`. */
async function startThread(): Promise<Thread> {
  const worker = new Worker(process.argv[1]!, { workerData: "bench" });
  const answer = () =>
    new Promise((resolve, reject) => {
      worker.once("message", resolve);
      worker.once("error", reject);
    });
  worker.setMaxListeners(0);
  await answer();
  const thread: Thread = {
    async call(command) {
      const answered = answer();
      worker.postMessage(command);
      return await answered as never;
    },
    terminate: () => worker.terminate(),
  };
  await thread.call("warmUp");
  return thread;
}

/** Whether this is a thread that was started to be measured. */
export function isMeasuredThread(): boolean {
  return workerData === "bench";
}

type Commands = ReturnType<typeof createCommands>;

/** Answers the commands of the thread that measures. */
export function serveThread(): void {
  const commands = createCommands();
  parentPort!.on("message", async (command: keyof Commands) => {
    parentPort!.postMessage(await commands[command]());
  });
  parentPort!.postMessage("ready");
}

function createCommands() {
  configure({ onIssue() {} });
  const handler = metricsHandler({ workers: { timeout: 30_000 } });
  const histogram = new Histogram({
    name: "http_request_duration_seconds",
    help: "Duration of HTTP requests",
    labelNames: ["method", "route", "code"],
  });
  let [last, stall] = [0, 0];
  setInterval(() => {
    const now = runningTime();
    stall = Math.max(stall, now - last);
    last = now;
  }, 1);

  return {
    /** Warms up the compiler: the client reads all label sets at once. */
    async warmUp() {
      for (let i = 0; i < 10; i++) {
        this.observe();
        await histogram.get();
      }
    },
    observe() {
      for (let i = 0; i < LABEL_SETS; i++) {
        const route = `/things/${Math.floor(i / 5)}/parts`;
        const code = ["200", "204", "400", "404", "500"][i % 5]!;
        histogram.observe({ method: "GET", route, code }, Math.random());
      }
    },
    async watch() {
      // Wait until the timer runs undisturbed.
      await new Promise((resolve) => setTimeout(resolve, 50));
      last = runningTime();
      stall = 0;
    },
    async scrape() {
      const start = performance.now();
      const { body } = await handler(new Request("http://localhost/"));
      let bytes = 0;
      for await (const chunk of body!) bytes += chunk.length;
      return { duration: performance.now() - start, bytes };
    },
    async stall() {
      // Let the timer fire once more.
      await new Promise((resolve) => setTimeout(resolve, 5));
      return stall;
    },
  };
}

/**
 * Returns the CPU time of this thread in milliseconds, so that other load on the machine
 * does not count as a pause. Without Linux, it returns the monotonic time.
 */
function runningTime(): number {
  if (!hasSchedule) return performance.now();
  return Number(readFileSync(SCHEDULE, "utf8").split(" ")[0]) / 1e6;
}
