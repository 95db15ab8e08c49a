import { createStageMetrics, type PipelineOptions } from "../mod.ts";
import { captureMetrics } from "../src/testing.ts";
import { runFixture } from "./process.ts";
import {
  issuesTotal,
  pipelineTotal,
  samplesOf,
  stageTotal,
} from "./samples.ts";
import { assertEquals } from "@std/assert";
import { Registry } from "prom-client";

const OPTIONS = { lane: "test", onIssue() {} };

Deno.test("The lane is the pipeline's option, the enclosing pipeline's, the instance's, in this order", async () => {
  await captureMetrics({ lane: " Instance " }, (metrics) => {
    const lane = (options?: PipelineOptions) =>
      metrics.pipeline("p", options, ({ lane }) => lane);
    assertEquals(lane(), "instance");
    assertEquals(lane({ lane: undefined }), "instance");
    assertEquals(lane({ lane: " OPTION\n" }), "option");
    metrics.pipeline("outer", { lane: "Outer" }, () => {
      assertEquals(lane(), "outer");
      assertEquals(lane({ lane: "Option" }), "option");
    });
    return Promise.resolve();
  });
});

Deno.test("The lane is LUKHAS_LANE where nothing else says one, and production where that does not", async () => {
  const granted = ["--allow-env=LUKHAS_LANE"];
  const [named, empty, unset] = await Promise.all([
    runFixture("print_lane", granted, { LUKHAS_LANE: " Canary" }),
    runFixture("print_lane", granted, { LUKHAS_LANE: "" }),
    runFixture("print_lane", granted, {}),
  ]);
  assertEquals([named, empty, unset], [
    "canary\n",
    "unknown\n",
    "production\n",
  ]);
});

Deno.test("An empty lane is unknown, and so is one that is no string, with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const lane of ["", "  "]) metrics.pipeline("p", { lane }, () => {});
    const odd = { lane: 7 } as unknown as PipelineOptions;
    metrics.pipeline("p", odd, () => {});
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success", "unknown")]: 3,
      [issuesTotal("invalid_name")]: 1,
    });
  });
});

Deno.test("A name that is no string, or empty, is recorded as unknown, with an issue", async () => {
  const hostile = {
    toString() {
      throw new Error("Not to be called");
    },
  };
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const name of ["", undefined, null, 5, Symbol("p"), hostile]) {
      metrics.pipeline(name as string, (scope) => {
        assertEquals(scope.name, "unknown");
        metrics.stage(name as string, (scope) => {
          assertEquals(scope.name, "unknown");
        });
      });
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("unknown", "success")]: 6,
      [stageTotal("unknown", "unknown", "success")]: 6,
      [issuesTotal("invalid_name")]: 12,
    });
  });
});

Deno.test("A name is cut at 128 characters, between whole ones, with an issue", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const long = "x".repeat(127);
    for (const name of [`${long}y`, `${long}yz`, `${long}😀`]) {
      metrics.pipeline(name, () => {});
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal(`${long}y`, "success")]: 2,
      [pipelineTotal(long, "success")]: 1,
      [issuesTotal("invalid_name")]: 2,
    });
  });
});

Deno.test("Hostile names are series of their own, and read back as they were", async () => {
  const metrics = createStageMetrics({ ...OPTIONS, registry: new Registry() });
  const names = [
    '"',
    "\\",
    "\n",
    "\\n",
    'a",stage_name="b',
    "a,stage_name:b",
    "__proto__",
    "constructor",
    "toString",
    "\u202eltr",
    "\u0000\u0007\r",
    "é",
    "e\u0301",
    " p ",
  ];
  for (const name of names) {
    metrics.pipeline(name, () => metrics.stage(name, () => {}));
  }
  const escape = (name: string) =>
    name.replace(/[\\"\n]/g, (c) => c === "\n" ? "\\n" : `\\${c}`);
  assertEquals(
    await samplesOf(metrics),
    Object.fromEntries(
      names.map(escape).flatMap((name) => [
        [pipelineTotal(name, "success"), 1],
        [stageTotal(name, name, "success"), 1],
      ]),
    ),
  );
});

Deno.test("Lone surrogates are one series, of U+FFFD", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    for (const name of ["a\ud800", "a\udbff", "a\ufffd"]) {
      metrics.pipeline(name, () => {});
    }
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("a\ufffd", "success")]: 3,
    });
  });
});
