import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../mod.ts";
import type { Enclosed, Letter, WorkerState } from "../src/letters.ts";
import type { Telling } from "../src/replica.ts";
import { startThread } from "./threads.ts";
import { assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";

const CHANNEL_NAME = "@lukhas/stage-metrics/2";
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
      if (letter.of !== "old") return [];
      return [{
        kind: "everything",
        to: from,
        workers,
        departed: [["gone", 60_000]],
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
  assertEquals(await scrapeAmong({ old: old() }), { total: "7", running: "0" });
});

Deno.test("A newcomer that stands still while it starts hears what was before it, all the same", async () => {
  const told = await scrapeAmong({ old: old() }, 1000);
  assertEquals(told, { total: "7", running: "0" });
});

Deno.test("A worker asks whoever has told more than it heard for everything, and forgets nothing by that", async () => {
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "fetch": {
        if (letter.of !== "other") return [];
        const state = { version: 2, hasLeft: false, isSilent: false };
        return [
          everything(from, { id: "other", ...state }, enclose(2, 1, "other")),
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
    id: "other",
    version: 1,
    hasLeft: false,
    isSilent: false,
  };
  const told = await scrapeAmong({
    old: old([known], enclose(1, 1, "other")),
    other,
  });
  assertEquals(told, { total: "10", running: "1" });
});

Deno.test("A worker whose question was lost asks once more", async () => {
  let fetches = 0;
  const state = { id: "other", version: 3, hasLeft: false, isSilent: false };
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: true }];
      case "fetch":
        return ++fetches === 1
          ? []
          : [everything(from, state, enclose(3, 1, "other"))];
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 3 }];
      default:
        return [];
    }
  };
  assertEquals(await scrapeAmong({ other }), { total: "3", running: "1" });
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
        const state = { version: 0, hasLeft: true, isSilent: true };
        return [everything(from, { id: "slow", ...state }, [])];
      }
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 0 }];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ slow, liar });
  assertEquals(told, { total: "7", running: "1" });
});

Deno.test("Who has left for good is not taken in again, whoever tells of it", async () => {
  const gone = {
    id: "gone",
    version: 1,
    hasLeft: false,
    isSilent: false,
  };
  const told = await scrapeAmong({ old: old([gone], enclose(5, 0, "gone")) });
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
        if (letter.of !== "other") return [];
        const worker = { version: 1, hasLeft: false, isSilent: false };
        // One that has left passes for one that is there.
        const workers = ["other", "gone 0"].map((id) => ({ ...worker, id }));
        return [{
          kind: "everything",
          to: from,
          workers,
          departed: [],
          hasForgotten: false,
          enclosed: [...enclose(1000, 0, "other"), ...enclose(1, 0, "gone 0")],
        }];
      }
      default:
        return [];
    }
  };
  const channel = correspond("other", other);
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
    post(channel, "other", { kind: "fetch", of: threadId });
    return told;
  };
  let threadId = "";
  const ear = correspond("ear", (letter, from) => {
    if (letter.kind === "ask") threadId = from;
    return letter.kind === "ask"
      ? [{ kind: "told", to: from, round: letter.round, version: 0 }]
      : [];
  });
  try {
    for (let i = 0; i < count; i++) {
      const id = `gone ${i}`;
      post(channel, id, { kind: "hello" });
      post(channel, id, { kind: "tell", version: 1, enclosed: enclose(1, 0) });
      post(channel, id, { kind: "bye" });
      // Deno drops messages when a channel is full.
      await thread.tell("advance", 0);
    }
    post(channel, "other", { kind: "hello" });
    post(channel, "ear", { kind: "hello" });
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
  const state = { id: "other", version: 1, hasLeft: false, isSilent: false };
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
            from: "other",
            letter: 1,
            index,
            isLast,
            bytes,
          });
        }
        return [{ kind: "told", to: from, round: letter.round, version: 1 }];
      }
      case "fetch":
        return [everything(from, state, enclose(7, 1, "other"))];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ other });
  channel.close();
  assertEquals(told, { total: "7", running: "1" });
});

Deno.test("A worker that has just started does not pass for one that knows what was before, until nobody told it", async () => {
  const answers: boolean[] = [];
  let onAnswer = (_hasJoined: boolean) => {};
  const channel = correspond("newcomer", (letter) => {
    if (letter.kind === "here") onAnswer(letter.hasJoined);
    // By the time it has read this, it has listened for no time at all.
    return letter.kind === "hello" ? [{ kind: "hello" }] : [];
  });
  const first = new Promise<boolean>((resolve) => onAnswer = resolve);
  const thread = await startThread({ standsStill: 1000 });
  answers.push(await first);
  while (!answers.at(-1) && answers.length < 1000) {
    const next = new Promise<boolean>((resolve) => onAnswer = resolve);
    post(channel, "newcomer", { kind: "hello" });
    answers.push(await next);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  channel.close();
  await thread.end();
  assertEquals([answers[0], answers.at(-1)], [false, true]);
});

Deno.test("What strangers say on the channel does no harm", async () => {
  const channel = new BroadcastChannel(CHANNEL_NAME);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const strange = [
    null,
    "text",
    { bytes: 1 },
    { from: "w", index: 1, isLast: true, bytes: bytes("{") },
    { from: "x", index: 0, isLast: true, bytes: bytes("{\n") },
    { from: "y", index: 0, isLast: true, bytes: bytes("null\n") },
    {
      from: "z",
      index: 0,
      isLast: true,
      bytes: bytes('{"kind":"tell"}\n'),
    },
  ];
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "ask":
        for (const message of strange) channel.postMessage(message);
        return [
          { kind: "tell", version: 1, enclosed: enclose(7, 1) },
          { kind: "told", to: from, round: letter.round, version: 1 },
        ];
      default:
        return [];
    }
  };
  const told = await scrapeAmong({ other });
  channel.close();
  assertEquals(told, { total: "7", running: "1" });
});
