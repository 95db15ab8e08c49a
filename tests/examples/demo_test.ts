import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
} from "@std/assert";
import { fileURLToPath } from "node:url";
import { createHandler } from "../../examples/demo/main.ts";
import { indexFolder, NoteIndex } from "../../examples/demo/note_index.ts";
import { nextTurn } from "../../examples/demo/pauses.ts";
import { parseQuestion } from "../../examples/demo/question.ts";
import { findRelatedWords, rank } from "../../examples/demo/ranking.ts";
import {
  REPOSITORY_QUESTIONS,
  suggestQuestions,
} from "../../examples/demo/suggestions.ts";
import { captureMetrics } from "../../src/testing.ts";
import { createFolder, startDemo } from "../support/demo.ts";
import { pipelineTotal, samplesOf, stageTotal } from "../support/samples.ts";

const NAME = "matriz_async_cognitive";

const SUGGESTIONS = { Ask: "roses" };
const OPTIONS = { port: 8000, suggestions: SUGGESTIONS, timeoutFactor: 1000 };
const ORIGIN = "http://127.0.0.1:8000";

function askUrl(question: string): string {
  return `${ORIGIN}/ask?q=${encodeURIComponent(question)}`;
}

/** Asks a question, and returns the answer and the recorded samples. */
async function ask(folder: string, question: string) {
  const index = await indexFolder(folder);
  return await captureMetrics({ lane: "test" }, async (metrics) => {
    const response = await createHandler(index, OPTIONS)(
      new Request(askUrl(question)),
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

/** Creates an index in which a search for "roses" takes many time slices. */
function createLargeIndex(): NoteIndex {
  const index = new NoteIndex("nowhere");
  const words = Array.from({ length: 100 }, (_, i) => `word${i}`).join(" ");
  const text = `Roses want sun. ${words} roses ${words}\n\n`;
  for (let i = 0; i < 20; i++) index.add(`${i}.md`, text.repeat(1_000));
  return index;
}

/** Returns the samples of a run with these outcomes. */
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
  rank: "success",
};

const SEARCHED = { ...FOUND, delivery: "success" };

Deno.test("examples/demo quotes the best passages and records the stages that ran", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, "What do roses want?"), {
    status: 200,
    quotes: ["garden.md:3", "garden.md:5"],
    confidence: 1,
    error: undefined,
    samples: run("success", SEARCHED),
  });
});

