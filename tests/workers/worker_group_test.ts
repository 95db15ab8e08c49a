import { assert, assertEquals, assertThrows } from "@std/assert";
import { env } from "node:process";
import { BroadcastChannel } from "node:worker_threads";
import {
  metricsHandler,
  recordPipelineMetrics,
  recordStageMetrics,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { CHANNEL_NAME } from "../support/channel.ts";
import { runFixture } from "../support/process.ts";
import { exemplarOf } from "../support/spans.ts";
import { startThread, type Thread } from "../support/threads.ts";
import { until } from "../support/wait.ts";

const PREFIX = "lukhas_orchestration_";

/** The maximum size of a chunk, in bytes. */
const MAX_CHUNK_SIZE = 64 * 1024;

type Options = Parameters<typeof startThread>[0];

/** Runs a test with threads, and ends them. */
async function withThreads(
  options: readonly Options[],
  test: (...threads: Thread[]) => Promise<void>,
): Promise<void> {
  const threads = await Promise.all(options.map((each) => startThread(each)));
  try {
    await test(...threads);
  } finally {
    await Promise.all(threads.map((thread) => thread.end()));
  }
}

/** Returns the value of a series in a text, `undefined` if it is missing. */
function valueOf(text: string, series: string): number | undefined {
  const line = text.split("\n").find((line) => line.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length));
}

function totalOf(text: string, name: string): number | undefined {
  const labels = `lane="test",pipeline_name="${name}",status="failure"`;
  return valueOf(text, `${PREFIX}pipeline_total{${labels}}`);
}

function inProgressOf(text: string, name: string): number | undefined {
  const labels = `lane="test",pipeline_name="${name}"`;
  return valueOf(text, `${PREFIX}pipeline_in_progress{${labels}}`);
}

function unresponsiveOf(text: string): number | undefined {
  const labels = 'issue="worker_unresponsive"';
  return valueOf(text, `${PREFIX}instrumentation_issues_total{${labels}}`);
}

/** Records the kinds of the messages that threads send, and the sizes of their chunks. */
function observeMessages(): {
  readonly kinds: string[];
  readonly sizes: number[];
  close(): void;
} {
  const kinds: string[] = [];
  const sizes: number[] = [];
  const channel = new BroadcastChannel(CHANNEL_NAME) as unknown as
    & { onmessage: (event: { data: { bytes: Uint8Array } }) => void }
    & { close(): void };
  channel.onmessage = ({ data: { bytes } }) => {
    sizes.push(bytes.length);
    const kind = /^\{"kind":"(\w+)"/m.exec(new TextDecoder().decode(bytes));
    if (kind !== null) kinds.push(kind[1]!);
  };
  return { kinds, sizes, close: () => channel.close() };
}

/** Scrapes a single instance that has recorded everything. */
async function scrapeAlone(
  record: () => void,
  accept: string,
): Promise<string> {
  const options = { lane: "test", onIssue() {} };
  return await captureMetrics(options, async ({ metricsHandler }) => {
    record();
    const headers = { Accept: accept };
    const request = new Request("http://localhost/", { headers });
    return await (await metricsHandler()(request)).text();
  });
}

/** Returns the sorted lines without timestamps, which differ from run to run. */
function linesOf(text: string): string[] {
  return text.split("\n").filter((line) => !line.includes("_last_end_"))
    .sort();
}

Deno.test("WorkerGroup keeps the last exemplar of each bucket, also of exited workers", async () => {
  const options = [{ firstSpan: 1 }, { firstSpan: 11 }];
  await withThreads(options, async (a, b) => {
    const exemplarsOf = async (thread: Thread) => {
      const text = await thread.call("scrape", "application/openmetrics-text");
      const line =
        /(?:pipeline_name="(\w+)",status="success",le="0.01"}|their_traced_total) \d+ # (.*) \S+$/gm;
      return [...text.matchAll(line)]
        .map(([, name = "theirs", exemplar]) => `${name} ${exemplar}`)
        .sort();
    };
    await a!.call("run", "last_b");
    await b!.call("run", "last_a");
    await a!.call("run", "only_a");
    await a!.call("setForeignExemplar", { id: "a" }, 0.5);
    // Gives later exemplars later timestamps.
    await new Promise((resolve) => setTimeout(resolve, 5));
    await a!.call("run", "last_a");
    await b!.call("run", "last_b");
    await b!.call("setForeignExemplar", { id: "b" }, Infinity);
    const expected = [
      `last_a ${exemplarOf(3)} 0`,
      `last_b ${exemplarOf(12)} 0`,
      `only_a ${exemplarOf(2)} 0`,
      'theirs {id="b"} +Inf',
    ];
    assertEquals(await exemplarsOf(a!), expected);
    assertEquals(await exemplarsOf(b!), expected);
    await b!.end();
    assertEquals(await exemplarsOf(a!), expected);
  });
});

