/**
 * Measures the AI SDK with its mock models.
 *
 * @module
 */
import { setTimeout as delay } from "node:timers/promises";
import { deferred, printResults, settled, totals } from "./scenarios.js";

// Imported dynamically, as static imports would have to be in the import map.
const { generateText, isStepCount, simulateReadableStream, streamText, tool } =
  await import("ai");
const { MockLanguageModelV4 } = await import("ai/test");
const { z } = await import("zod");

const usage = {
  inputTokens: { total: 1, noCache: 1 },
  outputTokens: { total: 1, text: 1 },
};
const finishReason = { unified: "stop", raw: "stop" };
const prompt = "Greet me";

/** A model that streams parts, a word every few milliseconds. */
function streaming(parts, options) {
  return new MockLanguageModelV4({
    doStream: () => ({
      stream: simulateReadableStream({
        initialDelayInMs: 30,
        chunkDelayInMs: 2,
        chunks: [
          { type: "stream-start", warnings: [] },
          { type: "text-start", id: "1" },
          ...parts,
          { type: "text-end", id: "1" },
          { type: "finish", finishReason, usage },
        ],
      }),
    }),
    ...options,
  });
}

function word(delta) {
  return { type: "text-delta", id: "1", delta };
}

const WORDS = ["All ", "is ", "well"].map(word);

/** A model that calls a tool first, and then answers by its result. */
function callingTool() {
  const generate = (content, unified) => ({
    content,
    finishReason: { unified, raw: unified },
    usage,
    warnings: [],
  });
  return new MockLanguageModelV4({
    doGenerate: [
      generate([{
        type: "tool-call",
        toolCallId: "1",
        toolName: "lookUp",
        input: '{"key":"x"}',
      }], "tool-calls"),
      generate([{ type: "text", text: "It is 42" }], "stop"),
    ],
  });
}

/** Returns the total seconds of a stage from a scrape. */
async function secondsOf({ metricsHandler }, stage) {
  const response = await metricsHandler()(new Request("http://localhost/"));
  const pattern = new RegExp(
    `^lukhas_orchestration_stage_duration_seconds_sum{.*stage_name="${stage}".*} (.*)$`,
    "m",
  );
  return Number(pattern.exec(await response.text())[1]);
}

await printResults({
  async "generateText(): a model and a tool"(metrics) {
    const { pipeline, stage } = metrics;
    const answer = (model) =>
      pipeline("answer", async () => {
        const { text } = await stage("model", () =>
          generateText({
            model,
            prompt,
            stopWhen: isStepCount(3),
            tools: {
              lookUp: tool({
                inputSchema: z.object({ key: z.string() }),
                execute: () => stage("look_up", () => delay(5, 42)),
              }),
            },
          }));
        return text;
      });
    const answers = await Promise.all([
      answer(callingTool()),
      answer(callingTool()),
    ]);
    return { answers, counts: await totals(metrics) };
  },
  async "generateText(): a model that fails"(metrics) {
    const { pipeline, stage } = metrics;
    const error = new Error("No quota");
    const model = new MockLanguageModelV4({
      doGenerate: () => Promise.reject(error),
    });
    const result = await pipeline(
      "answer",
      () =>
        stage("model", () => generateText({ model, prompt, maxRetries: 0 })),
    )
      .catch((thrown) => thrown === error || String(thrown));
    return { result, counts: await totals(metrics) };
  },
  async "streamText(): the time to the first chunk"(metrics) {
    const { pipeline, stageStream } = metrics;
    const words = [];
    const stream = pipeline(
      "answer",
      () =>
        stageStream(
          "model",
          { firstChunk: "first_token" },
          () => streamText({ model: streaming(WORDS), prompt }).textStream,
        ),
    );
    for await (const word of stream) {
      words.push(word);
      if (words.length === 1) await delay(30);
    }
    const [first, all] = [
      await secondsOf(metrics, "first_token"),
      await secondsOf(metrics, "model"),
    ];
    return {
      words,
      isFirstTimed: first > 0.02 && all - first > 0.02,
      counts: await totals(metrics),
    };
  },
  async "streamText(): continues after an error"(metrics) {
    const { pipeline, stageStream } = metrics;
    const parts = [
      word("All "),
      { type: "error", error: new Error("Overloaded") },
      word("is well"),
    ];
    const words = [];
    const stream = pipeline(
      "answer",
      () =>
        stageStream("model", async function* ({ setOutcome }) {
          const { fullStream } = streamText({
            model: streaming(parts),
            prompt,
            onError() {},
          });
          for await (const part of fullStream) {
            if (part.type === "error") setOutcome("failure");
            if (part.type === "text-delta") yield part.text;
          }
        }),
    );
    for await (const word of stream) words.push(word);
    return { words, counts: await totals(metrics) };
  },
  async "streamText(): the consumer stops"(metrics) {
    const { pipeline, stage, stageStream } = metrics;
    const closed = deferred();
    async function* texts() {
      try {
        const { textStream } = streamText({ model: streaming(WORDS), prompt });
        for await (const text of textStream) {
          yield await stage("moderate", () => delay(1, text));
        }
      } finally {
        closed.resolve();
      }
    }
    const words = [];
    const stream = pipeline(
      "answer",
      () => stageStream("model", () => texts()),
    );
    for await (const word of stream) {
      words.push(word);
      break;
    }
    await closed.promise;
    return { words, counts: await totals(metrics) };
  },
  async "streamText(): the caller cancels"(metrics) {
    const { pipeline, stageStream } = metrics;
    const caller = new AbortController();
    const aborted = deferred();
    const model = streaming(WORDS, {
      doStream({ abortSignal }) {
        abortSignal.addEventListener("abort", () => aborted.resolve(true));
        return {
          stream: new ReadableStream({
            start(controller) {
              controller.enqueue({ type: "stream-start", warnings: [] });
              controller.enqueue({ type: "text-start", id: "1" });
              controller.enqueue(word("All "));
              abortSignal.addEventListener(
                "abort",
                () => controller.error(abortSignal.reason),
              );
            },
          }),
        };
      },
    });
    const stream = pipeline(
      "answer",
      { signal: caller.signal },
      () =>
        stageStream(
          "model",
          ({ signal }) =>
            streamText({ model, prompt, abortSignal: signal }).textStream,
        ),
    );
    const words = [];
    const result = await settled((async () => {
      for await (const word of stream) {
        words.push(word);
        caller.abort();
      }
      return "complete";
    })());
    return {
      words,
      result,
      isModelAborted: await aborted.promise,
      counts: await totals(metrics),
    };
  },
});
