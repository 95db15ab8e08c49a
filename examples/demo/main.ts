/**
 * A service that answers questions from a folder of Markdown files. `/metrics` shows
 * which stages each answer took.
 *
 * Run:     deno task demo
 *          deno task demo --port 8080 FOLDER
 *
 * For a slow disk or a large folder, `--timeout-factor 10` multiplies every timeout
 * by 10.
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

/** Declares the pipeline of a question, with the timeouts of its stages. */
function defineAnswering(timeoutFactor: number) {
  const limit = (ms: number) => ({ timeout: ms * timeoutFactor });
  return definePipeline("matriz_async_cognitive", {
    ...limit(250),
    stages: {
      intent: limit(50),
      decision: limit(100),
      processing: limit(120),
      validation: limit(40),
      reflection: limit(30),
      // Inside the processing stage.
      rank: {},
      // Lasts until the response body has been read.
      delivery: {},
    },
  });
}

/**
 * Finds the answer to a question. The question decides which stages run. Long stages
 * stop when a timeout passes or the client leaves.
 *
 * @param client Aborts when the client leaves.
 */
async function findAnswer(
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
  if (plan.isVerbatim) {
    try {
      await stage(
        "validation",
        { signal: client },
        ({ signal }) => validate(index, question, found, signal),
      );
    } catch {
      client.throwIfAborted();
      // An outdated quote is still an answer, but a less certain one.
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
      // The first answer stands if a wider search finds nothing better.
    }
  }
  if (quotes.length === 0) throw new NoAnswer("Nothing was found");
  return { quotes, confidence };
}

/** Streams an answer. The pipeline ends when the stream does. */
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

/** The options of {@linkcode createHandler}. */
export interface ServiceOptions {
  /** The port that the service listens on. */
  readonly port: number;
  /** The questions that the service suggests. */
  readonly suggestions: Suggestions;
  /**
   * The factor by which every timeout is multiplied.
   *
   * @default {1}
   */
  readonly timeoutFactor?: number;
}

/**
 * Creates the handler of the service, for `Deno.serve`. It refuses requests to other
 * host names: a web page whose own name resolves to 127.0.0.1 could read the notes and
 * the metrics through its visitor's browser.
 */
export function createHandler(
  index: NoteIndex,
  { port, suggestions, timeoutFactor = 1 }: ServiceOptions,
): (request: Request) => Promise<Response> {
  const origin = originOf(port);
  const answering = defineAnswering(timeoutFactor);
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
        deliver(question, await findAnswer(index, question, signal))
      ).catch((error) => failure(error, signal));
    },
  });
  return async (request) => {
    if (isAddressedTo(request, port)) return await handler(request);
    const text = `Misdirected Request: the demo answers only on ${origin}, ` +
      "so that web pages cannot read your notes\n";
    return new Response(text, { status: 421 });
  };
}

function failure(error: Error, client: AbortSignal): Response {
  // The status that nginx logs when a client leaves. Nothing reads the response.
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

const TOO_SLOW = "The answer took too long: start the demo with " +
  "--timeout-factor 10 to multiply every timeout by 10";

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
      "timeout-factor": { type: "string", default: "1" },
    },
  });
  if (positionals.length > 1) {
    throw new Error(`expected one folder, got ${positionals.length}`);
  }
  const [folder = DEFAULT_FOLDER] = positionals;
  const timeoutFactor = Number(values["timeout-factor"]);
  if (!(timeoutFactor > 0)) {
    throw new Error(
      `--timeout-factor must be a positive number, got "${
        values["timeout-factor"]
      }"`,
    );
  }
  const port = parsePort(values.port);
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
    const options = { port: server.addr.port, suggestions, timeoutFactor };
    const handler = createHandler(index, options);
    console.log(greeting(originOf(options.port), index, suggestions.Ask));
  };
  if (port !== undefined) {
    serve(port);
    return;
  }
  try {
    serve(DEFAULT_PORT);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    serve(0);
  }
}

function parsePort(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = /^\d+$/.test(text) ? Number(text) : NaN;
  if (port <= 65_535) return port;
  throw new Error(`--port must be from 0 to 65535, got "${text}"`);
}

/**
 * Checks that a path is a folder.
 *
 * @throws {Error} If it is not.
 */
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