Deno.test("examples/demo validates phrases, and answers when the validation fails", async () => {
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

Deno.test("examples/demo searches for related words when a word does not occur", async () => {
  await using folder = await createFolder();
  assertEquals(await ask(folder.path, "kneading"), {
    status: 200,
    quotes: ["kitchen/bread.md:3"],
    confidence: 1,
    error: undefined,
    samples: run("success", { ...SEARCHED, reflection: "success" }),
  });
});

Deno.test("examples/demo searches for both sides of a comparison", async () => {
  await using folder = await createFolder();
  const { quotes, samples } = await ask(folder.path, "lilies versus dough");
  assertEquals(quotes, ["garden.md:5", "kitchen/bread.md:3"]);
  assertEquals(samples[stageTotal(NAME, "rank", "success")], 2);
});

Deno.test("examples/demo searches the file that a question names", async () => {
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

Deno.test("examples/demo fails when there is nothing to search for, or nothing found", async () => {
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

Deno.test("examples/demo responds with 504 and advice when a timeout passes", async () => {
  const index = createLargeIndex();
  await captureMetrics({ lane: "test" }, async (metrics) => {
    const handler = createHandler(index, { ...OPTIONS, timeoutFactor: 1e-3 });
    const response = await handler(new Request(askUrl("roses")));
    assertEquals(response.status, 504);
    assertStringIncludes(
      (await response.json()).error,
      "The answer took too long: start the demo with --timeout-factor 10",
    );
    const samples = await samplesOf(metrics);
    assertEquals(samples[pipelineTotal(NAME, "timeout")], 1);
    // Lets the abandoned search stop.
    await nextTurn();
  });
});

Deno.test("examples/demo stops when its client leaves", async () => {
  const index = createLargeIndex();
  await captureMetrics({ lane: "test" }, async (metrics) => {
    const client = new AbortController();
    const handler = createHandler(index, OPTIONS);
    const { signal } = client;
    const answer = handler(new Request(askUrl("roses"), { signal }));
    client.abort();
    assertEquals((await answer).status, 499);
    const samples = await samplesOf(metrics);
    const cancelled = stageTotal(NAME, "processing", "failure")
      .replace("_total", "_cancelled_total");
    assertEquals(samples[cancelled], 1);
    assertEquals(samples[pipelineTotal(NAME, "failure")], 1);
    await nextTurn();
  });
});

Deno.test("rank() and findRelatedWords() stop when their signal aborts", async () => {
  const index = createLargeIndex();
  for (let i = 0; i < 200_000; i++) index.add(`v${i}.md`, `vocabulary${i}`);
  const side = { terms: ["roses", "word1"], wanted: [/roses want/i] };
  for (
    const work of [
      (signal: AbortSignal) => rank(index, index.files, side, 2, signal),
      (signal: AbortSignal) => findRelatedWords(index, "roses", signal),
    ]
  ) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort("left"), 0);
    const reason = await work(controller.signal).catch((error) => error);
    clearTimeout(timer);
    assertEquals(reason, "left");
  }
});

Deno.test("examples/demo responds to other requests while it searches", async () => {
  const index = createLargeIndex();
  const ended: string[] = [];
  const handler = createHandler(index, OPTIONS);
  await using server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen() {} },
    ({ url }) => handler(new Request(url.replace(/:\d+/, ":8000"))),
  );
  const get = async (path: string) => {
    await (await fetch(`http://127.0.0.1:${server.addr.port}${path}`)).text();
    ended.push(path);
  };
  await get("/");
  const searches = Array.from({ length: 20 }, () => get("/ask?q=roses"));
  await new Promise((resolve) => setTimeout(resolve));
  await Promise.all([...searches, get("/metrics")]);
  assert(ended.indexOf("/metrics") < 15, ended.join(" "));
});

Deno.test("examples/demo reads its files once, for all questions", async () => {
  await using folder = await createFolder();
  const index = await indexFolder(folder.path);
  const { readTextFile } = Deno;
  let reads = 0;
  Deno.readTextFile = (...args) => (reads++, readTextFile(...args));
  try {
    await captureMetrics({ lane: "test" }, async () => {
      const handler = createHandler(index, OPTIONS);
      for (let i = 0; i < 3; i++) {
        const response = await handler(new Request(askUrl("roses")));
        assertEquals(response.status, 200);
        await response.text();
      }
    });
  } finally {
    Deno.readTextFile = readTextFile;
  }
  assertEquals(reads, 0);
});

Deno.test("examples/demo halves the confidence when a file has changed", async () => {
  await using folder = await createFolder();
  const index = await indexFolder(folder.path);
  await Deno.writeTextFile(`${folder.path}/garden.md`, "# Garden\n\nRoses.\n");
  await captureMetrics({ lane: "test" }, async (metrics) => {
    const handler = createHandler(index, OPTIONS);
    const url = askUrl('"Roses want sun"');
    const response = await handler(new Request(url));
    assertEquals((await response.json()).confidence, 0.5);
    const samples = await samplesOf(metrics);
    assertEquals(samples[stageTotal(NAME, "validation", "failure")], 1);
  });
});

Deno.test("indexFolder() leaves out large, binary, linked and unreadable files", async () => {
  await using folder = await createFolder();
  const { path } = folder;
  await Deno.writeTextFile(`${path}/large.md`, "tulip\n\n".repeat(150_000));
  await Deno.writeFile(`${path}/binary.md`, new Uint8Array([116, 0, 255, 10]));
  await Deno.writeTextFile(`${path}/paragraph.md`, "tulip ".repeat(2_000));
  await Deno.writeTextFile(`${path}/table.md`, "| tulip | red |\n| - | - |\n");
  await Deno.symlink(path, `${path}/loop`);
  await Deno.symlink(`${path}/garden.md`, `${path}/link.md`);
  await Deno.mkdir(`${path}/folder.md`);
  await Deno.mkdir(`${path}/node_modules`);
  await Deno.writeTextFile(`${path}/node_modules/a.md`, "tulip\n");
  const { readDir } = Deno;
  await Deno.mkdir(`${path}/secret`);
  Deno.readDir = (folder) => {
    if (`${folder}`.endsWith("secret")) {
      throw new Deno.errors.PermissionDenied();
    }
    return readDir(folder);
  };
  try {
    const { files, passages } = await indexFolder(path);
    assertEquals(files, [
      "binary.md",
      "garden.md",
      "kitchen/bread.md",
      "large.md",
      "paragraph.md",
      "table.md",
    ]);
    assertEquals(
      [...new Set(passages.map(({ file }) => file))],
      ["garden.md", "kitchen/bread.md"],
    );
  } finally {
    Deno.readDir = readDir;
  }
});

Deno.test("indexFolder() leaves out front matter, HTML and lists of links", async () => {
  await using folder = await createFolder();
  await Deno.writeTextFile(
    `${folder.path}/page.markdown`,
    `---
title: tulip
---

Tulips
======

<!-- tulip

tulip -->

<p>tulip</p>

[![tulip](tulip.svg)](tulip.html)

- [tulip](#tulip)

See [tulips](tulip.md).
`,
  );
  const { passages } = await indexFolder(folder.path);
  assertEquals(passages.filter(({ file }) => file === "page.markdown"), [{
    file: "page.markdown",
    line: 18,
    heading: "Tulips",
    text: "See [tulips](tulip.md).",
  }]);
});

Deno.test("rank() prefers phrases, definitions and headings", async () => {
  const index = new NoteIndex("nowhere");
  index.add(
    "a.md",
    "# Lanes\n\nSee below.\n\n# Other\n\nLanes, lanes and lanes.\n\n" +
      "These lanes are many.\n\n**Lanes are** labels, as said below and " +
      "above, and in many other places.\n",
  );
  const linesOf = async (text: string) => {
    const [side] = parseQuestion(text).sides;
    const passages = await rank(index, index.files, side!, 2);
    return passages.map(({ line }) => line);
  };
  assertEquals(await linesOf("lanes"), [3, 7]);
  assertEquals(await linesOf("what are lanes"), [11, 3]);
  assertEquals(await linesOf('"these lanes"'), [9, 3]);
});

Deno.test("NoteIndex is full at the limits of files and of characters", () => {
  const files = new NoteIndex("nowhere");
  for (let i = 0; i < 4_999; i++) files.add(`${i}.md`, "roses");
  assertEquals(files.isFull, false);
  files.add("last.md", "roses");
  assertEquals(files.isFull, true);

  const chars = new NoteIndex("nowhere");
  const text = `${"x".repeat(999_998)}\n\n`;
  for (let i = 0; i < 31; i++) chars.add(`${i}.md`, text);
  assertEquals(chars.isFull, false);
  chars.add("last.md", text);
  assertEquals(chars.isFull, true);
});

Deno.test("NoteIndex truncates long headings", () => {
  const index = new NoteIndex("nowhere");
  index.add("a.md", `# ${"rose ".repeat(100_000)}\n\nLily.\n\nFern.\n`);
  assertEquals(index.passages.map(({ heading }) => heading.length), [200, 200]);
});

Deno.test("examples/demo refuses requests to other host names", async () => {
  const index = new NoteIndex("nowhere");
  const handler = createHandler(index, OPTIONS);
  const statusOf = async (Host: string, path: string) => {
    const request = new Request(`${ORIGIN}${path}`, { headers: { Host } });
    const response = await handler(request);
    const text = await response.text();
    assert(!text.includes("evil"), text);
    return response.status;
  };
  for (const path of ["/", "/metrics", "/ask?q=roses", "/elsewhere"]) {
    for (
      const host of [
        "evil.example:8000",
        "evil.example",
        "localhost",
        "localhost:8001",
        "localhost.evil.example:8000",
        "127.0.0.1:8000.evil.example",
        "127.0.0.1:8000@evil.example",
        "127.0.0.1:8000/evil",
        "0.0.0.0:8000",
        "",
      ]
    ) assertEquals(await statusOf(host, path), 421, `${host} ${path}`);
  }
  for (const host of ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"]) {
    assertEquals(await statusOf(host, "/"), 200);
  }
  const atPort80 = createHandler(index, { ...OPTIONS, port: 80 });
  const request = new Request("http://localhost/");
  assertEquals((await atPort80(request)).status, 200);
});

Deno.test("examples/demo shows its help, and 404 for unknown paths", async () => {
  const handler = createHandler(new NoteIndex("nowhere"), OPTIONS);
  const answers = await Promise.all(["/", "/ask", "/elsewhere"].map(
    async (path) => {
      const response = await handler(new Request(`${ORIGIN}${path}`));
      return [response.status, (await response.text()).slice(0, 4)];
    },
  ));
  assertEquals(answers, [[200, "Ask:"], [400, "Ask:"], [404, "Not "]]);
});

Deno.test("examples/demo prints commands that work when it starts", async () => {
  await using folder = await createFolder();
  await using demo = await startDemo(folder.path);
  assertMatch(demo.greeting, /^Answering from 2 Markdown files on http/);
  assertEquals((await runCommands(demo.greeting)).length, 3);
  const metrics = await (await fetch(`${demo.url}/metrics`)).text();
  assertStringIncludes(
    metrics,
    pipelineTotal(NAME, "success", "production") + " 1",
  );
});

/** Runs the curl commands in a text, and returns the response bodies. */
async function runCommands(text: string): Promise<string[]> {
  const urls = text.match(/(?<=curl '?)http[^'\s]+/g) ?? [];
  return await Promise.all(urls.map(async (url) => {
    const response = await fetch(url);
    assertEquals(response.status, 200, url);
    return await response.text();
  }));
}

Deno.test("examples/demo shows commands with its own address, for any Host header", async () => {
  await using folder = await createFolder();
  await using demo = await startDemo(folder.path);
  const { host, port } = new URL(demo.url);
  for (const name of [`localhost:${port}`, host, "$(evil)"]) {
    using connection = await Deno.connect({
      hostname: "127.0.0.1",
      port: Number(port),
    });
    const request =
      `GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`;
    await connection.write(new TextEncoder().encode(request));
    const text = await new Response(connection.readable).text();
    assertMatch(text, name.includes("evil") ? /^HTTP.1.1 4/ : /^HTTP.1.1 200/);
    const urls = text.match(/http:\/\/[^/' ,\s]+/g) ?? [];
    assertEquals(urls.filter((url) => url !== `http://${host}`), []);
  }
});

Deno.test("examples/demo suggests questions that its folder answers", async () => {
  await using folder = await createFolder();
  await using demo = await startDemo(folder.path);
  const text = await (await fetch(demo.url)).text();
  assertEquals(text.match(/^[^:]+/gm), [
    "Ask",
    "Exactly",
    "Compare",
    "In one file",
    "Metrics",
  ]);
  const answers = (await runCommands(text)).slice(0, -1).map((body) =>
    JSON.parse(body)
  );
  assertEquals(answers.map(({ question }) => question), [
    "Garden",
    '"Roses want sun"',
    "Garden versus Bread",
    "Garden in garden.md",
  ]);
  assertEquals(answers.map(({ confidence }) => confidence), [1, 1, 1, 1]);
});

Deno.test("suggestQuestions() suggests fewer questions when headings are missing", () => {
  const index = new NoteIndex("nowhere");
  assertEquals(suggestQuestions(index), { Ask: "anything" });
  index.add("a b.md", "# What is it?\n\nIt is.\n");
  assertEquals(suggestQuestions(index), { Ask: "anything" });
  index.add("c.md", "Roses want sun, and rain.\n");
  assertEquals(suggestQuestions(index), {
    Ask: "Roses want sun",
    Exactly: '"Roses want sun"',
  });
  index.add("a b.md", "# Roses\n\nThey bloom.\n");
  index.add("d.md", "# Roses\n\nThey bloom.\n\n# Lilies\n\nThey do.\n");
  assertEquals(suggestQuestions(index), {
    Ask: "Roses",
    Exactly: '"Roses want sun"',
    Compare: "Roses versus Lilies",
    "In one file": "Roses in d.md",
  });
});

Deno.test("examples/demo answers its questions about this repository with prose", async () => {
  const index = await indexFolder(fileURLToPath(import.meta.resolve("../../")));
  for (const question of Object.values(REPOSITORY_QUESTIONS)) {
    await captureMetrics({ lane: "test" }, async () => {
      const handler = createHandler(index, OPTIONS);
      const response = await handler(new Request(askUrl(question)));
      const { quotes, confidence } = await response.json();
      assertEquals(confidence, 1, question);
      for (const { file, text } of quotes) {
        assert(file !== "CHANGELOG.md", `${question}: ${text}`);
        assert(!/^\||\?\W*$/.test(text), `${question}: ${text}`);
      }
    });
  }
});

Deno.test("examples/demo prints in one line why it cannot start", async () => {
  await using folder = await createFolder();
  const script = new URL("../../examples/demo/main.ts", import.meta.url).href;
  const file = `${folder.path}/garden.md`;
  const empty = `${folder.path}/empty`;
  await Deno.mkdir(empty);
  for (
    const [args, message] of [
      [["nowhere"], 'there is no folder "nowhere"'],
      [[file], `"${file}" is not a folder`],
      [[empty], `there is no Markdown file in the folder "${empty}"`],
      [["a", "b"], "expected one folder, got 2"],
      [["--port=x"], '--port must be from 0 to 65535, got "x"'],
      [
        ["--timeout-factor=0"],
        '--timeout-factor must be a positive number, got "0"',
      ],
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
