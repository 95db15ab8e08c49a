import { assert, assertEquals } from "@std/assert";
import { BroadcastChannel } from "node:worker_threads";
import { Channel } from "../../src/workers/channel.ts";

const SENDER = "00000000-0000-4000-8000-000000000001";
const FLOODING = "00000000-0000-4000-8000-000000000002";

interface Message {
  readonly kind: string;
}

/** Opens a channel, and returns functions that post chunks to it. */
function openTestChannel(name: string) {
  const messages: string[] = [];
  const reasons = new Map<string, number>();
  let onRead = () => {};
  new Channel<Message, Message>(name, {
    isMessage: (value): value is Message => value !== null,
    isItem: (value): value is Message => value !== null,
    async onMessage(from, { kind }, items) {
      messages.push([from, kind, ...items.map(({ kind }) => kind)].join(" "));
      onRead();
      await Promise.resolve();
    },
    onRejected(reason) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      onRead();
    },
  });
  const raw = new BroadcastChannel(name) as unknown as {
    postMessage(message: unknown): void;
    close(): void;
  };
  return {
    messages,
    reasons,
    post: (message: unknown) => raw.postMessage(message),
    /** Posts a chunk of a message. A newline at its end makes it the last one. */
    write(from: string, message: number, index: number, text: string) {
      const bytes = new TextEncoder().encode(text);
      const isLast = text.endsWith("\n");
      raw.postMessage({ from, message, index, isLast, bytes });
    },
    async until(condition: () => boolean) {
      while (!condition()) {
        await new Promise<void>((resolve) => onRead = resolve);
      }
    },
    close: () => raw.close(),
  };
}

/** Runs a test without sanitizers, as a channel stays open until its thread exits. */
function testChannel(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });
}

testChannel(
  "Channel drops incomplete messages of the sender with the most of them",
  async () => {
    const { messages, reasons, write, until, close } = openTestChannel(
      "test incomplete",
    );
    write(SENDER, 0, 0, '{"kind":"items"}\n{"kind":');
    for (let message = 0; message < 300; message++) {
      write(FLOODING, message, 0, '{"kind":"items"}\n{"kind":');
    }
    write(FLOODING, 0, 1, '"first"}\n');
    write(FLOODING, 299, 1, '"last"}\n');
    write(SENDER, 0, 1, '"ended"}\n');
    await until(() => messages.length === 2);
    close();
    assertEquals(messages, [
      `${FLOODING} last items`,
      `${SENDER} ended items`,
    ]);
    assertEquals([...reasons], [["too many incomplete messages", 45]]);
  },
);

testChannel("Channel bounds the bytes of incomplete messages", async () => {
  const { messages, reasons, write, until, close } = openTestChannel(
    "test bytes",
  );
  write(SENDER, 0, 0, '{"kind":');
  const text = "x".repeat(60 * 1024);
  for (let index = 0; !reasons.has("too many incomplete messages"); index++) {
    assert(index < 2000);
    write(FLOODING, 1, index, text);
    if (index % 20 === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  write(SENDER, 0, 1, '"ended"}\n');
  await until(() => messages.length === 1);
  close();
  assertEquals(messages, [`${SENDER} ended`]);
});

testChannel(
  "Channel rejects invalid chunks, messages and JSON",
  async () => {
    const { messages, reasons, post, write, until, close } = openTestChannel(
      "test chunks",
    );
    const chunk = {
      from: SENDER,
      message: 0,
      index: 0,
      isLast: true,
      bytes: new TextEncoder().encode('{"kind":"a"}\n'),
    };
    const replacements = [
      { from: "x" },
      { from: { toString: 1 } },
      { message: -1 },
      { message: "0" },
      { index: 0.5 },
      { isLast: 1 },
      { bytes: new Uint8Array(64 * 1024) },
      { bytes: "{}" },
    ];
    const invalid = [
      null,
      1,
      "text",
      [],
      ...replacements.map((each) => ({ ...chunk, ...each })),
    ];
    for (const message of invalid) post(message);
    write(SENDER, 1, 0, "{\n");
    write(SENDER, 2, 0, "null\n");
    write(SENDER, 3, 0, 'null\n{"kind":"b"}\n');
    post({ ...chunk, bytes: new Uint8Array(new SharedArrayBuffer(2)) });
    post(chunk);
    await until(() => messages.length === 2);
    close();
    assertEquals(messages, [`${SENDER} b`, `${SENDER} a`]);
    assertEquals(reasons.get("not a chunk of a message"), invalid.length);
    assertEquals(reasons.get("not a valid message"), 1);
    assertEquals(reasons.get('"b" has invalid items'), 1);
  },
);
