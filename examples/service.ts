/**
 * A service that answers questions over a folder of Markdown files, and shows on
 * `/metrics` how it went about it.
 *
 * Run it: `deno task demo`, or `deno task demo --port 8080 FOLDER`; a slow disk or
 * a large folder may want `--patience 10`, ten times the budgets.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  definePipeline,
  metricsHandler,
  stage,
  stageStream,
} from "@lukhas/stage-metrics";
import {
  type Answer,
  decide,
  reflect,
  search,
  validate,
} from "./service/answer.ts";
import { greeting, help } from "./service/help.ts";
import { findFiles, readPassages } from "./service/markdown.ts";
import { NoAnswer } from "./service/no_answer.ts";
import { parseQuestion } from "./service/question.ts";

/**
 * Declares the main job and its budgets, in milliseconds.
 *
 * @param patience By what the budgets are multiplied.
 */
function defineAnswering(patience: number) {
  const budget = (ms: number) => ({ timeout: ms * patience });
  return definePipeline("matriz_async_cognitive", {
    ...budget(250),
    stages: {
      intent: budget(50),
      decision: budget(100),
      processing: budget(120),
      validation: budget(40),
      reflection: budget(30),
      // Parts of the processing, and the way to the client.
      read: {},
      rank: {},
      delivery: {},
    },
  });
}

/**
 * The main job: what a question asks decides which stages run, how long they take
 * and whether they fail.
 */
async function answer(folder: string, text: string): Promise<Answer> {
  const question = stage("intent", () => parseQuestion(text));
  const plan = await stage("decision", () => decide(folder, question));
  const found = await stage("processing", () => search(folder, question, plan));

  let { quotes, confidence } = found;
  if (plan.verbatim) {
    try {
      await stage("validation", () => validate(folder, question, found));
    } catch {
      // A quote that does not hold is an answer still, only a worse one.
      confidence /= 2;
    }
  }
  if (confidence < 1) {
    try {
      const better = stage("reflection", () => reflect(question, found));
      ({ quotes, confidence } = better);
    } catch {
      // So is the first one where a second look finds nothing better.
    }
  }
  if (quotes.length === 0) throw new NoAnswer("Nothing was found");
  return { quotes, confidence };
}

/** Sends an answer quote by quote; the pipeline lasts until the last byte is out. */
function deliver(question: string, { quotes, confidence }: Answer): Response {
  function* lines() {
    const head = JSON.stringify({ question, confidence }).slice(0, -1);
    yield `${head},"quotes":[\n`;
    for (const [i, quote] of quotes.entries()) {
      yield `${i === 0 ? "" : ",\n"}${JSON.stringify(quote, null, 2)}`;
    }
    yield "\n]}\n";
  }
  const body = ReadableStream.from(lines())
    .pipeThrough(new TextEncoderStream());
  const headers = { "Content-Type": "application/json" };
  return new Response(stageStream("delivery", body), { headers });
}

/**
 * Makes the service's handler, for `Deno.serve`.
 *
 * @param patience By what the budgets are multiplied.
 */
export function createHandler(
  folder: string,
  patience = 1,
): (request: Request) => Promise<Response> {
  const answering = defineAnswering(patience);
  return metricsHandler({
    async next(request) {
      const url = new URL(request.url);
      if (url.pathname === "/") return new Response(help(url));
      if (url.pathname !== "/ask") {
        return new Response("Not Found\n", { status: 404 });
      }
      if (request.method !== "GET") {
        const headers = { Allow: "GET" };
        return new Response("Method Not Allowed\n", { status: 405, headers });
      }
      const question = url.searchParams.get("q");
      if (question === null) return new Response(help(url), { status: 400 });
      return await answering.run(async () =>
        deliver(question, await answer(folder, question))
      ).catch(failure);
    },
  });
}

function failure(error: Error): Response {
  if (error instanceof NoAnswer) {
    return json({ error: error.message }, error.status);
  }
  if (error.name === "TimeoutError") {
    return json({ error: "It took too long: try with more --patience" }, 504);
  }
  console.error(error);
  return json({ error: "Internal Server Error" }, 500);
}

function json(value: unknown, status: number): Response {
  const headers = { "Content-Type": "application/json" };
  return new Response(`${JSON.stringify(value, null, 2)}\n`, {
    status,
    headers,
  });
}

const DEFAULT_PORT = 8000;
const DEFAULT_FOLDER = fileURLToPath(import.meta.resolve("../"));
const DEFAULT_QUESTION = "which permissions does the library need";

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      port: { type: "string" },
      patience: { type: "string", default: "1" },
    },
  });
  const [folder = DEFAULT_FOLDER] = positionals;
  const patience = Number(values.patience);
  if (!(patience > 0)) throw new Error("patience must be a positive number");
  const files = await findFiles(folder).catch(() => []);
  if (files.length === 0) throw new Error(`no Markdown file in ${folder}`);
  // Of a folder that nobody knows, a heading is a question with an answer.
  const question = folder === DEFAULT_FOLDER
    ? DEFAULT_QUESTION
    : (await readPassages(folder, files[0]!))[0]?.heading || DEFAULT_QUESTION;
  const serve = (port: number) =>
    Deno.serve({
      hostname: "127.0.0.1",
      port,
      onListen({ port }) {
        console.log(
          greeting(`http://127.0.0.1:${port}`, files.length, question),
        );
      },
    }, createHandler(folder, patience));
  if (values.port !== undefined) {
    serve(Number(values.port));
    return;
  }
  try {
    serve(DEFAULT_PORT);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    serve(0);
  }
}

if (import.meta.main) {
  await main().catch(({ message }) => {
    console.error(`Cannot start the demo: ${message.split("\n")[0]}`);
    Deno.exit(1);
  });
}
