import { assert, assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";
import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../../mod.ts";
import type { Item, Message, WorkerState } from "../../src/workers/message.ts";
import type { RegistryDelta } from "../../src/workers/replica.ts";
import { CHANNEL_NAME } from "../support/channel.ts";
import { startThread, type Thread } from "../support/threads.ts";
import { until } from "../support/wait.ts";

/** Returns a valid worker id. */
function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

const OLD = idOf(1);
const OTHER = idOf(2);
const RETIRED = idOf(3);
const NEW_WORKER = idOf(4);
const OBSERVER = idOf(5);
const SLOW = idOf(6);
const MALICIOUS = idOf(7);

const PREFIX = "lukhas_orchestration_";

/** A message and its items. */
type MessageWithItems = Message & { readonly items?: readonly Item[] };

type FullState = Message & { readonly kind: "fullState" };

/** Returns the messages with which a simulated worker answers a message. */
type Respond = (
  message: Message,
  from: string,
) => readonly MessageWithItems[] | Promise<readonly MessageWithItems[]>;

/** The part of `BroadcastChannel` that is used here; its types differ by runtime. */
interface RawChannel {
  onmessage: (event: { data: { from: string; bytes: Uint8Array } }) => void;
  postMessage(message: unknown): void;
  close(): void;
}

function simulateWorker(id: string, respond: Respond): RawChannel {
  const channel = new BroadcastChannel(CHANNEL_NAME) as unknown as RawChannel;
  channel.onmessage = async ({ data }) => {
    const message = readMessage(data?.bytes);
    if (message === undefined) return;
    for (const answer of await respond(message, data.from)) {
      post(channel, id, answer);
    }
  };
  return channel;
}

function post(
  channel: RawChannel,
  from: string,
  { items = [], ...message }: MessageWithItems,
): void {
  const lines = [...items, message].map((each) => `${JSON.stringify(each)}\n`);
  const bytes = new TextEncoder().encode(lines.join(""));
  const sole = { message: 0, index: 0, isLast: true };
  channel.postMessage({ from, ...sole, bytes });
}

/** Returns the message in a chunk. In these tests, every message fits into one. */
function readMessage(bytes: Uint8Array): Message | undefined {
  try {
    const lines = new TextDecoder().decode(bytes).trimEnd().split("\n");
    return JSON.parse(lines.at(-1)!) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Returns the metrics of pipeline `p` in a new thread among simulated workers. */
async function scrapeAmong(
  workers: Readonly<Record<string, Respond>>,
  blocksFor = 0,
): Promise<{ total: string | undefined; running: string | undefined }> {
  const channels = Object.entries(workers)
    .map(([id, respond]) => simulateWorker(id, respond));
  const thread = await startThread({ timeout: 1000, blocksFor });
  try {
    const text = await thread.call("scrape");
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

/** Returns items with the number of successful and of running pipelines. */
function toItems(
  total: number,
  running: number,
  worker?: string | null,
): Item[] {
  const delta: RegistryDelta = {
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
  return [{ delta, ...(worker !== undefined && { worker }) }];
}

/** Returns a full state with one worker. */
function fullState(
  to: string,
  worker: WorkerState,
  items: readonly Item[],
): MessageWithItems {
  return {
    kind: "fullState",
    to,
    workers: [worker],
    retired: [],
    hasDroppedIds: false,
    items,
  };
}

/** Simulates a running worker whose full state has a retired worker and the given ones. */
const runningWorker = (
  workers: readonly WorkerState[] = [],
  items: readonly Item[] = [],
): Respond =>
(message, from) => {
  switch (message.kind) {
    case "join":
      return [{ kind: "present", hasJoined: true }];
    case "syncRequest":
      if (message.target !== OLD) return [];
      return [{
        kind: "fullState",
        to: from,
        workers,
        retired: [[RETIRED, 60_000]],
        hasDroppedIds: false,
        items: [...toItems(7, 1, null), ...items],
      }];
    case "collect":
      return [{ kind: "ack", to: from, round: message.round, version: 0 }];
    default:
      return [];
  }
};

Deno.test("WorkerGroup requests the full state when it joins", async () => {
  assertEquals(await scrapeAmong({ [OLD]: runningWorker() }), {
    total: "7",
    running: "0",
  });
});

Deno.test("WorkerGroup joins although its thread blocks after the start", async () => {
  const scraped = await scrapeAmong({ [OLD]: runningWorker() }, 1000);
  assertEquals(scraped, { total: "7", running: "0" });
});

Deno.test("WorkerGroup requests the full state after a missing delta", async () => {
  const other: Respond = (message, from) => {
    switch (message.kind) {
      case "join":
        return [{ kind: "present", hasJoined: false }];
      case "syncRequest": {
        if (message.target !== OTHER) return [];
        const state = { version: 2, hasLeft: false, unresponsiveForMs: null };
        return [
          fullState(from, { id: OTHER, ...state }, toItems(2, 1, OTHER)),
        ];
      }
      case "collect":
        return [
          { kind: "delta", version: 3, items: toItems(3, 1) },
          { kind: "ack", to: from, round: message.round, version: 3 },
        ];
      default:
        return [];
    }
  };
  const known = {
    id: OTHER,
    version: 1,
    hasLeft: false,
    unresponsiveForMs: null,
  };
  const scraped = await scrapeAmong({
    [OLD]: runningWorker([known], toItems(1, 1, OTHER)),
    [OTHER]: other,
  });
  assertEquals(scraped, { total: "10", running: "1" });
});

Deno.test("WorkerGroup repeats a lost sync request", async () => {
  let syncRequests = 0;
  const state = {
    id: OTHER,
    version: 3,
    hasLeft: false,
    unresponsiveForMs: null,
  };
  const other: Respond = (message, from) => {
    switch (message.kind) {
      case "join":
        return [{ kind: "present", hasJoined: true }];
      case "syncRequest":
        return ++syncRequests === 1
          ? []
          : [fullState(from, state, toItems(3, 1, OTHER))];
      case "collect":
        return [{ kind: "ack", to: from, round: message.round, version: 3 }];
      default:
        return [];
    }
  };
  assertEquals(await scrapeAmong({ [OTHER]: other }), {
    total: "3",
    running: "1",
  });
  assertEquals(syncRequests, 2);
});

Deno.test("WorkerGroup ignores other workers' views of a known peer", async () => {
  const slow: Respond = async (message, from) => {
    switch (message.kind) {
      case "join":
        return [
          { kind: "present", hasJoined: false },
          { kind: "delta", version: 1, items: toItems(5, 1) },
        ];
      case "collect":
        // A scrape that does not wait for this worker ends earlier.
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [
          { kind: "delta", version: 2, items: toItems(7, 1) },
          { kind: "ack", to: from, round: message.round, version: 2 },
        ];
      default:
        return [];
    }
  };
  const malicious: Respond = (message, from) => {
    switch (message.kind) {
      case "present":
        return [{ kind: "present", hasJoined: true }];
      case "syncRequest": {
        const state = { version: 0, hasLeft: true, unresponsiveForMs: 0 };
        return [fullState(from, { id: SLOW, ...state }, [])];
      }
      case "collect":
        return [{ kind: "ack", to: from, round: message.round, version: 0 }];
      default:
        return [];
    }
  };
  const scraped = await scrapeAmong({ [SLOW]: slow, [MALICIOUS]: malicious });
  assertEquals(scraped, { total: "7", running: "1" });
});

Deno.test("WorkerGroup does not add a retired worker again", async () => {
  const state = {
    id: RETIRED,
    version: 1,
    hasLeft: false,
    unresponsiveForMs: null,
  };
  const scraped = await scrapeAmong({
    [OLD]: runningWorker([state], toItems(5, 0, RETIRED)),
  });
  assertEquals(scraped, { total: "7", running: "0" });
});

Deno.test("WorkerGroup drops the ids of retired workers and keeps their counts", async () => {
  const count = 200;
  let onFullState = (_message: FullState) => {};
  // One of its messages was lost, so the full state is requested.
  let version = 0;
  const other: Respond = (message, from) => {
    switch (message.kind) {
      case "fullState":
        onFullState(message);
        return [];
      case "collect":
        return [{ kind: "ack", to: from, round: message.round, version }];
      case "syncRequest": {
        if (message.target !== OTHER) return [];
        const worker = { version: 1, hasLeft: false, unresponsiveForMs: null };
        // The second one has left, but is sent as running.
        const workers = [OTHER, idOf(100)].map((id) => ({ ...worker, id }));
        return [{
          kind: "fullState",
          to: from,
          workers,
          retired: [],
          hasDroppedIds: false,
          items: [...toItems(1000, 0, OTHER), ...toItems(1, 0, idOf(100))],
        }];
      }
      default:
        return [];
    }
  };
  const channel = simulateWorker(OTHER, other);
  await using thread = await startThread({ timeout: 1000 });
  const scrapeAfter = async (milliseconds: number) => {
    await thread.call("advance", milliseconds);
    // The first scrape retires workers that left long ago, the second one shows it.
    await thread.call("scrape");
    return Number(totalIn(await thread.call("scrape")));
  };
  const requestFullState = () => {
    const received = new Promise<FullState>((resolve) => onFullState = resolve);
    post(channel, OTHER, { kind: "syncRequest", target: threadId });
    return received;
  };
  let threadId = "";
  const observer = simulateWorker(OBSERVER, (message, from) => {
    if (message.kind === "collect") threadId = from;
    return message.kind === "collect"
      ? [{ kind: "ack", to: from, round: message.round, version: 0 }]
      : [];
  });
  try {
    for (let i = 0; i < count; i++) {
      const id = idOf(100 + i);
      post(channel, id, { kind: "join" });
      post(channel, id, { kind: "delta", version: 1, items: toItems(1, 0) });
      post(channel, id, { kind: "leave" });
      // Deno drops messages when a channel is full.
      await thread.call("advance", 0);
    }
    post(channel, OTHER, { kind: "join" });
    post(channel, OBSERVER, { kind: "join" });
    assertEquals(totalIn(await thread.call("scrape")), `${count}`);
    assertEquals(await scrapeAfter(20_000), count);
    assertEquals((await requestFullState()).retired.length, count);
    assertEquals(await scrapeAfter(600_000), count);
    const { retired, hasDroppedIds } = await requestFullState();
    assertEquals([retired, hasDroppedIds], [[], true]);

    version = 1;
    assertEquals(totalIn(await thread.call("scrape")), `${count + 1000}`);
  } finally {
    channel.close();
    observer.close();
  }
});

Deno.test("WorkerGroup requests the full state after a missing chunk", async () => {
  const channel = new BroadcastChannel(CHANNEL_NAME);
  const state = {
    id: OTHER,
    version: 1,
    hasLeft: false,
    unresponsiveForMs: null,
  };
  const other: Respond = (message, from) => {
    switch (message.kind) {
      case "join":
        return [{ kind: "present", hasJoined: false }];
      case "collect": {
        const lines = [...toItems(5, 1), ...toItems(7, 1), {
          kind: "delta",
          version: 1,
        }].map((each) => `${JSON.stringify(each)}\n`);
        for (const [index, line] of lines.entries()) {
          // A lost chunk.
          if (index === 1) continue;
          const isLast = index === lines.length - 1;
          const bytes = new TextEncoder().encode(line);
          channel.postMessage({
            from: OTHER,
            message: 1,
            index,
            isLast,
            bytes,
          });
        }
        return [{ kind: "ack", to: from, round: message.round, version: 1 }];
      }
      case "syncRequest":
        return [fullState(from, state, toItems(7, 1, OTHER))];
      default:
        return [];
    }
  };
  const scraped = await scrapeAmong({ [OTHER]: other });
  channel.close();
  assertEquals(scraped, { total: "7", running: "1" });
});

Deno.test("WorkerGroup announces hasJoined only after it has waited for the full state", async () => {
  const answers: boolean[] = [];
  let onAnswer = (_hasJoined: boolean) => {};
  const channel = simulateWorker(NEW_WORKER, (message) => {
    if (message.kind === "present") onAnswer(message.hasJoined);
    // The thread reads this before it has waited at all.
    return message.kind === "join" ? [{ kind: "join" }] : [];
  });
  const first = new Promise<boolean>((resolve) => onAnswer = resolve);
  const thread = await startThread({ blocksFor: 1000 });
  answers.push(await first);
  while (!answers.at(-1) && answers.length < 1000) {
    const next = new Promise<boolean>((resolve) => onAnswer = resolve);
    post(channel, NEW_WORKER, { kind: "join" });
    answers.push(await next);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  channel.close();
  await thread.end();
  assertEquals([answers[0], answers.at(-1)], [false, true]);
});

/** Returns items with own metrics in which some fields are replaced. */
function itemsWith(
  replacement: Readonly<Record<string, unknown>>,
  series: readonly unknown[] = [],
): unknown[] {
  const [{ delta }] = toItems(5, 1) as [Item];
  const [own] = delta.own!;
  const changes = [["test", "p", null, 1, 0, [[0, 5, 0, 1, [], ...series]]]];
  return [{
    delta: {
      registry: 0,
      own: [{ ...own, series: changes, ...replacement }],
    },
  }];
}

/** Returns items with a foreign metric in which some fields are replaced. */
function foreignItemsWith(
  replacement: Readonly<Record<string, unknown>>,
  change: readonly unknown[] = [0, 1, null, "their_total", {}],
): unknown[] {
  const description = { help: "Help", type: "counter", aggregator: "sum" };
  const foreign = { name: "their_total", description, changes: [change] };
  return [{
    delta: { registry: 0, foreign: [{ ...foreign, ...replacement }] },
  }];
}

const RAW = 'x{} 1\nraw 1\n# "';
const INFINITE = [...PIPELINE_BUCKETS.map(() => 0), 0, "Infinity"];
const NO_COUNTS = PIPELINE_BUCKETS.map(() => 0);

/** Items that no worker sends. Each is sent by a different sender. */
const INVALID_ITEMS: Readonly<Record<string, unknown>> = {
  "no delta": [{}],
  "null": [null],
  "many registries": [{ delta: { registry: 4e8, own: [] } }],
  "half a registry": [{ delta: { registry: 0.5, own: [] } }],
  "prefix": itemsWith({ prefix: RAW }),
  "label name": itemsWith({ labels: { [RAW]: "x" } }),
  "label value": itemsWith({ labels: { x: 1 } }),
  "long label": itemsWith({ labels: { x: "x".repeat(70_000) } }),
  "buckets that fall": itemsWith({ pipelineBuckets: [2, 1] }),
  "buckets of null": itemsWith({ stageBuckets: [null] }),
  "negative buckets": itemsWith({ prefix: "my_", stageBuckets: [-1, 1] }),
  "no buckets": itemsWith({ prefix: "my_", pipelineBuckets: [], series: [] }),
  "buckets that lack a standard one": itemsWith({
    pipelineBuckets: PIPELINE_BUCKETS.slice(1),
  }),
  "label of buckets": itemsWith({ labels: { le: "1" } }),
  "other buckets": itemsWith({}, [1, 2, 3]),
  "half a count": itemsWith({}, [0.5, ...NO_COUNTS, 0]),
  "a negative count": itemsWith({}, [-1, ...NO_COUNTS, 0]),
  "a negative sum": itemsWith({}, [0, ...NO_COUNTS, -1]),
  "no sum": itemsWith({}, [0, ...NO_COUNTS, null]),
  "issue": itemsWith({ issues: { [RAW]: 1 } }),
  "issues below 0": itemsWith({ issues: { late_stage: -1 } }),
  "clock": itemsWith({ now: "0" }),
  "long name": itemsWith({
    series: [["test", "p".repeat(129), null, 0, 0, []]],
  }),
  "negative total": itemsWith({
    series: [["test", "p", null, 0, 0, [[0, -5, 0, 1, []]]]],
  }),
  "infinite total": itemsWith({
    series: [["test", "p", null, 0, 0, [[0, 1e300, 0, 1, []]]]],
  }),
  "outcome": itemsWith({
    series: [["test", "p", null, 0, 0, [[9, 5, 0, 1, []]]]],
  }),
  "negative running": itemsWith({
    series: [["test", "p", null, -1, 0, []]],
  }),
  "exemplar": itemsWith({
    series: [["test", "p", null, 0, 0, [[0, 1, 0, 1, [[0, {
      labelSet: { [RAW]: "x" },
      value: 1,
      timestamp: 1,
    }]]]]]],
  }),
  "exemplar of no bucket": itemsWith({
    series: [["test", "p", null, 0, 0, [[0, 1, 0, 1, [[400, null]]]]]],
  }),
  "metric name": foreignItemsWith({ name: RAW }),
  "type": foreignItemsWith({
    description: { help: "Help", type: RAW, aggregator: "sum" },
  }),
  "aggregator": foreignItemsWith({
    description: { help: "Help", type: "gauge", aggregator: "mode" },
  }),
  "help": foreignItemsWith({
    description: { help: null, type: "gauge", aggregator: "sum" },
  }),
  "sample name": foreignItemsWith({}, [0, 1, null, RAW, {}]),
  "name of another sample": foreignItemsWith({}, [0, 1, null, "their_sum", {}]),
  "sample labels": foreignItemsWith({}, [0, 1, null, "their_total", {
    [RAW]: "1",
  }]),
  "packed labels": foreignItemsWith({}, [0, 1, null, "their_total", [[
    RAW,
    1,
  ]]]),
  "label of an object": foreignItemsWith({}, [0, 1, null, "their_total", {
    x: {},
  }]),
  "value": foreignItemsWith({}, [0, RAW, null, "their_total", {}]),
  "place": foreignItemsWith({}, [4e8, 1, null, "their_total", {}]),
};

/** Messages that no worker sends. */
const INVALID_MESSAGES: readonly Readonly<Record<string, unknown>>[] = [
  { kind: "delta" },
  { kind: "delta", version: -1 },
  { kind: "collect", round: "1", timeoutMs: 1 },
  { kind: "collect", round: 1, timeoutMs: null },
  { kind: "ack", to: OTHER, round: 1, version: 1e300 },
  { kind: "ack", to: "x", round: 1, version: 1 },
  { kind: "suspect", ids: [RAW] },
  { kind: "suspect", ids: "x" },
  { kind: "present" },
  { kind: "syncRequest", target: 1 },
  { kind: "fullState", to: OTHER },
  { kind: "toString" },
  { kind: ["delta"], version: 1 },
];

Deno.test("WorkerGroup rejects and counts invalid messages and items", async () => {
  let number = 1000;
  const channel = simulateWorker(OBSERVER, () => []);
  await using thread = await startThread({ timeout: 1000 });
  try {
    await thread.call("record", "p", 0.1, 3);
    await thread.call("scrape");
    for (const items of Object.values(INVALID_ITEMS)) {
      const message = { kind: "delta", version: 1, items } as MessageWithItems;
      post(channel, idOf(number++), message);
      post(channel, idOf(number - 1), { kind: "leave" });
    }
    for (const message of INVALID_MESSAGES) {
      post(channel, idOf(number++), message as never);
    }
    post(channel, RAW, { kind: "join" });
    const expected = Object.keys(INVALID_ITEMS).length +
      INVALID_MESSAGES.length + 1;
    const text = await scrapeUntil(
      thread,
      (text) => rejectedIn(text) === expected,
    );
    assertEquals(text.includes("raw"), false);
    assertEquals(text.match(/^\w+_pipeline_total\{.*[1-9]$/gm), [
      `${PREFIX}pipeline_total{lane="test",pipeline_name="p",status="failure"} 3`,
    ]);
    assertEquals(text.includes("their_total"), false);
    assertEquals(rejectedIn(text), expected);
  } finally {
    channel.close();
  }
});

/** Scrapes until a thread has read the posted messages. */
async function scrapeUntil(
  thread: Thread,
  condition: (text: string) => boolean,
): Promise<string> {
  let text = "";
  for (let i = 0; i < 100 && !condition(text); i++) {
    text = await thread.call("scrape");
  }
  return text;
}

/** Returns how many messages a thread has rejected. */
function rejectedIn(text: string): number {
  return Number(/issue="invalid_message"\} (.*)/.exec(text)?.[1]);
}

Deno.test("WorkerGroup accepts infinite durations", async () => {
  const channel = simulateWorker(OBSERVER, () => []);
  await using thread = await startThread({ timeout: 1000 });
  post(channel, OTHER, {
    kind: "delta",
    version: 1,
    items: itemsWith({}, INFINITE) as Item[],
  });
  post(channel, OTHER, { kind: "leave" });
  const sumIn = (text: string) =>
    /_pipeline_duration_seconds_sum\{.*success.*\} (.*)/.exec(text)?.[1];
  const text = await scrapeUntil(thread, (text) => sumIn(text) !== undefined);
  channel.close();
  assertEquals(sumIn(text), "+Inf");
});

/** Items that would decrease a count of pipeline `p`. */
const DECREASES: Readonly<Record<string, readonly unknown[]>> = {
  "a lower total": toItems(4, 0),
  "a lower total under other labels": itemsWith({
    labels: { host: "x" },
    series: [["test", "p", null, 1, 0, [[0, 4, 0, 1, []]]]],
  }),
  "no series under other labels": itemsWith({
    labels: { host: "x" },
    series: [],
  }),
  "no series with other buckets": itemsWith({
    pipelineBuckets: [...PIPELINE_BUCKETS, 10],
    series: [],
  }),
  "a lower bucket": itemsWith({}, [4, ...NO_COUNTS, 1]),
};

for (const [name, items] of Object.entries(DECREASES)) {
  Deno.test(`WorkerGroup rejects a decrease of a counter: ${name}`, async () => {
    const channel = simulateWorker(OBSERVER, () => []);
    await using thread = await startThread({ timeout: 1000 });
    const send = (version: number, items: readonly unknown[]) =>
      post(
        channel,
        OTHER,
        { kind: "delta", version, items } as MessageWithItems,
      );
    // Only a thread with a shared registry can count issues.
    await thread.call("scrape");
    send(1, itemsWith({}, [5, ...NO_COUNTS, 1]));
    send(2, items);
    post(channel, OTHER, { kind: "leave" });
    const text = await scrapeUntil(thread, (text) => rejectedIn(text) === 1);
    assertEquals(/_total\{.*"p",status="success"\} (.*)/.exec(text)?.[1], "5");
    assertEquals(/_bucket\{.*"p",.*"0.01"\} (.*)/.exec(text)?.[1], "5");
    // Later valid deltas of the same sender are applied.
    send(2, itemsWith({}, [6, ...NO_COUNTS, 1]));
    post(channel, OTHER, { kind: "leave" });
    const bucketIn = (text: string) =>
      /_bucket\{.*"p",.*"0.01"\} (.*)/.exec(text)?.[1];
    const later = await scrapeUntil(thread, (text) => bucketIn(text) === "6");
    channel.close();
    assertEquals(bucketIn(later), "6");
    assertEquals(rejectedIn(later), 1);
  });
}

Deno.test("WorkerGroup rejects a full state that would decrease a counter", async () => {
  let syncRequests = 0;
  const other: Respond = (message, from) => {
    switch (message.kind) {
      case "join":
        return [
          { kind: "present", hasJoined: false },
          { kind: "delta", version: 1, items: toItems(7, 1) },
        ];
      case "syncRequest": {
        syncRequests++;
        const state = { version: 2, hasLeft: false, unresponsiveForMs: null };
        return [
          fullState(from, { id: OTHER, ...state }, toItems(2, 1, OTHER)),
        ];
      }
      case "collect":
        return [{ kind: "ack", to: from, round: message.round, version: 2 }];
      default:
        return [];
    }
  };
  const scraped = await scrapeAmong({ [OTHER]: other });
  assertEquals(scraped, { total: "7", running: "1" });
  assert(syncRequests > 0);
});

Deno.test("WorkerGroup ignores a full state that it did not request", async () => {
  const state = { version: 9, hasLeft: false, unresponsiveForMs: null };
  const malicious: Respond = (message, from) => {
    switch (message.kind) {
      case "join":
        return [{ kind: "present", hasJoined: false }];
      case "collect":
        return [
          fullState(from, { id: OTHER, ...state }, toItems(9, 1, OTHER)),
          { kind: "ack", to: from, round: message.round, version: 0 },
        ];
      default:
        return [];
    }
  };
  const scraped = await scrapeAmong({ [MALICIOUS]: malicious });
  assertEquals(scraped, { total: undefined, running: undefined });
});

Deno.test("WorkerGroup takes from a full state how long peers have been unresponsive", async () => {
  const states = [599_000, 601_000].map((unresponsiveForMs, i) => ({
    id: idOf(100 + i),
    version: 1,
    hasLeft: false,
    unresponsiveForMs,
  }));
  const items = states.flatMap(({ id }, i) => toItems(10, 1 + i, id));
  const scraped = await scrapeAmong({ [OLD]: runningWorker(states, items) });
  assertEquals(scraped, { total: "27", running: "1" });
});

Deno.test("WorkerGroup retires the first of many unreachable workers", async () => {
  const count = 100;
  const ids = Array.from({ length: count }, (_, i) => idOf(100 + i));
  const states = ids.map((id, i) => ({
    id,
    version: 1,
    hasLeft: false,
    unresponsiveForMs: 700_000 + i,
  }));
  let threadId = "";
  let onFullState = (_message: FullState) => {};
  const items = ids.flatMap((id) => toItems(1, 1, id));
  const respond = runningWorker(states, items);
  const channel = simulateWorker(OLD, (message, from) => {
    if (message.kind === "collect") threadId = from;
    if (message.kind === "fullState") onFullState(message);
    return respond(message, from);
  });
  await using thread = await startThread({ timeout: 1000 });
  await thread.call("scrape");
  // The first two and the last of them answer again.
  for (const id of [ids[count - 1]!, ids[0]!, ids[1]!]) {
    post(channel, id, { kind: "delta", version: 2, items: toItems(3, 1) });
  }
  const text = await scrapeUntil(thread, (text) => totalIn(text) === "111");
  const received = new Promise<FullState>((resolve) => onFullState = resolve);
  post(channel, OLD, { kind: "syncRequest", target: threadId });
  const { workers } = await received;
  assertEquals(totalIn(text), "111");
  // A retired worker cannot be counted again, so its acknowledgement is an issue.
  const unresponsiveIn = (text: string) =>
    Number(/issue="worker_unresponsive"\} (.*)/.exec(text)?.[1]);
  await thread.call("scrape");
  const before = unresponsiveIn(await thread.call("scrape"));
  const ack = { kind: "ack", round: 1, version: 2 } as const;
  post(channel, ids[count - 1]!, { ...ack, to: threadId });
  post(channel, ids[count - 1]!, { ...ack, to: OTHER });
  const later = await scrapeUntil(
    thread,
    (text) => unresponsiveIn(text) > before,
  );
  channel.close();
  assertEquals([totalIn(later), unresponsiveIn(later)], ["111", before + 1]);
  // 64 unreachable workers or fewer, and the thread itself.
  assertEquals(workers.length, 65);
});

Deno.test("WorkerGroup retires workers without being scraped", async () => {
  const count = 2000;
  let onPresent = () => {};
  let onFullState = (_message: FullState) => {};
  let threadId = "";
  const channel = simulateWorker(OTHER, (message, from) => {
    if (message.kind === "fullState") onFullState(message);
    if (message.kind === "present") {
      threadId = from;
      onPresent();
    }
    return [];
  });
  await using thread = await startThread({ serves: false });
  try {
    for (let i = 0; i < count; i++) {
      const id = idOf(1000 + i);
      const present = new Promise<void>((resolve) => onPresent = resolve);
      post(channel, id, { kind: "join" });
      post(channel, id, { kind: "delta", version: 1, items: toItems(1, 0) });
      post(channel, id, { kind: "leave" });
      await present;
      if (i % 200 === 199) await thread.call("advance", 70_000);
    }
    const knownWorkers = async () => {
      post(channel, OTHER, { kind: "join" });
      const received = new Promise<FullState>((resolve) =>
        onFullState = resolve
      );
      post(channel, OTHER, { kind: "syncRequest", target: threadId });
      return (await received).workers.length;
    };
    // Retiring takes several turns of the event loop.
    let known = await knownWorkers();
    for (let i = 0; i < 100 && known >= 10; i++) known = await knownWorkers();
    assert(known < 10, `${known}`);
  } finally {
    channel.close();
  }
});

Deno.test("WorkerGroup rejects messages with its own id", async () => {
  let threadId = "";
  let present = 0;
  const channel = simulateWorker(OTHER, (message, from) => {
    if (message.kind === "join") threadId = from;
    if (message.kind === "present" && from === threadId) present++;
    return [];
  });
  await using thread = await startThread({ timeout: 1000 });
  await thread.call("scrape");
  const items = toItems(5, 1);
  post(channel, threadId, { kind: "delta", version: 1, items });
  post(channel, threadId, { kind: "leave" });
  const text = await scrapeUntil(thread, (text) => rejectedIn(text) === 2);
  await until(() => present >= 2);
  channel.close();
  assertEquals([totalIn(text), rejectedIn(text)], [undefined, 2]);
});

function totalIn(text: string): string | undefined {
  return /_pipeline_total\{.*"p",status="success"\} (.*)/.exec(text)?.[1];
}
