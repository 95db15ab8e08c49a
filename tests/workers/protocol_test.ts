import { assert, assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";
import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../../mod.ts";
import type {
  Enclosed,
  Letter,
  WorkerState,
} from "../../src/workers/message.ts";
import type { Telling } from "../../src/workers/replica.ts";
import { startThread, type Thread } from "../support/threads.ts";
import { until } from "../support/until.ts";

const CHANNEL_NAME = "@lukhas/stage-metrics/3";
/** What can be the id of a worker, by its number. */
function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

const [OLD, OTHER, GONE, NEWCOMER, EAR, SLOW, LIAR] = [1, 2, 3, 4, 5, 6, 7]
  .map(idOf) as [string, string, string, string, string, string, string];

const PREFIX = "lukhas_orchestration_";

/** A letter and its enclosed items. */
type Sent = Letter & { readonly enclosed?: readonly Enclosed[] };

/** What a worker that consists of letters alone makes of those of others. */
type Reply = (
  letter: Letter,
  from: string,
) => readonly Sent[] | Promise<readonly Sent[]>;

/** A channel as runtimes have it: their types differ. */
interface RawChannel {
  onmessage: (event: { data: { from: string; bytes: Uint8Array } }) => void;
  postMessage(message: unknown): void;
  close(): void;
}

function correspond(id: string, reply: Reply): RawChannel {
  const channel = new BroadcastChannel(CHANNEL_NAME) as unknown as RawChannel;
  channel.onmessage = async ({ data }) => {
    const letter = readLetter(data?.bytes);
    if (letter === undefined) return;
    for (const answer of await reply(letter, data.from)) {
      post(channel, id, answer);
    }
  };
  return channel;
}

function post(
  channel: RawChannel,
  from: string,
  { enclosed = [], ...letter }: Sent,
): void {
  const lines = [...enclosed, letter].map((each) =>
    `${JSON.stringify(each)}\n`
  );
  const bytes = new TextEncoder().encode(lines.join(""));
  const sole = { letter: 0, index: 0, isLast: true };
  channel.postMessage({ from, ...sole, bytes });
}

/** What a thread writes in so small a test fits into one message. */
function readLetter(bytes: Uint8Array): Letter | undefined {
  try {
    const lines = new TextDecoder().decode(bytes).trimEnd().split("\n");
    return JSON.parse(lines.at(-1)!) ?? undefined;
  } catch {
    return undefined;
  }
}

/** What a thread that is new among such workers tells of the pipeline `p`. */
async function scrapeAmong(
  workers: Readonly<Record<string, Reply>>,
  standsStill = 0,
): Promise<{ total: string | undefined; running: string | undefined }> {
  const channels = Object.entries(workers)
    .map(([id, reply]) => correspond(id, reply));
  const thread = await startThread({ timeout: 1000, standsStill });
  try {
    const text = await thread.tell("scrape");
    const valueOf = (series: string) =>
      new RegExp(`^${PREFIX}${series}} (.*)$`, "m").exec(text)?.[1];
    const labels = '{lane="test",pipeline_name="p"';
    return {
      total: valueOf(`pipeline_total${labels},status="success"`),
      running: valueOf(`pipeline_in_progress${labels}`),
    };
  } finally {
    for (const channel of channels) channel.close();
    await thread.end();
  }
}

/** That so many runs of a pipeline ended well, and so many are under way. */
function enclose(
  total: number,
  running: number,
  of?: string | null,
): Enclosed[] {
  const telling: Telling = {
    registry: 0,
    own: [{
      prefix: PREFIX,
      labels: {},
      pipelineBuckets: PIPELINE_BUCKETS,
      stageBuckets: STAGE_BUCKETS,
      now: 0,
      issues: {},
      series: [["test", "p", null, running, 0, [[0, total, 0, 1, []]]]],
    }],
  };
  return [{ telling, ...(of !== undefined && { of }) }];
}

/** All that there is to know, if it is about one worker. */
function everything(
  to: string,
  worker: WorkerState,
  enclosed: readonly Enclosed[],
): Sent {
  return {
    kind: "everything",
    to,
    workers: [worker],
    departed: [],
    hasForgotten: false,
    enclosed,
  };
}

/**
 * One that is there from the start, and knows of a worker that has left, as well as
 * of those that are there.
 */
const old = (
  workers: readonly WorkerState[] = [],
  enclosed: readonly Enclosed[] = [],
): Reply =>
(letter, from) => {
  switch (letter.kind) {
    case "hello":
      return [{ kind: "here", hasJoined: true }];
    case "fetch":
      if (letter.of !== OLD) return [];
      return [{
        kind: "everything",
        to: from,
        workers,
        departed: [[GONE, 60_000]],
        hasForgotten: false,
        enclosed: [...enclose(7, 1, null), ...enclosed],
      }];
    case "ask":
      return [{ kind: "told", to: from, round: letter.round, version: 0 }];
    default:
      return [];
  }
};

Deno.test("A newcomer asks for all that was before it, even if only the departed counted", async () => {
  assertEquals(await scrapeAmong({ [OLD]: old() }), {
    total: "7",
    running: "0",
  });
});

Deno.test("A newcomer that stands still while it starts hears what was before it, all the same", async () => {
  const told = await scrapeAmong({ [OLD]: old() }, 1000);
  assertEquals(told, { total: "7", running: "0" });
});

Deno.test("A worker asks whoever has told more than it heard for everything, and forgets nothing by that", async () => {
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "fetch": {
        if (letter.of !== OTHER) return [];
        const state = { version: 2, hasLeft: false, silentFor: null };
        return [
          everything(from, { id: OTHER, ...state }, enclose(2, 1, OTHER)),
        ];
      }
      case "ask":
        return [
          { kind: "tell", version: 3, enclosed: enclose(3, 1) },
          { kind: "told", to: from, round: letter.round, version: 3 },
        ];
      default:
        return [];
    }
  };
  const known = {
    id: OTHER,
    version: 1,
    hasLeft: false,
    silentFor: null,
  };
  const told = await scrapeAmong({
    [OLD]: old([known], enclose(1, 1, OTHER)),
    [OTHER]: other,
  });
  assertEquals(told, { total: "10", running: "1" });
});