Deno.test("metricsHandler() with workers shows the same in every worker and format", async () => {
  await withThreads([{}, {}, { serves: false }], async (a, b, c) => {
    const runs: [Thread, string, number, number][] = [
      [a!, "both", 0.25, 1],
      [b!, "both", 0.5, 2],
      [c!, "both", 8, 3],
      [a!, "only a", 0.125, 4],
      [c!, 'only "c"\n', 0.125, 5],
    ];
    for (const [thread, name, duration, count] of runs) {
      await thread.call("record", name, duration, count);
    }
    const recordAll = () => {
      for (const [, pipelineName, durationSec, count] of runs) {
        for (let i = 0; i < count; i++) {
          recordStageMetrics({
            pipelineName,
            stageName: "s",
            durationSec,
            outcome: "success",
          });
          recordPipelineMetrics({
            pipelineName,
            durationSec,
            status: "failure",
          });
        }
      }
    };
    for (const accept of ["text/plain", "application/openmetrics-text"]) {
      const expected = linesOf(await scrapeAlone(recordAll, accept));
      for (const thread of [a!, b!]) {
        assertEquals(linesOf(await thread.call("scrape", accept)), expected);
      }
    }
  });
});

Deno.test("WorkerGroup sums running scopes, and shows the latest end", async () => {
  await withThreads([{}, {}], async (a, b) => {
    // The monotonic clocks of threads differ.
    await a!.call("advance", 1e9);
    await a!.call("open", "p");
    await a!.call("open", "p");
    await b!.call("open", "p");
    await b!.call("setSystemTime", 1_700_000_000_000);
    await b!.call("record", "p", 1);
    await a!.call("setSystemTime", 1_700_000_000_500);
    await a!.call("record", "p", 1);
    const text = await b!.call("scrape");
    assertEquals(inProgressOf(text, "p"), 3);
    const labels = 'lane="test",pipeline_name="p"';
    const checkUnfinished = (text: string) => {
      const series = `${PREFIX}pipeline_unfinished_seconds{${labels}}`;
      const unfinished = valueOf(text, series)!;
      assert(unfinished > 0 && unfinished < 1000, `${unfinished}`);
    };
    checkUnfinished(text);
    await a!.call("open", "p");
    assertEquals(inProgressOf(await b!.call("scrape"), "p"), 4);
    await withThreads(
      [{}],
      async (c) => checkUnfinished(await c!.call("scrape")),
    );
    const last = valueOf(
      text,
      `${PREFIX}pipeline_last_end_timestamp_seconds{${labels},status="failure"}`,
    );
    assertEquals(last, 1_700_000_000.5);
  });
});

Deno.test("WorkerGroup shows every count in a scrape of any worker", async () => {
  await withThreads([{}, {}, {}], async (...threads) => {
    let count = 0;
    for (let round = 0; round < 30; round++) {
      for (const [i, thread] of threads.entries()) {
        await thread.call("record", "p", 0.1, i + 1);
        count += i + 1;
      }
      const scraped = threads[round % threads.length]!;
      assertEquals(totalOf(await scraped.call("scrape"), "p"), count);
    }
  });
});

Deno.test("WorkerGroup of a new worker includes earlier counts, also of exited workers", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("record", "p", 0.1, 1);
    await b!.call("record", "p", 0.1, 2);
    await a!.call("scrape");
    await b!.call("record", "p", 0.1, 4);
    await b!.call("open", "p");
    b!.call("exit");
    await b!.ended;
    await withThreads([{}], async (c) => {
      assertEquals(totalOf(await c!.call("scrape"), "p"), 7);
      await a!.terminate();
      await withThreads([{ timeout: 1000 }], async (d) => {
        const text = await d!.call("scrape");
        assertEquals(totalOf(text, "p"), 7);
        assertEquals(inProgressOf(text, "p"), 0);
      });
    });
  });
});

Deno.test("WorkerGroup requests the full state from one worker when it joins", async () => {
  await withThreads([{}, {}, {}], async (...threads) => {
    for (const thread of threads) {
      await thread.call("record", "p", 0.1);
      await thread.call("scrape");
    }
    const observer = observeMessages();
    await withThreads([{}], async (d) => {
      assertEquals(totalOf(await d!.call("scrape"), "p"), 3);
    });
    observer.close();
    assertEquals(
      observer.kinds.filter((kind) => kind === "syncRequest").length,
      1,
    );
  });
});

