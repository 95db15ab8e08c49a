import { assert, assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";
import { Channel } from "../../src/workers/channel.ts";

const SENDER = "00000000-0000-4000-8000-000000000001";
const ANNOYING = "00000000-0000-4000-8000-000000000002";

interface Letter {
  readonly kind: string;
}

/** Returns a channel, and what writes pieces of letters to it. */
function listen(name: string) {
  const letters: string[] = [];
  const reasons = new Map<string, number>();
  let onRead = () => {};
  new Channel<Letter, Letter>(name, {
    isLetter: (value): value is Letter => value !== null,
    isEnclosed: (value): value is Letter => value !== null,
    async onLetter(from, { kind }, enclosed) {
      letters.push([from, kind, ...enclosed.map(({ kind }) => kind)].join(" "));
      onRead();
      await Promise.resolve();
    },
    onRefused(reason) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      onRead();
    },
  });
  const raw = new BroadcastChannel(name) as unknown as {
    postMessage(message: unknown): void;
    close(): void;
  };
  return {
    letters,
    reasons,
    post: (message: unknown) => raw.postMessage(message),
    /** Writes a piece of a letter. */
    write(from: string, letter: number, index: number, text: string) {
      const bytes = new TextEncoder().encode(text);
      const isLast = text.endsWith("\n");
      raw.postMessage({ from, letter, index, isLast, bytes });
    },
    async until(isSo: () => boolean) {
      while (!isSo()) await new Promise<void>((resolve) => onRead = resolve);
    },
    close: () => raw.close(),
  };
}

/** Tests a channel: a thread has it until it ends, and so nothing closes it. */
function testChannel(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

testChannel(
  "Channel drops the letters that one sender never ends, and reads others' on",
  async () => {
    const { letters, reasons, write, until, close } = listen("test never ends");
    write(SENDER, 0, 0, '{"kind":"enclosed"}\n{"kind":');
    for (let letter = 0; letter < 300; letter++) {
      write(ANNOYING, letter, 0, '{"kind":"enclosed"}\n{"kind":');
    }
    write(ANNOYING, 0, 1, '"first"}\n');
    write(ANNOYING, 299, 1, '"last"}\n');
    write(SENDER, 0, 1, '"ended"}\n');
    await until(() => letters.length === 2);
    close();
    assertEquals(letters, [
      `${ANNOYING} last enclosed`,
      `${SENDER} ended enclosed`,
    ]);
    assertEquals([...reasons], [["too many are incomplete", 45]]);
  },
);

testChannel("Channel bounds the bytes of letters that never end", async () => {
  const { letters, reasons, write, until, close } = listen("test bytes");
  write(SENDER, 0, 0, '{"kind":');
  const text = "x".repeat(60 * 1024);
  for (let index = 0; !reasons.has("too many are incomplete"); index++) {
    assert(index < 2000);
    write(ANNOYING, 1, index, text);
    if (index % 20 === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  write(SENDER, 0, 1, '"ended"}\n');
  await until(() => letters.length === 1);
  close();
  assertEquals(letters, [`${SENDER} ended`]);
});

testChannel(
  "Channel refuses what is not a piece, a letter or JSON",
  async () => {
    const { letters, reasons, post, write, until, close } = listen(
      "test pieces",
    );
    const piece = {
      from: SENDER,
      letter: 0,
      index: 0,
      isLast: true,
      bytes: new TextEncoder().encode('{"kind":"a"}\n'),
    };
    const others = [
      { from: "x" },
      { from: { toString: 1 } },
      { letter: -1 },
      { letter: "0" },
      { index: 0.5 },
      { isLast: 1 },
      { bytes: new Uint8Array(64 * 1024) },
      { bytes: "{}" },
    ];
    const strange = [
      null,
      1,
      "text",
      [],
      ...others.map((each) => ({ ...piece, ...each })),
    ];
    for (const message of strange) post(message);
    write(SENDER, 1, 0, "{\n");
    write(SENDER, 2, 0, "null\n");
    write(SENDER, 3, 0, 'null\n{"kind":"b"}\n');
    post({ ...piece, bytes: new Uint8Array(new SharedArrayBuffer(2)) });
    post(piece);
    await until(() => letters.length === 2);
    close();
    assertEquals(letters, [`${SENDER} b`, `${SENDER} a`]);
    assertEquals(reasons.get("it is not a piece of a letter"), strange.length);
    assertEquals(reasons.get("it is not a letter"), 1);
    assertEquals(reasons.get('"b" encloses invalid items'), 1);
  },
);
