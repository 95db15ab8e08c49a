import { assertEquals } from "@std/assert";
import { captureStack, findCallSite } from "../../src/common/call_site.ts";

const SRC = new URL("../../src/", import.meta.url).href;

/** Finds the call site in a stack that starts with frames of this library. */
function find(...frames: readonly string[]): string | undefined {
  const stack = [
    "Error: Message",
    `    at captureStack (${SRC}call_site.ts:1:2)`,
    `    at IssueReporter.report (${SRC}issues.ts:3:4)`,
    ...frames,
  ].join("\n");
  return findCallSite(stack, "Message");
}

Deno.test("findCallSite() parses every format of a frame", () => {
  const frames: Record<string, string> = {
    "    at work (file:///app/main.ts:12:5)": "file:///app/main.ts:12:5",
    "    at file:///app/main.ts:12:5": "file:///app/main.ts:12:5",
    "    at async work (file:///app/main.ts:12:5)": "file:///app/main.ts:12:5",
    "    at async file:///app/main.ts:12:5": "file:///app/main.ts:12:5",
    "    at new Shop (/app/shop.js:1:2)": "/app/shop.js:1:2",
    "    at Shop.find [as search] (/app/shop.js:1:2)": "/app/shop.js:1:2",
    "    at Shop.<anonymous> (/app/shop.js:1:2)": "/app/shop.js:1:2",
    "    at work (/my app (new)/main.js:1:2)": "/my app (new)/main.js:1:2",
    "    at /my app (new)/main.js:1:2": "/my app (new)/main.js:1:2",
    "    at work (C:\\app\\main.js:1:2)": "C:\\app\\main.js:1:2",
    "    at work (webpack-internal:///./main.js:1:2)":
      "webpack-internal:///./main.js:1:2",
    "    at [eval]:1:2": "[eval]:1:2",
    "work@file:///app/main.ts:12:5": "file:///app/main.ts:12:5",
    "@/app/main.ts:12:5": "/app/main.ts:12:5",
    "module code@/app/main.ts:12:5": "/app/main.ts:12:5",
    "async work@/app/main.ts:12:5": "/app/main.ts:12:5",
    "work@/app/node_modules/@scope/tool/main.js:1:2":
      "/app/node_modules/@scope/tool/main.js:1:2",
  };
  for (const [frame, place] of Object.entries(frames)) {
    assertEquals(find(frame), place, frame);
    assertEquals(find(frame, "    at late (/late.js:1:2)"), place, frame);
  }
});

Deno.test("findCallSite() skips frames that are not the user's", () => {
  const main = new URL("../../mod.ts", import.meta.url).href;
  for (
    const frame of [
      `    at stage (${SRC}stage.ts:1:2)`,
      `    at async ${main}:1:2`,
      "    at AsyncLocalStorage.run (node:internal/async_hooks:1:2)",
      "    at node:internal/main/run_main_module:1:2",
      "    at AsyncLocalStorage.run (ext:deno_node/async_hooks.ts:1:2)",
      "    at internal:async_hooks:1:2",
      "    at native:1:2",
      "    at run (native)",
      "    at Array.map (<anonymous>)",
      "    at Promise.all (index 0)",
      "    at async Promise.all (index 0)",
      "    at eval (eval at work (/app/main.js:1:2), <anonymous>:3:4)",
      "    at <anonymous>:1:2",
      "    at Context.with (/app/node_modules/@opentelemetry/api/build/context.js:1:2)",
      "    at Context.with (/app/node_modules/.pnpm/a@1/node_modules/@opentelemetry/api/context.js:1:2)",
      "    at Registry.metrics (C:\\app\\node_modules\\prom-client\\lib\\registry.js:1:2)",
      "    at Registry.metrics (file:///cache/npm/registry/prom-client/15.1.3/lib/registry.js:1:2)",
      "run@[native code]",
      "",
      "work",
    ]
  ) {
    assertEquals(find(frame), undefined, frame);
    assertEquals(find(frame, "    at f (/app/a.js:1:2)"), "/app/a.js:1:2");
  }
});

Deno.test("findCallSite() returns user files that are named like this library's", () => {
  for (
    const file of [
      SRC.replace(/\/$/, "-user/stage.ts"),
      new URL("../module.ts", import.meta.url).href,
      new URL("../../examples/demo/main.ts", import.meta.url).href,
    ]
  ) {
    assertEquals(find(`    at f (${file}:1:2)`), `${file}:1:2`);
  }
});

Deno.test("findCallSite() skips the bundle that contains this library", () => {
  const own = "    at captureStack (file:///app/vendor.js:1:2)";
  assertEquals(findCallSite(`Error\n${own}\n${own}`, "Message"), undefined);
  const user = "    at work (file:///app/main.js:3:4)";
  assertEquals(
    findCallSite(`Error\n${own}\n${own}\n${user}`, "Message"),
    "file:///app/main.js:3:4",
  );
});

Deno.test("findCallSite() returns undefined without a stack", () => {
  for (const stack of ["", "Error: Message", undefined, null, [], 1, {}]) {
    assertEquals(findCallSite(stack, "Message"), undefined);
  }
});

Deno.test("captureStack() exceeds the stack trace limit, and restores it", () => {
  const { stackTraceLimit } = Error;
  const nest = (depth: number): string =>
    depth === 0 ? captureStack("Message") : nest(depth - 1);
  try {
    for (const limit of [1, 10, 100, Infinity]) {
      Error.stackTraceLimit = limit;
      assertEquals(nest(20).split("nest").length > 20, true);
      assertEquals(Error.stackTraceLimit, limit);
    }
    Error.stackTraceLimit = 0;
    assertEquals(captureStack("Message"), "Error: Message");
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
});
