/**
 * A service that answers questions over a folder of Markdown files, and shows on
 * `/metrics` how it went about it.
 *
 * Run it: `deno task demo`, or `deno task demo --port 8080 FOLDER`
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { metricsHandler, pipeline, stage } from "@lukhas/stage-metrics";
import {
  type Answer,
  decide,
  reflect,
  search,
  validate,
} from "./service/answer.ts";
import { findFiles } from "./service/markdown.ts";
import { NoAnswer } from "./service/no_answer.ts";
import { parseQuestion } from "./service/question.ts";

/**
 * The main job: what a question asks decides which stages run, how long they take
 * and whether they fail.
 */
async function answer(folder: string, text: string): Promise<Answer> {
  return await pipeline("matriz_async_cognitive", async () => {
    const question = stage("intent", () => parseQuestion(text));
    const plan = await stage("decision", () => decide(folder, question));
    const found = await stage(
      "processing",
      () => search(folder, question, plan),
    );

    let { quotes, confidence } = found;
    if (plan.verbatim) {
      // A quote that does not hold is an answer still, only a worse one.
      await stage("validation", () => validate(folder, question, found))
        .catch(() => confidence /= 2);
    }
    if (confidence < 1) {
      // So is the first one where a second look finds nothing better.
      ({ quotes, confidence } = await stage(
        "reflection",
        async () => await reflect(question, found),
      ).catch(() => ({ quotes, confidence })));
    }
    if (quotes.length === 0) throw new NoAnswer("Nothing was found");
    return { quotes, confidence };
  });
}

const HELP = `Ask:     /ask?q=which+permissions+does+the+library+need
Exactly: /ask?q=what+is+"the+async+context"
Compare: /ask?q=difference+between+a+stage+and+a+pipeline
One:     /ask?q=which+permissions+in+README.md
Metrics: /metrics
`;

/** Makes the service's handler, for `Deno.serve`. */
export function createHandler(
  folder: string,
): (request: Request) => Promise<Response> {
  return metricsHandler({
    async next(request) {
      const { pathname, searchParams } = new URL(request.url);
      if (pathname === "/") return new Response(HELP);
      if (pathname !== "/ask") {
        return new Response("Not Found\n", { status: 404 });
      }
      const question = searchParams.get("q");
      if (question === null) return new Response(HELP, { status: 400 });
      try {
        return json({ question, ...await answer(folder, question) });
      } catch (error) {
        return failure(error);
      }
    },
  });
}

function failure(error: unknown): Response {
  if (error instanceof NoAnswer) {
    return json({ error: error.message }, error.status);
  }
  console.error(error);
  return json({ error: "Internal Server Error" }, 500);
}

function json(value: unknown, status = 200): Response {
  const headers = { "Content-Type": "application/json" };
  return new Response(`${JSON.stringify(value, null, 2)}\n`, {
    status,
    headers,
  });
}

const DEFAULT_PORT = 8000;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    args: Deno.args,
    allowPositionals: true,
    options: { port: { type: "string" } },
  });
  const [folder = fileURLToPath(import.meta.resolve("../"))] = positionals;
  const files = await findFiles(folder).catch(() => []);
  if (files.length === 0) throw new Error(`no Markdown file in ${folder}`);
  const serve = (port: number) =>
    Deno.serve({
      hostname: "127.0.0.1",
      port,
      onListen: ({ port }) => greet(`http://127.0.0.1:${port}`, files.length),
    }, createHandler(folder));
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

function greet(url: string, files: number): void {
  console.log(`Answering from ${files} Markdown files on ${url}

Ask it something, and see how it went about it:
  curl '${url}/ask?q=which+permissions+does+the+library+need'
  curl ${url}/metrics

More to ask: curl ${url}`);
}

if (import.meta.main) {
  await main().catch(({ message }) => {
    console.error(`Cannot start the demo: ${message}`);
    Deno.exit(1);
  });
}
