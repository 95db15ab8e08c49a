import { PIPELINE_BUCKETS, STAGE_BUCKETS } from "../mod.ts";
import { Channel } from "../src/channel.ts";
import type { Letter } from "../src/letters.ts";
import type { Telling } from "../src/replica.ts";
import { startThread } from "./threads.ts";
import { assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";

const CHANNEL_NAME = "@lukhas/stage-metrics/1";
const PREFIX = "lukhas_orchestration_";

/** What a worker that consists of letters alone makes of those of others. */
type Reply = (
  letter: Letter,
  from: string,
) => readonly Letter[] | Promise<readonly Letter[]>;

function correspond(id: string, reply: Reply): Channel<Letter> {
  const channel: Channel<Letter> = new Channel(
    CHANNEL_NAME,
    id,
    async (from, letter) => {
      for (const answer of await reply(letter, from)) channel.post(answer);
    },
  );
  return channel;
}

/** What a thread that is new among such workers tells of the pipeline `p`. */
async function scrapeAmong(
  workers: Readonly<Record<string, Reply>>,
): Promise<{ total: string | undefined; running: string | undefined }> {
  let isOver = false;
  for (const [id, reply] of Object.entries(workers)) {
    // Among what strangers say is `null`, too.
    correspond(
      id,
      (letter, from) => isOver || letter === null ? [] : reply(letter, from),
    );
  }
  const thread = await startThread({ timeout: 1000 });
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
    isOver = true;
    await thread.terminate();
  }
}

/** That so many runs of a pipeline ended well, and so many are under way. */
function tellings(total: number, running: number): Telling[] {
  return [{
    registry: 0,
    own: [{
      prefix: PREFIX,
      labels: {},
      pipelineBuckets: PIPELINE_BUCKETS,
      stageBuckets: STAGE_BUCKETS,
      now: 0,
      issues: {},
      series: [["test", "p", null, running, 0, [[0, total, 0, 1]]]],
    }],
  }];
}

/** All that there is to know, if it is about one worker. */
function everything(
  to: string,
  worker: { id: string; version: number; hasLeft: boolean; isSilent: boolean },
  told: readonly Telling[],
): Letter {
  return {
    kind: "everything",
    to,
    workers: [{ ...worker, tellings: told }],
    departed: [],
    departedTellings: [],
  };
}

Deno.test("A newcomer asks for all that was before it, even if only the departed counted", async () => {
  const old: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: true }];
      case "fetch":
        return [{
          kind: "everything",
          to: from,
          workers: [],
          departed: ["gone"],
          departedTellings: tellings(7, 1),
        }];
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 0 }];
      default:
        return [];
    }
  };
  assertEquals(await scrapeAmong({ old }), { total: "7", running: "0" });
});

Deno.test("A worker asks whoever has told more than it heard for everything", async () => {
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "fetch": {
        const told = tellings(7, 1);
        const state = { id: "other", version: 3, hasLeft: false };
        return [everything(from, { ...state, isSilent: false }, told)];
      }
      case "ask":
        return [{ kind: "told", to: from, round: letter.round, version: 3 }];
      default:
        return [];
    }
  };
  assertEquals(await scrapeAmong({ other }), { total: "7", running: "1" });
});

Deno.test("A worker is believed about itself, whatever others think of it", async () => {
  const slow: Reply = async (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "ask":
        // Whoever does not wait for it will have ended by then.
        await new Promise((resolve) => setTimeout(resolve, 100));
        return [
          { kind: "tell", version: 1, tellings: tellings(7, 1) },
          { kind: "told", to: from, round: letter.round, version: 1 },
        ];
      default:
        return [];
    }
  };
  for (const lie of [{ hasLeft: true }, { isSilent: true }]) {
    const liar: Reply = (letter, from) => {
      switch (letter.kind) {
        case "here":
          return [{ kind: "here", hasJoined: true }];
        case "fetch": {
          const state = { id: "slow", version: 0, hasLeft: false };
          const worker = { ...state, isSilent: false, ...lie };
          return [everything(from, worker, [])];
        }
        case "ask":
          return [{ kind: "told", to: from, round: letter.round, version: 0 }];
        default:
          return [];
      }
    };
    assertEquals(await scrapeAmong({ slow, liar }), {
      total: "7",
      running: "1",
    });
  }
});

Deno.test("What strangers say on the channel does no harm", async () => {
  const channel = new BroadcastChannel(CHANNEL_NAME);
  const bytes = (text: string) => new TextEncoder().encode(text);
  const strange = [
    null,
    "text",
    { bytes: 1 },
    { from: "x", isLast: true, bytes: bytes("{") },
    { from: "y", isLast: true, bytes: bytes("null") },
    { from: "z", isLast: true, bytes: bytes('{"kind":"tell"}') },
  ];
  const other: Reply = (letter, from) => {
    switch (letter.kind) {
      case "hello":
        return [{ kind: "here", hasJoined: false }];
      case "ask":
        for (const message of strange) channel.postMessage(message);
        return [
          { kind: "tell", version: 1, tellings: tellings(7, 1) },
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