for (const end of ["exit", "finish", "fail"] as const) {
  const name =
    `WorkerGroup keeps counters and drops gauges of a worker after ${end}`;
  // While it collects coverage, Deno keeps idle workers running.
  const ignore = end === "finish" && env.DENO_COVERAGE_DIR !== undefined;
  Deno.test({
    name,
    ignore,
    fn: async () => {
      await withThreads([{}, {}], async (a, b) => {
        await b!.call("record", "p", 0.1, 2);
        await b!.call("setForeign", 2);
        await a!.call("scrape");
        await b!.call("record", "p", 0.1, 3);
        await b!.call("open", "p");
        b!.call(end).catch(() => {});
        await b!.ended;
        const text = await a!.call("scrape");
        assertEquals(totalOf(text, "p"), 5);
        assertEquals(inProgressOf(text, "p"), 0);
        assertEquals(valueOf(text, "their_total"), 2);
        assertEquals(valueOf(text, "their_seconds_count"), 1);
        assertEquals(valueOf(text, 'their_sum{l="a"}'), undefined);
        assertEquals(unresponsiveOf(text), 0);
      });
    },
  });
}

Deno.test("WorkerGroup loses only the unpublished counts of a terminated worker", async () => {
  await withThreads(
    [{ timeout: 1000 }, { timeout: 1000 }, {}],
    async (a, b, c) => {
      await a!.call("record", "p", 0.1, 1);
      await c!.call("record", "p", 0.1, 2);
      assertEquals(totalOf(await a!.call("scrape"), "p"), 3);
      await c!.call("record", "p", 0.1, 4);
      await c!.terminate();
      await b!.call("record", "p", 0.1, 8);
      for (const thread of [a!, b!]) {
        assertEquals(totalOf(await thread.call("scrape"), "p"), 11);
      }
    },
  );
});

Deno.test("metricsHandler() with workers counts every request under load over HTTP", async () => {
  const short = { timeout: 1000 };
  await withThreads([short, short, {}], async (a, b, c) => {
    const ports = [await a!.call("listen"), await b!.call("listen")];
    let [sent, answered, published, last] = [0, 0, 0, 0];
    const request = async (port: number) => {
      sent++;
      await (await fetch(`http://127.0.0.1:${port}/`)).body?.cancel();
      answered++;
    };
    const scrape = async (port: number) => {
      const least = answered + published;
      const response = await fetch(`http://127.0.0.1:${port}/metrics`);
      const total = totalOf(await response.text(), "p") ?? 0;
      const most = sent + published;
      assert(total >= Math.max(least, last), `${total}: ${least}, ${last}`);
      assert(total <= most, `${total} > ${most}`);
      last = total;
    };
    const load = async () => {
      let isDone = false;
      const client = async (_: unknown, i: number) => {
        for (let j = 0; j < 50; j++) await request(ports[(i + j) % 2]!);
      };
      const scraping = (async () => {
        for (let i = 0; !isDone; i++) await scrape(ports[i % 2]!);
      })();
      await Promise.all(Array.from({ length: 8 }, client))
        .finally(() => isDone = true);
      await scraping;
    };

    await load();
    await c!.call("record", "p", 0.1, published = 10);
    await scrape(ports[0]!);
    await c!.call("record", "p", 0.1, 7);
    await c!.terminate();
    await load();
    for (const port of ports) {
      await scrape(port);
      assertEquals(last, answered + published);
    }
  });
});

Deno.test("WorkerGroup waits for a hanging worker once, and shows its last values", async () => {
  const short = { timeout: 1000 };
  await withThreads([short, short, short], async (a, b, c) => {
    await c!.call("record", "p", 0.1, 1);
    await c!.call("open", "p");
    assertEquals(totalOf(await a!.call("scrape"), "p"), 1);
    await c!.call("record", "p", 0.1, 2);
    const wake = await c!.hang();
    await b!.call("record", "p", 0.1, 4);

    const first = await a!.call("scrape");
    assertEquals(totalOf(first, "p"), 5);
    assertEquals(inProgressOf(first, "p"), 1);
    assertEquals(unresponsiveOf(first), 1);
    // A second wait would be counted again.
    assertEquals(unresponsiveOf(await a!.call("scrape")), 1);
    // A new worker does not wait for it, and shows its last values.
    await withThreads([short], async (d) => {
      const text = await d!.call("scrape");
      assertEquals(totalOf(text, "p"), 5);
      assertEquals(unresponsiveOf(text), 1);
    });

    wake();
    await c!.call("record", "p", 0.1, 8);
    // Until it sends a message, it is not awaited.
    let text = "";
    for (let i = 0; i < 100 && totalOf(text, "p") !== 15; i++) {
      text = await a!.call("scrape");
    }
    assertEquals(totalOf(text, "p"), 15);
    // Now it is awaited again, once.
    const wakeAgain = await c!.hang();
    const before = unresponsiveOf(text)!;
    assertEquals(unresponsiveOf(await a!.call("scrape")), before + 1);
    wakeAgain();
  });
});

