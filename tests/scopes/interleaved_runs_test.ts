import { assertEquals } from "@std/assert";
import { EventEmitter, once } from "node:events";
import { setImmediate as immediate } from "node:timers/promises";
import { pipeline, stage } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { pipelineTotal, samplesOf, stageTotal } from "../support/samples.ts";

/** Ways of continuing code later, each of which must keep the context. */
const WAITS: Record<string, () => PromiseLike<unknown>> = {
  await: async () => {
    await null;
    await undefined;
  },
  timer: () => new Promise((resolve) => setTimeout(resolve)),
  immediate: () => immediate(),
  microtask: () => new Promise<void>((resolve) => queueMicrotask(resolve)),
  thenable: () => ({
    then(resolve) {
      setTimeout(() => resolve?.(undefined as never));
      return this as never;
    },
  }),
  stream: async () => {
    const source = new ReadableStream<number>({
      async pull(controller) {
        await new Promise((resolve) => setTimeout(resolve));
        controller.enqueue(1);
        controller.close();
      },
    });
    const upper = source.pipeThrough(
      new TransformStream({
        transform: (chunk, controller) => controller.enqueue(chunk),
      }),
    );
    for await (const _ of upper);
  },
  generator: async () => {
    async function* numbers() {
      yield await Promise.resolve(1);
      yield 2;
    }
    for await (const _ of numbers());
  },
  event: async () => {
    const emitter = new EventEmitter();
    setTimeout(() => emitter.emit("done"));
    await once(emitter, "done");
  },
  all: () => Promise.all([WAITS.timer!(), WAITS.microtask!()]),
  race: () => Promise.race([WAITS.timer!(), WAITS.microtask!()]),
};

Deno.test("pipeline() counts 10,000 interleaved runs exactly", async () => {
  const expected: Record<string, number> = {};
  const expect = (series: string) =>
    expected[series] = (expected[series] ?? 0) + 1;
  const ways = Object.entries(WAITS);

  await captureMetrics({ lane: "test", onIssue() {} }, async (metrics) => {
    /** Runs one of 50 names in one of 3 lanes, with each way of waiting in turn. */
    async function run(i: number): Promise<void> {
      const name = `p${i % 50}`;
      const lane = ["test", "canary", "batch"][i % 3]!;
      const [way, wait] = ways[i % ways.length]!;
      const [otherWay, otherWait] = ways[(i + 3) % ways.length]!;
      const fails = i % 7 === 0;
      const expectStage = (pipeline: string, stage: string, outcome: string) =>
        expect(stageTotal(pipeline, stage, outcome, lane));
      await pipeline(name, { lane }, async () => {
        await wait();
        await Promise.all([
          stage(way, async () => {
            await wait();
            await stage("nested", wait);
          }),
          stage(otherWay, otherWait),
          pipeline("inner", () => stage("own", otherWait)),
        ]);
        await stage("maybe", async () => {
          await otherWait();
          if (fails) throw new Error("No");
        });
      }).catch(() => {});
      expectStage(name, way, "success");
      expectStage(name, "nested", "success");
      expectStage(name, otherWay, "success");
      expectStage("inner", "own", "success");
      expect(pipelineTotal("inner", "success", lane));
      expectStage(name, "maybe", fails ? "failure" : "success");
      expect(pipelineTotal(name, fails ? "failure" : "success", lane));
    }
    await Promise.all(Array.from({ length: 10_000 }, (_, i) => run(i)));
    // No issues: no stage was an orphan or late.
    assertEquals(await samplesOf(metrics, /_total$/), expected);
    assertEquals(await samplesOf(metrics, /_in_progress$/), {});
  });
});