Deno.test("A worker whose question was lost asks once more", async () => {
  let fetches = 0;
  const state = { id: OTHER, version: 3, hasLeft: false, silentFor: null };
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: true }];
      case "fetch":
        return ++fetches === 1
          ? []
          : [everything(from, state, enclose(3, 1, OTHER))];
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 3 }];
      default:
        return [];
    }
  };
  assertEquals(await scrapeAmong({ [OTHER]: other }), {
    total: "3",
    running: "1",
  });
  assertEquals(fetches, 2);
});

Deno.test("A worker is believed about itself, whatever others think of it", async () => {
  const slow: Reply = async (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [
          { kind: "here", hasJoined: false },
          { kind: "tell", version: 1, enclosed: enclose(5, 1) },
        ];
      case "ask":
        // Whoever does not wait for it will have ended by then.
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [
          { kind: "tell", version: 2, enclosed: enclose(7, 1) },
          { kind: "told", to: from, round: letter.round, version: 2 },
        ];
      default:
        return [];
    }
  };
  const liar: Reply = (letter, from) => {
    switch (letter.kind) {
      case "here":
        return [{ kind: "here", hasJoined: true }];
      case "fetch": {
        const state = { version: 0, hasLeft: true, silentFor: 0 };
        return [everything(from, { id: SLOW, ...state }, [])];
      }
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 0 }];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ [SLOW]: slow, [LIAR]: liar });
  assertEquals(told, { total: "7", running: "1" });
});

Deno.test("Who has left for good is not taken in again, whoever tells of it", async () => {
  const gone = {
    id: GONE,
    version: 1,
    hasLeft: false,
    silentFor: null,
  };
  const told = await scrapeAmong({ [OLD]: old([gone], enclose(5, 0, GONE)) });
  assertEquals(told, { total: "7", running: "0" });
});