Deno.test("WorkerGroup does not suspect peers after a blocked event loop", async () => {
  await withThreads([{ timeout: 1000 }, {}], async (a, b) => {
    await b!.call("record", "p", 0.1, 1);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 1);
    await b!.call("record", "p", 0.1, 2);
    const observer = observeMessages();
    const wakeB = await b!.hang();
    const scraping = a!.call("scrape");
    await until(() => observer.kinds.includes("collect"));
    const wakeA = await a!.hang();
    wakeB();
    await until(() => observer.kinds.includes("ack"));
    // By the clock, the timeout has passed.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    wakeA();
    const text = await scraping;
    observer.close();
    assertEquals([totalOf(text, "p"), unresponsiveOf(text)], [3, 0]);
  });
});

Deno.test("WorkerGroup retires workers that left, and sends them to new workers", async () => {
  await withThreads([{}, {}, {}], async (a, b, c) => {
    await a!.call("record", "p", 0.1, 1);
    await b!.call("record", "p", 0.1, 2);
    await b!.call("setForeign", 3);
    await c!.call("record", "p", 0.1, 4);
    await c!.call("setForeign", 5);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 7);
    b!.call("exit");
    c!.call("exit");
    await Promise.all([b!.ended, c!.ended]);
    await a!.call("advance", 60_000);
    const check = async (thread: Thread) => {
      const text = await thread.call("scrape");
      assertEquals(totalOf(text, "p"), 7);
      assertEquals(valueOf(text, "their_total"), 8);
      assertEquals(valueOf(text, "their_seconds_count"), 2);
    };
    await check(a!);
    await check(a!);
    await withThreads([{}], async (d) => {
      await check(d!);
      await check(a!);
    });
  });
});

Deno.test("WorkerGroup drops the gauges of an unreachable worker until it answers", async () => {
  const short = { timeout: 1000 };
  await withThreads([short, short, short], async (a, b, c) => {
    await c!.call("record", "p", 0.1, 1);
    await c!.call("open", "p");
    await a!.call("scrape");
    const wake = await c!.hang();
    assertEquals(inProgressOf(await a!.call("scrape"), "p"), 1);
    await a!.call("advance", 500_000);
    assertEquals(inProgressOf(await a!.call("scrape"), "p"), 1);
    await a!.call("advance", 200_000);
    await b!.call("record", "p", 0.1, 2);
    const text = await a!.call("scrape");
    assertEquals([totalOf(text, "p"), inProgressOf(text, "p")], [3, 0]);
    // A new worker receives how long it has been unresponsive.
    await withThreads([short], async (d) => {
      const text = await d!.call("scrape");
      assertEquals(totalOf(text, "p"), 3);
    });
    wake();
    await c!.call("record", "p", 0.1, 4);
    // With its next message, its gauges count again.
    await c!.call("scrape");
    for (const thread of [a!, b!, c!]) {
      const later = await thread.call("scrape");
      assertEquals([totalOf(later, "p"), inProgressOf(later, "p")], [7, 1]);
    }
    await withThreads([short], async (d) => {
      const later = await d!.call("scrape");
      assertEquals([totalOf(later, "p"), inProgressOf(later, "p")], [7, 1]);
    });
  });
});

Deno.test("metricsHandler() applies the cardinalityLimit to all workers together", async () => {
  const limited = { cardinalityLimit: 6 };
  await withThreads([limited, limited, limited], async (...threads) => {
    for (const [i, thread] of threads.entries()) {
      await thread.call("record", `first ${i}`, 0.1, 1);
      await thread.call("record", `second ${i}`, 0.1, 2);
    }
    const check = async (thread: Thread) => {
      await thread.call("scrape");
      const text = await thread.call("scrape");
      const totals = [...text.matchAll(
        /_pipeline_total\{lane="(\w+)".*status="failure"\} (.*)/g,
      )].map(([, lane, total]) => ({ lane, total: Number(total) }));
      assertEquals(totals.reduce((sum, { total }) => sum + total, 0), 9);
      const names = text.match(/^\w+_in_progress\{.*$/gm)!
        .filter((line) => !line.includes("overflow"));
      assertEquals(names.length, 6);
      assertEquals(totals.at(-1)?.lane, "overflow");
      const labels = 'issue="label_overflow"';
      const issues = `${PREFIX}instrumentation_issues_total{${labels}}`;
      assert(valueOf(text, issues)! > 0);
      return names;
    };
    const [first, ...others] = await Promise.all(threads.map(check));
    // Every worker shows the same.
    for (const names of others) assertEquals(names, first);
    threads[2]!.call("exit");
    await threads[2]!.ended;
    await threads[0]!.call("advance", 60_000);
    await check(threads[0]!);
    await check(threads[0]!);
  });
});

Deno.test("WorkerGroup merges foreign metrics by their aggregators", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("record", "p", 0.1);
    await b!.call("record", "p", 0.1);
    await a!.call("setForeign", 2);
    await b!.call("setForeign", 4);
    const texts = [await a!.call("scrape"), await b!.call("scrape")];
    for (const text of texts) {
      const valuesOf = (...names: string[]) =>
        names.map((name) => valueOf(text, `their_${name}{l="a"}`));
      assertEquals(valuesOf("sum", "min", "max", "average"), [6, 2, 4, 3]);
      assertEquals(valuesOf("omit"), [undefined]);
      assertEquals(text.includes("their_omit"), false);
      assertEquals(valueOf(text, "their_total"), 6);
      assertEquals(valueOf(text, "their_seconds_sum"), 6);
      assertEquals(valueOf(text, 'their_seconds_bucket{le="+Inf"}'), 2);
    }
    const [first, other] = texts.map((text) =>
      valueOf(text, 'their_first{l="a"}')
    );
    assert(first === 2 || first === 4, `${first}`);
    assertEquals(other, first, "the same in every worker");
  });
});

