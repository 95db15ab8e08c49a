/** Tests foreign text in messages, which logs and terminals display. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { Gauge, Registry } from "prom-client";
import {
  createStageMetrics,
  definePipeline,
  metricsHandler,
  openPipeline,
  pipeline,
  type PipelineOptions,
  stage,
} from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";

/** Matches text that cannot end a line, move a cursor or change the writing direction. */
// deno-lint-ignore no-control-regex
const PRINTABLE = /^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$/u;

/** A name that clears a screen, forges a line, and reverses the following text. */
const MALICIOUS = "\u001b[2J\u009b2J\r\nroot: all is well\u2028\u202e";

/** Ways in which a malicious name gets into a message. */
const MISUSES: Readonly<Record<string, (name: string) => unknown>> = {
  "an orphan stage": (name) => stage(name, () => {}),
  "a late stage": (name) =>
    pipeline(name, (scope) => scope).stage(name, () => {}),
  "a late pipeline": (name) =>
    pipeline(name, ({ bind }) => bind(() => pipeline(name, () => {})))(),
  "an unawaited stage": (name) =>
    pipeline(name, () => {
      stage(name, () => Promise.resolve());
    }),
  "an undeclared stage": (name) =>
    definePipeline(name, { stages: {} }).run(() => stage(name, () => {})),
  "a closed pipeline": (name) => {
    const { close } = openPipeline(name);
    close();
    close();
  },
  "an error of a hook": (name) =>
    pipeline("p", {
      classifyResult() {
        throw new Error(name);
      },
    }, () => {}),
  "a text thrown by a hook": (name) =>
    pipeline("p", {
      classifyResult() {
        throw name;
      },
    }, () => {}),
  "a timeout": (name) =>
    pipeline(
      name,
      () => stage(name, { timeout: 0 }, () => new Promise(() => {})),
    ),
  "a pipeline's timeout": (name) =>
    pipeline(name, { timeout: 0 }, () => new Promise(() => {})),
  "an unknown option": (name) =>
    definePipeline("p", { stages: {}, [name]: 1 } as { stages: object }),
  "an unknown option of a stage": (name) =>
    definePipeline("p", { stages: { [name]: { [name]: 1 } } }),
  "a prefix": (name) => createStageMetrics({ prefix: name }),
  "a path": (name) =>
    metricsHandler({ next: () => new Response(), path: name }),
  "a decorated class": (name) => {
    const named = { [name]: class {} };
    return pipeline("p")(named[name] as unknown as () => void);
  },
  "a missing function": (name) =>
    pipeline(name, {}, undefined as unknown as () => void),
  "a lane of another type": (name) =>
    pipeline("p", { lane: [name] } as unknown as PipelineOptions, () => {}),
};

for (const [misuse, commit] of Object.entries(MISUSES)) {
  Deno.test(`message of ${misuse} is printable and short`, async () => {
    for (const name of [MALICIOUS, `${MALICIOUS}${"z".repeat(5e6)}`]) {
      const messages: string[] = [];
      const options = {
        lane: "test",
        onIssue: ({ message }: { readonly message: string }) => {
          messages.push(message);
        },
      };
      await captureMetrics(options, async () => {
        try {
          await commit(name);
        } catch (error) {
          messages.push((error as Error).message);
        }
      });
      assert(messages.length > 0, "no message");
      for (const message of messages) {
        assertMatch(message, PRINTABLE);
        assert(message.length < 1_000, `${message.length} characters`);
      }
    }
  });
}

Deno.test("message of a collector's error is printable and short", async () => {
  const registry = new Registry();
  const others = new Registry();
  const messages: string[] = [];
  const metrics = createStageMetrics({
    registry,
    onIssue: ({ message }) => {
      messages.push(message);
    },
  });
  new Gauge({
    name: "fails",
    help: "h",
    registers: [registry],
    collect() {
      throw new Error(`${MALICIOUS}${"e".repeat(5e6)}`);
    },
  });
  for (
    const [each, type] of [[registry, "gauge"], [others, MALICIOUS]] as const
  ) {
    each.registerMetric({
      name: MALICIOUS,
      get: () =>
        Promise.resolve({ name: MALICIOUS, help: "", type, values: [] }),
    } as unknown as Gauge);
  }
  const handler = metrics.metricsHandler({ registry: [registry, others] });
  await (await handler(new Request("http://localhost/"))).text();
  assertEquals(messages.length, 2);
  for (const message of messages) {
    assertMatch(message, PRINTABLE);
    assert(message.length < 1_000, `${message.length} characters`);
  }
});

Deno.test("pipeline() accepts names of any type in the context of an ended pipeline", async () => {
  await captureMetrics({ onIssue() {} }, () => {
    const unreadable = {
      toString() {
        throw new Error("Not to be called");
      },
    };
    const later = pipeline(
      "p",
      ({ bind }) => bind((fn: () => unknown) => fn()),
    );
    for (const name of [Symbol("p"), unreadable, null, 5]) {
      assertEquals(
        later(() => pipeline(name as unknown as string, () => 1)),
        1,
      );
      assertEquals(later(() => stage(name as unknown as string, () => 1)), 1);
    }
  });
});