Deno.test("Workers drop the ids of workers that left, and keep their counts", async () => {
  const count = 200;
  let onEverything = (_letter: Letter & { kind: "everything" }) => {};
  // One of its letters was lost, so it is asked for all metrics.
  let version = 0;
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "everything":
        onEverything(letter);
        return [];
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version }];
      case "fetch": {
        if (letter.of !== OTHER) return [];
        const worker = { version: 1, hasLeft: false, silentFor: null };
        // One that has left passes for one that is there.
        const workers = [OTHER, idOf(100)].map((id) => ({ ...worker, id }));
        return [{
          kind: "everything",
          to: from,
          workers,
          departed: [],
          hasForgotten: false,
          enclosed: [...enclose(1000, 0, OTHER), ...enclose(1, 0, idOf(100))],
        }];
      }
      default:
        return [];
    }
  };
  const channel = correspond(OTHER, other);
  await using thread = await startThread({ timeout: 1000 });
  const totalIn = (text: string) =>
    Number(/pipeline_total\{.*status="success"\} (.*)/.exec(text)?.[1]);
  const scrapeAfter = async (milliseconds: number) => {
    await thread.tell("advance", milliseconds);
    // One scrape folds the workers that left long ago, the next one shows it.
    await thread.tell("scrape");
    return totalIn(await thread.tell("scrape"));
  };
  const fetchEverything = () => {
    const told = new Promise<Letter & { kind: "everything" }>((resolve) =>
      onEverything = resolve
    );
    post(channel, OTHER, { kind: "fetch", of: threadId });
    return told;
  };
  let threadId = "";
  const ear = correspond(EAR, (letter, from) => {
    if (letter.kind === "ask") threadId = from;
    return letter.kind === "ask"
      ? [{ kind: "told", to: from, round: letter.round, version: 0 }]
      : [];
  });
  try {
    for (let i = 0; i < count; i++) {
      const id = idOf(100 + i);
      post(channel, id, { kind: "hello" });
      post(channel, id, { kind: "tell", version: 1, enclosed: enclose(1, 0) });
      post(channel, id, { kind: "bye" });
      // Deno drops messages when a channel is full.
      await thread.tell("advance", 0);
    }
    post(channel, OTHER, { kind: "hello" });
    post(channel, EAR, { kind: "hello" });
    assertEquals(totalIn(await thread.tell("scrape")), count);
    assertEquals(await scrapeAfter(20_000), count);
    assertEquals((await fetchEverything()).departed.length, count);
    assertEquals(await scrapeAfter(600_000), count);
    const { departed, hasForgotten } = await fetchEverything();
    assertEquals([departed, hasForgotten], [[], true]);

    version = 1;
    assertEquals(totalIn(await thread.tell("scrape")), count + 1000);
  } finally {
    channel.close();
    ear.close();
  }
});

Deno.test("A letter that lacks a piece is not read, and asked for once more", async () => {
  const channel = new BroadcastChannel(CHANNEL_NAME);
  const state = { id: OTHER, version: 1, hasLeft: false, silentFor: null };
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "ask": {
        const lines = [...enclose(5, 1), ...enclose(7, 1), {
          kind: "tell",
          version: 1,
        }].map((each) => `${JSON.stringify(each)}\n`);
        for (const [index, line] of lines.entries()) {
          // As though there had been no room for it.
          if (index === 1) continue;
          const isLast = index === lines.length - 1;
          const bytes = new TextEncoder().encode(line);
          channel.postMessage({
            from: OTHER,
            letter: 1,
            index,
            isLast,
            bytes,
          });
        }
        return [{ kind: "told", to: from, round: letter.round, version: 1 }];
      }
      case "fetch":
        return [everything(from, state, enclose(7, 1, OTHER))];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ [OTHER]: other });
  channel.close();
  assertEquals(told, { total: "7", running: "1" });
});