Deno.test("metricsHandler() with workers shows process metrics once", async () => {
  await withThreads([{}, {}, {}], async (...threads) => {
    for (const [i, thread] of threads.entries()) {
      await thread.call("record", "p", 0.1);
      await thread.call("setProcess", 10 + i, "my_");
    }
    const valuesOf = (text: string) =>
      [
        "my_process_resident_memory_bytes",
        "my_process_start_time_seconds",
        "my_process_cpu_seconds_total",
        "order_process_total",
      ].map((name) => valueOf(text, name));
    for (const [i, thread] of threads.entries()) {
      // The values of the scraped thread.
      const text = await thread.call("scrape");
      assertEquals(valuesOf(text), [10 + i, 10, 12, 33]);
    }
    // When a thread exits, no counter decreases and the start time stays.
    for (const i of [0, 2]) {
      threads[i]!.call("exit");
      await threads[i]!.ended;
    }
    const text = await threads[1]!.call("scrape");
    assertEquals(valuesOf(text), [11, 10, 12, 33]);
    await threads[1]!.call("advance", 60_000);
    await threads[1]!.call("scrape");
    const later = await threads[1]!.call("scrape");
    assertEquals(valuesOf(later), [11, 10, 12, 33]);
  });
});

Deno.test("metricsHandler() with workers takes process metrics from a thread that answers", async () => {
  const short = { timeout: 1000 };
  await withThreads([short, short, short], async (a, b, c) => {
    for (const thread of [a!, b!, c!]) await thread.call("record", "p", 0.1);
    await b!.call("setProcess", 1);
    await c!.call("setProcess", 2);
    await a!.call("scrape");
    for (const [hanging, expected] of [[b!, 2], [c!, 1]] as const) {
      const wake = await hanging.hang();
      const text = await a!.call("scrape");
      assertEquals(valueOf(text, "process_resident_memory_bytes"), expected);
      wake();
      await hanging.call("scrape");
    }
  });
});

Deno.test("metricsHandler() with workers does not sum default metrics", async () => {
  await withThreads([{}, {}, {}, {}], async (...threads) => {
    let resident = 0;
    for (const thread of threads) {
      await thread.call("record", "p", 0.1);
      resident = await thread.call("collectDefaultMetrics", "my_");
    }
    const text = await threads[0]!.call("scrape");
    const valuesOf = (name: string) =>
      [...text.matchAll(new RegExp(`^my_${name} (.*)$`, "gm"))]
        .map(([, value]) => Number(value));
    const [memory = resident, ...more] = valuesOf(
      "process_resident_memory_bytes",
    );
    assertEquals(more, []);
    assert(memory < 2 * resident, `${memory}: ${resident}`);
    const [start, ...others] = valuesOf("process_start_time_seconds");
    assertEquals(others, []);
    const now = Date.now() / 1000;
    assert(start! > now - 86_400 && start! <= now + 1, `${start}: ${now}`);
  });
});

