import { createHandler } from "../examples/service.ts";
import { captureMetrics } from "../src/testing.ts";
import { createFolder, startService } from "./service.ts";
import { pipelineTotal, samplesOf, stageTotal } from "./samples.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";

const NAME = "matriz_async_cognitive";

/** Asks one question, and says what came back and what was recorded. */
async function ask(folder: string, question: string) {
  return await captureMetrics({ lane: "test" }, async (metrics) => {
    const response = await createHandler(folder, 1000)(
      new Request(`http://localhost/ask?q=${encodeURIComponent(question)}`),
    );
    const { quotes, confidence, error } = await response.json();
    return {
      status: response.status,
      quotes: quotes?.map((quote: { file: string; line: number }) =>
        `${quote.file}:${quote.line}`
      ),
      confidence,
      error,
      samples: await samplesOf(metrics),
    };
  });
}

/** The samples of a run: how it ended, and how each of its stages did. */
function run(status: string, stages: Record<string, string>) {
  return Object.fromEntries([
    [pipelineTotal(NAME, status), 1],
    ...Object.entries(stages).map(([stage, outcome]) => [
      stageTotal(NAME, stage, outcome),
      1,
    ]),
  ]);
}

const FOUND = {
  intent: "success",
  decision: "success",
  processing: "success",
  read: "success",
  rank: "success",
};

const SEARCHED = { ...FOUND, delivery: "success" };

Deno.test("The demo quotes what answers a question, and runs the stages that it takes", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, "What do roses want?"), {
    status: 200,
    quotes: ["garden.md:3", "garden.md:5"],
    confidence: 1,
    error: undefined,
    samples: run("success", SEARCHED),
  });
});

Deno.test("The demo validates quotation marks, and goes on where they do not hold", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, 'Do roses "want sun, and"?'), {
    status: 200,
    quotes: ["garden.md:3", "garden.md:6"],
    confidence: 1,
    error: undefined,
    samples: run("success", { ...SEARCHED, validation: "success" }),
  });
  const { samples } = await ask(folder.path, 'Roses "want rain"');
  assertEquals(
    samples,
    run("success", {
      ...SEARCHED,
      validation: "failure",
      reflection: "failure",
    }),
  );
});

Deno.test("The demo reflects where words are missing, and finds their relatives", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, "kneading"), {
    status: 200,
    quotes: ["kitchen/bread.md:3"],
    confidence: 1,
    error: undefined,
    samples: run("success", { ...SEARCHED, reflection: "success" }),
  });
});

Deno.test("The demo searches for both sides of a comparison", async () => {
  await using folder = await createFolder();
  const { quotes, samples } = await ask(folder.path, "lilies versus dough");
  assertEquals(quotes, ["garden.md:5", "kitchen/bread.md:3"]);
  assertEquals(samples[stageTotal(NAME, "rank", "success")], 2);
});

Deno.test("The demo looks into the one file that a question names", async () => {
  await using folder = await createFolder();
  const { quotes } = await ask(folder.path, "minutes in kitchen/bread.md");
  assertEquals(quotes, ["kitchen/bread.md:3"]);
  for (const file of ["nosuch.md", "../secret.md", ".hidden.md"]) {
    const { status, error, samples } = await ask(
      folder.path,
      `roses in ${file}`,
    );
    assertEquals([status, error], [404, `There is no file "${file}"`]);
    assertEquals(
      samples,
      run("failure", { intent: "success", decision: "failure" }),
    );
  }
});

Deno.test("The demo fails where there is nothing to search for, or to find", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, "What is it?"), {
    status: 400,
    quotes: undefined,
    confidence: undefined,
    error: "The question has no word to search for",
    samples: run("failure", { intent: "failure" }),
  });
  assertEquals(await ask(folder.path, "xylophone"), {
    status: 404,
    quotes: undefined,
    confidence: undefined,
    error: "Nothing was found",
    samples: run("failure", { ...FOUND, reflection: "failure" }),
  });
});

Deno.test("The demo answers with 504 where a disk does not answer in time", async () => {
  await using folder = await createFolder();
  const { readTextFile } = Deno;
  try {
    Deno.readTextFile = () => new Promise(() => {});
    await captureMetrics({ lane: "test" }, async (metrics) => {
      const response = await createHandler(folder.path, 0.1)(
        new Request("http://localhost/ask?q=roses"),
      );
      assertEquals(response.status, 504);
      assertStringIncludes(await response.text(), "It took too long");
      const samples = await samplesOf(metrics);
      assertEquals(samples[pipelineTotal(NAME, "timeout")], 1);
    });
  } finally {
    Deno.readTextFile = readTextFile;
  }
});

Deno.test("The demo helps who asks nothing, or elsewhere", async () => {
  const handler = createHandler("nowhere");
  const answers = await Promise.all(["/", "/ask", "/elsewhere"].map(
    async (path) => {
      const response = await handler(new Request(`http://localhost${path}`));
      return [response.status, (await response.text()).slice(0, 4)];
    },
  ));
  assertEquals(answers, [[200, "Ask:"], [400, "Ask:"], [404, "Not "]]);
});

Deno.test("The demo starts, says where it is and what to try, and answers", async () => {
  await using folder = await createFolder();
  await using service = await startService(folder.path);
  assertMatch(service.greeting, /^Answering from 2 Markdown files on http/);
  const commands = service.greeting.match(/(?<=curl '?)http[^'\s]+/g) ?? [];
  const answers = await Promise.all(commands.map(async (url) => {
    const response = await fetch(url);
    return [response.status, await response.text()] as const;
  }));
  assertEquals(answers.map(([status]) => status), [200, 200, 200]);
  const metrics = await (await fetch(`${service.url}/metrics`)).text();
  assertStringIncludes(
    metrics,
    pipelineTotal(NAME, "success", "production") + " 1",
  );
});

Deno.test("The demo says in one line why it cannot start", async () => {
  const script = new URL("../examples/service.ts", import.meta.url).href;
  for (
    const [args, message] of [
      [["nowhere"], "no Markdown file in nowhere"],
      [["--port=x"], "Invalid port: NaN"],
      [["--patience=0"], "patience must be a positive number"],
      [["--prot=1"], "Unknown option '--prot'"],
    ] as const
  ) {
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-net=127.0.0.1", "--allow-read", script, ...args],
    }).output();
    const text = new TextDecoder().decode(stderr);
    assertEquals(code, 1);
    assertStringIncludes(text, `Cannot start the demo: ${message}`);
    assertEquals(text.split("\n").length, 2);
  }
});