Deno.test("A worker that has just started does not pass for one that knows what was before, until nobody told it", async () => {
  const answers: boolean[] = [];
  let onAnswer = (_hasJoined: boolean) => {};
  const channel = correspond(NEWCOMER, (letter) => {
    if (letter.kind === "here") onAnswer(letter.hasJoined);
    // By the time it has read this, it has listened for no time at all.
    return letter.kind === "hello" ? [{ kind: "hello" }] : [];
  });
  const first = new Promise<boolean>((resolve) => onAnswer = resolve);
  const thread = await startThread({ standsStill: 1000 });
  answers.push(await first);
  while (!answers.at(-1) && answers.length < 1000) {
    const next = new Promise<boolean>((resolve) => onAnswer = resolve);
    post(channel, NEWCOMER, { kind: "hello" });
    answers.push(await next);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  channel.close();
  await thread.end();
  assertEquals([answers[0], answers.at(-1)], [false, true]);
});

/** What a worker tells, with something in its place that no worker tells. */
function enclosing(
  replacement: Readonly<Record<string, unknown>>,
  series: readonly unknown[] = [],
): unknown[] {
  const [{ telling }] = enclose(5, 1) as [Enclosed];
  const [own] = telling.own!;
  const changes = [["test", "p", null, 1, 0, [[0, 5, 0, 1, [], ...series]]]];
  return [{
    telling: {
      registry: 0,
      own: [{ ...own, series: changes, ...replacement }],
    },
  }];
}

/** The same, of metrics of others. */
function enclosingOther(
  replacement: Readonly<Record<string, unknown>>,
  change: readonly unknown[] = [0, 1, null, "their_total", {}],
): unknown[] {
  const description = { help: "Help", type: "counter", aggregator: "sum" };
  const other = { name: "their_total", description, changes: [change] };
  return [{ telling: { registry: 0, others: [{ ...other, ...replacement }] } }];
}

const RAW = 'x{} 1\nraw 1\n# "';
const INFINITE = [...PIPELINE_BUCKETS.map(() => 0), 0, "Infinity"];
const NONE = PIPELINE_BUCKETS.map(() => 0);

/** What no worker encloses: each is told by a sender of its own. */
const STRANGE: Readonly<Record<string, unknown>> = {
  "no telling": [{}],
  "null": [null],
  "many registries": [{ telling: { registry: 4e8, own: [] } }],
  "half a registry": [{ telling: { registry: 0.5, own: [] } }],
  "prefix": enclosing({ prefix: RAW }),
  "label name": enclosing({ labels: { [RAW]: "x" } }),
  "label value": enclosing({ labels: { x: 1 } }),
  "long label": enclosing({ labels: { x: "x".repeat(70_000) } }),
  "buckets that fall": enclosing({ pipelineBuckets: [2, 1] }),
  "buckets of nothing": enclosing({ stageBuckets: [null] }),
  "negative buckets": enclosing({ prefix: "my_", stageBuckets: [-1, 1] }),
  "no buckets": enclosing({ prefix: "my_", pipelineBuckets: [], series: [] }),
  "buckets that lack a standard one": enclosing({
    pipelineBuckets: PIPELINE_BUCKETS.slice(1),
  }),
  "label of buckets": enclosing({ labels: { le: "1" } }),
  "other buckets": enclosing({}, [1, 2, 3]),
  "half a count": enclosing({}, [0.5, ...NONE, 0]),
  "a negative count": enclosing({}, [-1, ...NONE, 0]),
  "a negative sum": enclosing({}, [0, ...NONE, -1]),
  "no sum": enclosing({}, [0, ...NONE, null]),
  "issue": enclosing({ issues: { [RAW]: 1 } }),
  "issues below 0": enclosing({ issues: { late_stage: -1 } }),
  "clock": enclosing({ now: "0" }),
  "long name": enclosing({
    series: [["test", "p".repeat(129), null, 0, 0, []]],
  }),
  "negative total": enclosing({
    series: [["test", "p", null, 0, 0, [[0, -5, 0, 1, []]]]],
  }),
  "infinite total": enclosing({
    series: [["test", "p", null, 0, 0, [[0, 1e300, 0, 1, []]]]],
  }),
  "outcome": enclosing({
    series: [["test", "p", null, 0, 0, [[9, 5, 0, 1, []]]]],
  }),
  "negative running": enclosing({
    series: [["test", "p", null, -1, 0, []]],
  }),
  "exemplar": enclosing({
    series: [["test", "p", null, 0, 0, [[0, 1, 0, 1, [[0, {
      labelSet: { [RAW]: "x" },
      value: 1,
      timestamp: 1,
    }]]]]]],
  }),
  "exemplar of no bucket": enclosing({
    series: [["test", "p", null, 0, 0, [[0, 1, 0, 1, [[400, null]]]]]],
  }),
  "metric name": enclosingOther({ name: RAW }),
  "type": enclosingOther({
    description: { help: "Help", type: RAW, aggregator: "sum" },
  }),
  "aggregator": enclosingOther({
    description: { help: "Help", type: "gauge", aggregator: "mode" },
  }),
  "help": enclosingOther({
    description: { help: null, type: "gauge", aggregator: "sum" },
  }),
  "sample name": enclosingOther({}, [0, 1, null, RAW, {}]),
  "name of another sample": enclosingOther({}, [0, 1, null, "their_sum", {}]),
  "sample labels": enclosingOther({}, [0, 1, null, "their_total", {
    [RAW]: "1",
  }]),
  "packed labels": enclosingOther({}, [0, 1, null, "their_total", [[RAW, 1]]]),
  "label of an object": enclosingOther({}, [0, 1, null, "their_total", {
    x: {},
  }]),
  "value": enclosingOther({}, [0, RAW, null, "their_total", {}]),
  "place": enclosingOther({}, [4e8, 1, null, "their_total", {}]),
};

/** What is no letter. */
const NO_LETTERS: readonly Readonly<Record<string, unknown>>[] = [
  { kind: "tell" },
  { kind: "tell", version: -1 },
  { kind: "ask", round: "1", patience: 1 },
  { kind: "ask", round: 1, patience: null },
  { kind: "told", to: OTHER, round: 1, version: 1e300 },
  { kind: "told", to: "x", round: 1, version: 1 },
  { kind: "silent", ids: [RAW] },
  { kind: "silent", ids: "x" },
  { kind: "here" },
  { kind: "fetch", of: 1 },
  { kind: "everything", to: OTHER },
  { kind: "toString" },
  { kind: ["tell"], version: 1 },
];

Deno.test("Workers refuse what no worker sends, and count it", async () => {
  let number = 1000;
  const channel = correspond(EAR, () => []);
  await using thread = await startThread({ timeout: 1000 });
  try {
    await thread.tell("record", "p", 0.1, 3);
    await thread.tell("scrape");
    for (const enclosed of Object.values(STRANGE)) {
      const letter = { kind: "tell", version: 1, enclosed } as Sent;
      post(channel, idOf(number++), letter);
      post(channel, idOf(number - 1), { kind: "bye" });
    }
    for (const letter of NO_LETTERS) {
      post(channel, idOf(number++), letter as never);
    }
    post(channel, RAW, { kind: "hello" });
    const expected = Object.keys(STRANGE).length + NO_LETTERS.length + 1;
    const text = await scrapeUntil(
      thread,
      (text) => refusedOf(text) === expected,
    );
    assertEquals(text.includes("raw"), false);
    assertEquals(text.match(/^\w+_pipeline_total\{.*[1-9]$/gm), [
      `${PREFIX}pipeline_total{lane="test",pipeline_name="p",status="failure"} 3`,
    ]);
    assertEquals(text.includes("their_total"), false);
    assertEquals(refusedOf(text), expected);
  } finally {
    channel.close();
  }
});

/** Scrapes until a thread has read what was posted, which it does in its own time. */
async function scrapeUntil(
  thread: Thread,
  isSo: (text: string) => boolean,
): Promise<string> {
  let text = "";
  for (let i = 0; i < 100 && !isSo(text); i++) {
    text = await thread.tell("scrape");
  }
  return text;
}

/** How many messages a thread has refused. */
function refusedOf(text: string): number {
  return Number(/issue="invalid_message"\} (.*)/.exec(text)?.[1]);
}

Deno.test("Workers take infinite durations from each other as they are", async () => {
  const channel = correspond(EAR, () => []);
  await using thread = await startThread({ timeout: 1000 });
  post(channel, OTHER, {
    kind: "tell",
    version: 1,
    enclosed: enclosing({}, INFINITE) as Enclosed[],
  });
  post(channel, OTHER, { kind: "bye" });
  const sumIn = (text: string) =>
    /_pipeline_duration_seconds_sum\{.*success.*\} (.*)/.exec(text)?.[1];
  const text = await scrapeUntil(thread, (text) => sumIn(text) !== undefined);
  channel.close();
  assertEquals(sumIn(text), "+Inf");
});

/** What one says first that then says something less of the pipeline `p`. */
const LESS: Readonly<Record<string, readonly unknown[]>> = {
  "a lower total": enclose(4, 0),
  "other labels, and less": enclosing({
    labels: { host: "x" },
    series: [["test", "p", null, 1, 0, [[0, 4, 0, 1, []]]]],
  }),
  "other labels, and nothing": enclosing({ labels: { host: "x" }, series: [] }),
  "other buckets, and nothing": enclosing({
    pipelineBuckets: [...PIPELINE_BUCKETS, 10],
    series: [],
  }),
  "a lower bucket": enclosing({}, [4, ...NONE, 1]),
};

for (const [name, enclosed] of Object.entries(LESS)) {
  Deno.test(`Workers refuse what would make a counter fall: ${name}`, async () => {
    const channel = correspond(EAR, () => []);
    await using thread = await startThread({ timeout: 1000 });
    const tell = (version: number, enclosed: readonly unknown[]) =>
      post(channel, OTHER, { kind: "tell", version, enclosed } as Sent);
    // Before it shares a registry, there is none in which it could count issues.
    await thread.tell("scrape");
    tell(1, enclosing({}, [5, ...NONE, 1]));
    tell(2, enclosed);
    post(channel, OTHER, { kind: "bye" });
    const text = await scrapeUntil(thread, (text) => refusedOf(text) === 1);
    assertEquals(/_total\{.*"p",status="success"\} (.*)/.exec(text)?.[1], "5");
    assertEquals(/_bucket\{.*"p",.*"0.01"\} (.*)/.exec(text)?.[1], "5");
    // What is told after that is counted, whoever told what was refused.
    tell(2, enclosing({}, [6, ...NONE, 1]));
    post(channel, OTHER, { kind: "bye" });
    const bucketIn = (text: string) =>
      /_bucket\{.*"p",.*"0.01"\} (.*)/.exec(text)?.[1];
    const later = await scrapeUntil(thread, (text) => bucketIn(text) === "6");
    channel.close();
    assertEquals(bucketIn(later), "6");
    assertEquals(refusedOf(later), 1);
  });
}

Deno.test("Workers refuse an answer with everything that would make a counter fall", async () => {
  let fetches = 0;
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [
          { kind: "here", hasJoined: false },
          { kind: "tell", version: 1, enclosed: enclose(7, 1) },
        ];
      case "fetch": {
        fetches++;
        const state = { version: 2, hasLeft: false, silentFor: null };
        return [
          everything(from, { id: OTHER, ...state }, enclose(2, 1, OTHER)),
        ];
      }
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 2 }];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ [OTHER]: other });
  assertEquals(told, { total: "7", running: "1" });
  assert(fetches > 0);
});