Deno.test("metricsHandler() with workers shows labels as in a single thread", async () => {
  await withThreads([{}, {}], async (a, b) => {
    const labelSets = [
      { a: Infinity },
      { a: -Infinity },
      { a: NaN },
      { a: -0 },
      { a: 5n },
      { a: null },
      { a: true },
      { quantile: 0.5 },
      { quantile: NaN },
      { le: Infinity },
    ];
    for (const thread of [a!, b!]) await thread.call("record", "p", 0.1);
    await b!.call("setLabels", "gauge", labelSets);
    await b!.call("observeInfinity", 0.5);
    await b!.call("observeInfinity", 3);
    for (const accept of ["text/plain", "application/openmetrics-text"]) {
      const text = await a!.call("scrape", accept);
      assertEquals(text.match(/^labelled\{.*$/gm), [
        'labelled{a="Infinity"} 1',
        'labelled{a="-Infinity"} 1',
        'labelled{a="NaN"} 1',
        'labelled{a="0"} 1',
        'labelled{a="5"} 1',
        'labelled{a="null"} 1',
        'labelled{a="true"} 1',
        'labelled{quantile="0.5"} 1',
        'labelled{quantile="NaN"} 1',
        'labelled{le="+Inf"} 1',
      ]);
      const buckets = text.match(/^infinite_seconds_bucket.*$/gm) ?? [];
      assertEquals(buckets.length, 2);
      assertEquals(buckets[1], 'infinite_seconds_bucket{le="+Inf"} 2');
    }
  });
});

Deno.test("metricsHandler() with workers sums samples with differently spelled labels", async () => {
  await withThreads([{}, {}], async (a, b) => {
    for (const thread of [a!, b!]) await thread.call("record", "p", 0.1);
    await a!.call("setLabels", "counter", [{ le: 1, b: 2 }, { le: "+Inf" }]);
    await b!.call("setLabels", "counter", [
      { b: "2", le: "1" },
      { le: Infinity },
    ]);
    for (const thread of [a!, b!]) {
      const text = await thread.call("scrape");
      const lines = text.match(/^labelled\{.*$/gm) ?? [];
      assertEquals(lines.length, 2);
      assert(lines.every((line) => line.endsWith(" 2")), `${lines}`);
    }
  });
});

Deno.test("metricsHandler() with workers follows added and removed samples", async () => {
  await withThreads([{}, {}], async (a, b) => {
    for (const thread of [a!, b!]) await thread.call("record", "p", 0.1);
    const labelSets = (...ids: number[]) => ids.map((id) => ({ id }));
    const check = async (thread: Thread, ...ids: number[]) => {
      const text = await thread.call("scrape");
      const lines = text.match(/^labelled\{.*$/gm) ?? [];
      assertEquals(lines.sort(), ids.map((id) => `labelled{id="${id}"} 1`));
    };
    const rounds = [[1, 2, 3], [2, 3], [3, 4, 5, 6], [6, 4, 3], [], [7]];
    for (const ids of rounds) {
      await b!.call("setLabels", "counter", labelSets(...ids));
      await check(a!, ...[...ids].sort());
    }
    await withThreads([{}], async (c) => {
      await check(c!, 7);
      await b!.call("setLabels", "counter", labelSets(8, 7));
      await check(c!, 7, 8);
    });
  });
});

Deno.test("WorkerGroup reports a metric that workers have as different types", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("setConflict", "gauge");
    await b!.call("setConflict", "counter");
    for (const thread of [a!, b!]) await thread.call("record", "p", 0.1);
    const labels = 'issue="collector_error"';
    const issues = `${PREFIX}instrumentation_issues_total{${labels}}`;
    await a!.call("scrape");
    const text = await a!.call("scrape");
    assertEquals(valueOf(text, "conflict_total"), 1);
    assert(valueOf(text, issues)! > 0, text);
  });
});

Deno.test("WorkerGroup shows removed foreign metrics and NaN", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("record", "p", 0.1);
    await b!.call("record", "p", 0.1);
    await a!.call("setForeign", 2);
    await b!.call("setForeign", NaN);
    const before = await a!.call("scrape");
    assertEquals(valueOf(before, 'their_sum{l="a"}'), NaN);
    await b!.call("removeForeign");
    const after = await a!.call("scrape");
    assertEquals(valueOf(after, 'their_sum{l="a"}'), 2);
    assertEquals(valueOf(after, 'their_max{l="a"}'), 2);
    await a!.call("removeForeign");
    assertEquals((await b!.call("scrape")).includes("their_max"), false);
  });
});

Deno.test("WorkerGroup does not wait for a collector that never finishes", async () => {
  const short = { timeout: 1000 };
  await withThreads([short, short], async (a, b) => {
    await b!.call("hangCollector");
    await b!.call("record", "p", 0.1, 3);
    for (const thread of [a!, b!]) {
      const text = await thread.call("scrape");
      assertEquals(totalOf(text, "p"), 3);
      assertEquals(unresponsiveOf(text), 0);
    }
  });
});

/** Returns the headers of a Prometheus with the given scrape timeout. */
function withScrapeTimeout(seconds: number): Record<string, string> {
  return { "X-Prometheus-Scrape-Timeout-Seconds": `${seconds}` };
}

