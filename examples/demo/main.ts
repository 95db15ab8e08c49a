/**
 * A service that answers questions over a folder of Markdown files, and shows on
 * `/metrics` how it went about it.
 *
 * Run it: `deno task demo`, or `deno task demo --port 8080 FOLDER`; a slow disk or
 * a large folder may want `--patience 10`, ten times the budgets.
 *
 * @module
 */
import {
  definePipeline,
  metricsHandler,
  stage,
  stageStream,
} from "@lukhas/stage-metrics";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { isAddressedTo, originOf } from "./address.ts";
import { type Answer, decide, reflect, search, validate } from "./answer.ts";
import { greeting, help } from "./help.ts";
import { NoAnswer } from "./no_answer.ts";
import { indexFolder, type NoteIndex } from "./note_index.ts";
import { parseQuestion } from "./question.ts";
import {
  REPOSITORY_QUESTIONS,
  type Suggestions,
  suggestQuestions,
} from "./suggestions.ts";

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
      // A part of the processing, and the way to the client.
      rank: {},
      delivery: {},
    },
  });
}

/**
 * The main job: what a question asks decides which stages run, how long they take
 * and whether they fail. The stages that take long stop when a deadline passes or
 * the client leaves.
 *
 * @param client Aborted when the client leaves.
 */
async function answer(
  index: NoteIndex,
  text: string,
  client: AbortSignal,
): Promise<Answer> {
  const question = stage("intent", () => parseQuestion(text));
  const plan = stage("decision", () => decide(index, question));
  const found = await stage(
    "processing",
    { signal: client },
    ({ signal }) => search(index, question, plan, signal),
  );

  let { quotes, confidence } = found;
  if (plan.verbatim) {
    try {
      await stage(
        "validation",
        { signal: client },
        ({ signal }) => validate(index, question, found, signal),
      );
    } catch {
      client.throwIfAborted();
      // A quote that does not hold is an answer still, only a worse one.
      confidence /= 2;
    }
  }
  if (confidence < 1) {
    try {
      const better = await stage(
        "reflection",
        { signal: client },
        ({ signal }) => reflect(index, question, plan, found, signal),
      );
      ({ quotes, confidence } = better);
    } catch {
      client.throwIfAborted();
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

/** What the service is set up with. */
export interface ServiceOptions {
  /** The port that it listens on. */
  readonly port: number;
  /** The questions that it suggests. */
  readonly suggestions: Suggestions;
  /**
   * By what the budgets are multiplied.
   *
   * @default {1}
   */
  readonly patience?: number;
}

/**
 * Makes the service's handler, for `Deno.serve`. It answers requests that name its
 * own address only, whatever they ask for: a web page that has its own name resolve
 * to 127.0.0.1 could read the notes, and the metrics, through its visitor's browser.
 */
export function createHandler(
  index: NoteIndex,
  { port, suggestions, patience = 1 }: ServiceOptions,
): (request: Request) => Promise<Response> {
  const origin = originOf(port);
  const answering = defineAnswering(patience);
  const handler = metricsHandler({
    async next(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/") return new Response(help(origin, suggestions));
      if (pathname !== "/ask") {
        return new Response("Not Found\n", { status: 404 });
      }
      if (request.method !== "GET") {
        const headers = { Allow: "GET" };
        return new Response("Method Not Allowed\n", { status: 405, headers });
      }
      const question = searchParams.get("q");
      if (question === null) {
        return new Response(help(origin, suggestions), { status: 400 });
      }
      const { signal } = request;
      return await answering.run(async () =>
        deliver(question, await answer(index, question, signal))
      ).catch((error) => failure(error, signal));
    },
  });
  return async (request) => {
    if (isAddressedTo(request, port)) return await handler(request);
    const text = `Misdirected Request: this is ${origin}, and answers to no ` +
      "other name, so that no web page can read what is asked here\n";
    return new Response(text, { status: 421 });
  };
}

function failure(error: Error, client: AbortSignal): Response {
  // Nobody reads it; the status is the one that proxies log of such requests.
  if (client.aborted) return new Response(null, { status: 499 });
  if (error instanceof NoAnswer) {
    return json({ error: error.message }, error.status);
  }
  if (error.name === "TimeoutError") {
    return json({ error: TOO_SLOW }, 504);
  }
  console.error(error);
  return json({ error: "Internal Server Error" }, 500);
}

const TOO_SLOW = "It took too long: start the demo with --patience 10, " +
  "which multiplies every time limit by 10";

function json(value: unknown, status: number): Response {
  const headers = { "Content-Type": "application/json" };
  return new Response(`${JSON.stringify(value, null, 2)}\n`, {
    status,
    headers,
  });
}

const DEFAULT_PORT = 8000;
const DEFAULT_FOLDER = fileURLToPath(import.meta.resolve("../../"));

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: {
      port: { type: "string" },
      patience: { type: "string", default: "1" },
    },
  });
  if (positionals.length > 1) {
    throw new Error(`it reads one folder, got ${positionals.length}`);
  }
  const [folder = DEFAULT_FOLDER] = positionals;
  const patience = Number(values.patience);
  if (!(patience > 0)) throw new Error("patience must be a positive number");
  await checkFolder(folder);
  const index = await indexFolder(folder);
  if (index.files.length === 0) {
    throw new Error(`there is no Markdown file in the folder "${folder}"`);
  }
  const suggestions = folder === DEFAULT_FOLDER
    ? REPOSITORY_QUESTIONS
    : suggestQuestions(index);
  const serve = (port: number) => {
    const server = Deno.serve(
      { hostname: "127.0.0.1", port, onListen() {} },
      (request) => handler(request),
    );
    const options = { port: server.addr.port, suggestions, patience };
    const handler = createHandler(index, options);
    console.log(greeting(originOf(options.port), index, suggestions.Ask));
  };
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

/** Throws an error that says what a path is, where it is no folder to be read. */
async function checkFolder(path: string): Promise<void> {
  const { isDirectory } = await Deno.stat(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw new Error(`there is no folder "${path}"`);
  });
  if (!isDirectory) throw new Error(`"${path}" is not a folder`);
}

if (import.meta.main) {
  await main().catch(({ message }) => {
    console.error(`Cannot start the demo: ${message.split("\n")[0]}`);
    Deno.exit(1);
  });
}