Deno.test("Workers heed no answer with everything that they did not ask for", async () => {
  const state = { version: 9, hasLeft: false, silentFor: null };
  const liar: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "ask":
        return [
          everything(from, { id: OTHER, ...state }, enclose(9, 1, OTHER)),
          { kind: "told", to: from, round: letter.round, version: 0 },
        ];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ [LIAR]: liar });
  assertEquals(told, { total: undefined, running: undefined });
});

Deno.test("A newcomer is told for how long a worker has been silent", async () => {
  const states = [599_000, 601_000].map((silentFor, i) => ({
    id: idOf(100 + i),
    version: 1,
    hasLeft: false,
    silentFor,
  }));
  const enclosed = states.flatMap(({ id }, i) => enclose(10, 1 + i, id));
  const told = await scrapeAmong({ [OLD]: old(states, enclosed) });
  assertEquals(told, { total: "27", running: "1" });
});

Deno.test("Workers keep apart only the last of those that are silent for good", async () => {
  const count = 100;
  const ids = Array.from({ length: count }, (_, i) => idOf(100 + i));
  const states = ids.map((id, i) => ({
    id,
    version: 1,
    hasLeft: false,
    silentFor: 700_000 + i,
  }));
  let threadId = "";
  let onEverything = (_letter: Letter & { kind: "everything" }) => {};
  const enclosed = ids.flatMap((id) => enclose(1, 1, id));
  const reply = old(states, enclosed);
  const channel = correspond(OLD, (letter, from) => {
    if (letter.kind === "ask") threadId = from;
    if (letter.kind === "everything") onEverything(letter);
    return reply(letter, from);
  });
  await using thread = await startThread({ timeout: 1000 });
  await thread.tell("scrape");
  // The first of them speaks again, and so do some of the last.
  for (const id of [ids[count - 1]!, ids[0]!, ids[1]!]) {
    post(channel, id, { kind: "tell", version: 2, enclosed: enclose(3, 1) });
  }
  const text = await scrapeUntil(thread, (text) => totalIn(text) === "111");
  const told = new Promise<Letter & { kind: "everything" }>((resolve) =>
    onEverything = resolve
  );
  post(channel, OLD, { kind: "fetch", of: threadId });
  const { workers } = await told;
  assertEquals(totalIn(text), "111");
  // The first of them cannot be counted again, and so its answer is an issue.
  const unresponsiveIn = (text: string) =>
    Number(/issue="worker_unresponsive"\} (.*)/.exec(text)?.[1]);
  await thread.tell("scrape");
  const before = unresponsiveIn(await thread.tell("scrape"));
  const answer = { kind: "told", round: 1, version: 2 } as const;
  post(channel, ids[count - 1]!, { ...answer, to: threadId });
  post(channel, ids[count - 1]!, { ...answer, to: OTHER });
  const later = await scrapeUntil(
    thread,
    (text) => unresponsiveIn(text) > before,
  );
  channel.close();
  assertEquals([totalIn(later), unresponsiveIn(later)], ["111", before + 1]);
  // Those, the thread itself, and less those that are gone for good.
  assertEquals(workers.length, 65);
});