Deno.test("WorkerGroup applies the scrape timeout to collectors of every worker", async () => {
  await withThreads([{}, {}, {}], async (a, b, c) => {
    for (const thread of [a!, b!, c!]) {
      await thread.call("hangCollector");
      await thread.call("setForeign", 1);
      await thread.call("record", "p", 0.1, 1);
    }
    for (const thread of [a!, b!, c!, a!]) {
      const text = await thread.call("scrapeBy", withScrapeTimeout(1));
      assertEquals([totalOf(text, "p"), unresponsiveOf(text)], [3, 0]);
      // The other metrics are shown despite the collector that hangs.
      assertEquals(valueOf(text, "their_total"), 3);
      assertEquals(text.includes("stuck"), false);
    }
    for (const thread of [a!, b!, c!]) {
      assertEquals(await thread.call("stuckCalls"), 1);
    }
  });
});

Deno.test("WorkerGroup shows the last values of a collector that hangs", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("hangCollector", 1);
    await b!.call("hangCollector", 2);
    await b!.call("record", "p", 0.1, 1);
    for (let i = 0; i < 3; i++) {
      const text = await a!.call("scrapeBy", withScrapeTimeout(1));
      assertEquals(valueOf(text, "stuck"), 3);
    }
    assertEquals(await b!.call("stuckCalls"), 2);
  });
});

Deno.test("WorkerGroup does not suspect peers after a scrape with a shorter timeout", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await b!.call("record", "p", 0.1, 1);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 1);
    const wake = await b!.hang();
    const short = await a!.call("scrapeBy", withScrapeTimeout(0.1));
    assertEquals([totalOf(short, "p"), unresponsiveOf(short)], [1, 1]);
    const recorded = b!.call("record", "p", 0.1, 2);
    let isDone = false;
    const scraping = a!.call("scrape").finally(() => isDone = true);
    for (let i = 0; i < 100; i++) await a!.call("stuckCalls");
    assertEquals(isDone, false);
    wake();
    await recorded;
    assertEquals(unresponsiveOf(await scraping), 1);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 3);
  });
});

Deno.test("metricsHandler() with workers shows only the metrics in `name[]`", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("setForeign", 1);
    await b!.call("setForeign", 2);
    await b!.call("record", "p", 0.1, 2);
    const query = `?name[]=their&name[]=${PREFIX}pipeline_total`;
    const text = await a!.call("scrapeBy", {}, query);
    assertEquals([totalOf(text, "p"), valueOf(text, "their_total")], [2, 3]);
    assertEquals(text.match(/^# TYPE/gm)?.length, 2);
  });
});

Deno.test("WorkerGroup sends changes only, in chunks of at most 64 KB", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await b!.call("recordMany", 1000);
    await b!.call("setForeign", 1);
    const observer = observeMessages();
    const text = await a!.call("scrape");
    assertEquals(totalOf(text, "pipeline 999"), 1);
    await until(() => observer.kinds.includes("ack"));
    const most = Math.max(...observer.sizes);
    assert(most <= MAX_CHUNK_SIZE, `${most}`);
    assert(observer.sizes.length > 3, `${observer.sizes}`);

    observer.kinds.length = 0;
    assertEquals(await a!.call("scrape"), text);
    await until(() => observer.kinds.length >= 2);
    // Another thread may receive two senders' messages in a different order.
    assertEquals(observer.kinds.sort(), ["ack", "collect"]);

    await b!.call("record", "pipeline 0", 0.1);
    observer.kinds.length = observer.sizes.length = 0;
    await a!.call("scrape");
    await until(() => observer.kinds.length >= 3);
    assertEquals(observer.kinds.sort(), ["ack", "collect", "delta"]);
    const largest = Math.max(...observer.sizes);
    assert(largest < 500, `${largest}`);
    observer.close();
  });
});

Deno.test("WorkerGroup coalesces concurrent scrapes, and joins once per thread", async () => {
  const observer = observeMessages();
  await withThreads([{}, {}], async (a) => {
    await a!.call("recordInSecond", 1);
    const isOf = (kind: string) => (each: string) => each === kind;
    assertEquals(observer.kinds.filter(isOf("join")).length, 2);
    observer.kinds.length = 0;
    assertEquals(await a!.call("scrapeTogether", 50), 50);
    assertEquals(observer.kinds.filter(isOf("collect")).length, 1);
  });
  observer.close();
});

Deno.test("WorkerGroup merges registries by their order in each worker", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("record", "p", 0.1, 1);
    await b!.call("record", "p", 0.1, 2);
    await a!.call("recordInSecond", 4);
    const text = await b!.call("recordInSecond", 8);
    const labels = 'lane="test",pipeline_name="second",status="success"';
    assertEquals(valueOf(text, `${PREFIX}pipeline_total{${labels}}`), 12);
    assertEquals(totalOf(text, "p"), undefined);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 3);
  });
});

Deno.test("metricsHandler() with workers shares the registries in its options", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await a!.call("recordInChosen", 1);
    await b!.call("recordInChosen", 2);
    const labels = 'lane="test",pipeline_name="chosen",status="success"';
    const text = await a!.call("scrapeChosen");
    assertEquals(valueOf(text, `${PREFIX}pipeline_total{${labels}}`), 3);
  });
});