Deno.test("Workers that nobody scrapes keep those that left as one", async () => {
  const count = 2000;
  let onHere = () => {};
  let onEverything = (_letter: Letter & { kind: "everything" }) => {};
  let threadId = "";
  const channel = correspond(OTHER, (letter, from) => {
    if (letter.kind === "everything") onEverything(letter);
    if (letter.kind === "here") {
      threadId = from;
      onHere();
    }
    return [];
  });
  await using thread = await startThread({ serves: false });
  try {
    for (let i = 0; i < count; i++) {
      const id = idOf(1000 + i);
      const here = new Promise<void>((resolve) => onHere = resolve);
      post(channel, id, { kind: "hello" });
      post(channel, id, { kind: "tell", version: 1, enclosed: enclose(1, 0) });
      post(channel, id, { kind: "bye" });
      await here;
      if (i % 200 === 199) await thread.tell("advance", 70_000);
    }
    const knownWorkers = async () => {
      post(channel, OTHER, { kind: "hello" });
      const told = new Promise<Letter & { kind: "everything" }>((resolve) =>
        onEverything = resolve
      );
      post(channel, OTHER, { kind: "fetch", of: threadId });
      return (await told).workers.length;
    };
    // What is kept as one is put together in slices.
    let known = await knownWorkers();
    for (let i = 0; i < 100 && known >= 10; i++) known = await knownWorkers();
    assert(known < 10, `${known}`);
  } finally {
    channel.close();
  }
});

Deno.test("Workers do not believe what is said in their own name", async () => {
  let threadId = "";
  let here = 0;
  const channel = correspond(OTHER, (letter, from) => {
    if (letter.kind === "hello") threadId = from;
    if (letter.kind === "here" && from === threadId) here++;
    return [];
  });
  await using thread = await startThread({ timeout: 1000 });
  await thread.tell("scrape");
  const enclosed = enclose(5, 1);
  post(channel, threadId, { kind: "tell", version: 1, enclosed });
  post(channel, threadId, { kind: "bye" });
  const text = await scrapeUntil(thread, (text) => refusedOf(text) === 2);
  await until(() => here >= 2);
  channel.close();
  assertEquals([totalIn(text), refusedOf(text)], [undefined, 2]);
});

function totalIn(text: string): string | undefined {
  return /_pipeline_total\{.*"p",status="success"\} (.*)/.exec(text)?.[1];
}