Deno.test("WorkerGroup separates workers with different default labels", async () => {
  const options = [
    { defaultLabels: { host: "a" } },
    { defaultLabels: { host: "b" } },
  ];
  await withThreads(options, async (a, b) => {
    await a!.call("record", "p", 0.1, 1);
    await b!.call("record", "p", 0.1, 2);
    const totals = async (...hosts: string[]) => {
      const text = await a!.call("scrape");
      const labels = 'lane="test",pipeline_name="p",status="failure"';
      return hosts.map((host) =>
        valueOf(text, `${PREFIX}pipeline_total{${labels},host="${host}"}`)
      );
    };
    assertEquals(await totals("a", "b"), [1, 2]);
    await b!.call("relabel", { host: "a" });
    assertEquals(await totals("a", "b"), [3, undefined]);
  });
});

Deno.test("WorkerGroup shows the buckets that all workers have", async () => {
  await withThreads([{}, { moreBuckets: [10, 30] }], async (a, b) => {
    await a!.call("record", "p", 8);
    await b!.call("record", "p", 8);
    await b!.call("record", "p", 3);
    for (const thread of [a!, b!]) {
      const text = await thread.call("scrape");
      const labels = 'lane="test",pipeline_name="p",status="failure"';
      const bucket = (le: string) =>
        valueOf(
          text,
          `${PREFIX}pipeline_duration_seconds_bucket{${labels},le="${le}"}`,
        );
      assertEquals(["2.5", "5.0", "10.0", "+Inf"].map(bucket), [
        0,
        1,
        undefined,
        3,
      ]);
    }
  });
});

Deno.test("WorkerGroup does not include metrics that are not registered", async () => {
  await withThreads([{}, { conflicts: true }], async (a, b) => {
    await a!.call("record", "p", 0.1, 1);
    await b!.call("record", "p", 0.1, 2);
    for (const thread of [a!, b!]) {
      assertEquals(totalOf(await thread.call("scrape"), "p"), 1);
    }
  });
});

Deno.test("WorkerGroup keeps counts of a cleared registry", async () => {
  await withThreads([{}, {}], async (a, b) => {
    await b!.call("record", "p", 0.1, 1);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 1);
    await b!.call("clear");
    assertEquals(totalOf(await a!.call("scrape"), "p"), 1);
    await b!.call("record", "p", 0.1, 2);
    assertEquals(totalOf(await a!.call("scrape"), "p"), 3);
  });
});

Deno.test("WorkerGroup does not decrease counters after a reset", async () => {
  await withThreads([{}, {}], async (a, b) => {
    const check = async (expected: number) => {
      for (const thread of [a!, b!]) {
        const text = await thread.call("scrape");
        assertEquals(totalOf(text, "p"), expected);
        const labels = 'issue="invalid_message"';
        const issues = `${PREFIX}instrumentation_issues_total{${labels}}`;
        assertEquals(valueOf(text, issues), 0);
      }
    };
    await b!.call("record", "p", 0.1, 5);
    await check(5);
    await b!.call("reset");
    await b!.call("open", "p");
    await b!.call("record", "p", 0.1, 2);
    await check(5);
    assertEquals(inProgressOf(await a!.call("scrape"), "p"), 1);
    await b!.call("record", "p", 0.1, 4);
    await check(6);
  });
});

Deno.test("definePipeline() in a thread shows 0 before any run", async () => {
  await withThreads([{}, {}, { serves: false }], async (one, two, three) => {
    await two.call("declare", "of a thread that serves");
    await three.call("declare", "of a thread that shares");
    const text = await one.call("scrape");
    assertEquals(totalOf(text, "of a thread that serves"), 0);
    assertEquals(totalOf(text, "of a thread that shares"), 0);
  });
});

Deno.test("shareMetrics() does not keep the process running", async () => {
  assertEquals(await runFixture("shares_alone", []), "1\n1\nended\n");
});

Deno.test("metricsHandler() throws if the timeout of workers is out of range", () => {
  const create = (timeout: unknown) => () =>
    metricsHandler({ workers: { timeout: timeout as number } });
  assertThrows(
    create("1"),
    TypeError,
    "Cannot create a metrics handler: the timeout of workers must be a number of milliseconds, got string",
  );
  for (const timeout of [-1, NaN, 2 ** 31]) {
    assertThrows(
      create(timeout),
      RangeError,
      `Cannot create a metrics handler: the timeout of workers must be from 0 to 2147483647 ms, got ${timeout}`,
    );
  }
  assertThrows(
    () => metricsHandler({ workers: 500 as never }),
    TypeError,
    "Cannot create a metrics handler: workers must be an object, got number",
  );
});
