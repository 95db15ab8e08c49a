/** Tests unknown options, which throw where something is created once. */
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Registry } from "prom-client";
import {
  configure,
  createStageMetrics,
  definePipeline,
  metricsHandler,
  pipeline,
  stage,
} from "../../mod.ts";
import { nodeMetricsHandler } from "../../src/node.ts";
import { captureMetrics } from "../../src/testing.ts";
import { pipelineTotal, samplesOf, stageTotal } from "../support/samples.ts";

type Options = Readonly<Record<string, unknown>>;

/** A function that accepts options, and the start of its messages. */
interface Taker {
  readonly action: string;
  readonly name: string;
  take(options: Options): unknown;
}

const TAKERS: readonly Taker[] = [
  {
    action: "create stage metrics",
    name: "createStageMetrics()",
    take: (options) =>
      createStageMetrics({ registry: new Registry(), ...options }),
  },
  {
    action: "create stage metrics",
    name: "configure()",
    take: (options) => configure(options),
  },
  {
    action: "create stage metrics",
    name: "captureMetrics()",
    take: (options) => captureMetrics(options, () => {}),
  },
  {
    action: "declare a pipeline",
    name: "definePipeline()",
    take: (options) => definePipeline("p", { stages: {}, ...options }),
  },
  {
    action: 'declare the stage "s"',
    name: "definePipeline() for a stage",
    take: (options) => definePipeline("p", { stages: { s: options } }),
  },
  {
    action: "create a metrics handler",
    name: "metricsHandler()",
    take: (options) => metricsHandler(options),
  },
  {
    action: "create a metrics handler",
    name: "nodeMetricsHandler()",
    take: (options) => nodeMetricsHandler(options),
  },
];

for (const { name, action, take } of TAKERS) {
  Deno.test(`${name} throws for unknown options`, () => {
    for (const value of [1, undefined]) {
      assertThrows(
        () => take({ unheardOf: value }),
        TypeError,
        `Cannot ${action}: unknown option "unheardOf"`,
      );
    }
    // A class field is an own property, but methods and getters are not.
    class Config {
      unheardOf = 1;
    }
    assertThrows(
      () => take(new Config() as unknown as Options),
      TypeError,
      'unknown option "unheardOf"',
    );
  });
}

Deno.test("metricsHandler() throws for unknown workers options", () => {
  for (const create of [metricsHandler, nodeMetricsHandler]) {
    const take = create as (options: Options) => unknown;
    assertThrows(
      () => take({ workers: { timout: 1 } }),
      TypeError,
      'Cannot create a metrics handler: unknown option "workers.timout", did you mean "workers.timeout"?',
    );
    assertThrows(
      () => take({ workers: "all" }),
      TypeError,
      "Cannot create a metrics handler: workers must be an object, got string",
    );
  }
});

Deno.test("createStageMetrics() suggests an option only if it is similar", () => {
  const suggested: Readonly<Record<string, string | undefined>> = {
    cardinalitylimit: "cardinalityLimit",
    cardinalityLimits: "cardinalityLimit",
    cardinality: "cardinalityLimit",
    onissue: "onIssue",
    onIsuse: "onIssue",
    classifyErrors: "classifyError",
    pipelineBucket: "pipelineBuckets",
    lnae: "lane",
    Lane: "lane",
    prefx: "prefix",
    labels: undefined,
    timeout: undefined,
    "": undefined,
  };
  for (const [name, similar] of Object.entries(suggested)) {
    const hint = similar === undefined ? "" : `, did you mean "${similar}"?`;
    const take = createStageMetrics as (options: Options) => unknown;
    const { message } = assertThrows(() => take({ [name]: 1 }), TypeError);
    assertEquals(
      message,
      `Cannot create stage metrics: unknown option "${name}"${hint}`,
    );
  }
});

Deno.test("createStageMetrics() does not touch the registry for unknown options", () => {
  const registry = new Registry();
  const take = createStageMetrics as (options: Options) => unknown;
  assertThrows(() => take({ registry, lanes: "batch" }), TypeError);
  assertEquals(registry.getMetricsAsArray(), []);
});

Deno.test("createStageMetrics() reads the getters of a class", async () => {
  const registry = new Registry();
  class Config {
    readonly #lane = "batch";
    get lane() {
      return this.#lane;
    }
    get registry() {
      return registry;
    }
    get unheardOf() {
      return 1;
    }
    reload() {}
  }
  const metrics = createStageMetrics(new Config());
  metrics.pipeline("p", () => {});
  assertEquals(await samplesOf(metrics), {
    [pipelineTotal("p", "success", "batch")]: 1,
  });
});

Deno.test("definePipeline() reads the getters of a class", async () => {
  class StageConfig {
    get classifyResult() {
      return () => "failure" as const;
    }
  }
  class Config {
    get lane() {
      return "batch";
    }
    get timeout() {
      return 1;
    }
    get stages() {
      return { s: new StageConfig() };
    }
    reload() {}
  }
  await captureMetrics({ onIssue() {} }, async (metrics) => {
    const declared = definePipeline("p", new Config());
    await assertRejects(
      () =>
        declared.run(() => {
          stage("s", () => {});
          return new Promise(() => {});
        }),
      DOMException,
      "timed out after 1 ms",
    );
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "timeout", "batch")]: 1,
      [stageTotal("p", "s", "failure", "batch")]: 1,
    });
  });
});

Deno.test("nodeMetricsHandler() reads the getters of a class", async () => {
  class Config {
    get token() {
      return "secret";
    }
  }
  const listener = nodeMetricsHandler(new Config());
  const status = await new Promise((resolve) => {
    listener({ method: "GET", url: "/metrics", headers: {} }, {
      writeHead: resolve,
      write: () => true,
      end() {},
    });
  });
  assertEquals(status, 401);
});

Deno.test("pipeline() and stage() ignore unknown options of a call", async () => {
  await captureMetrics({ lane: "test" }, async (metrics) => {
    const misspelt = { timout: 5 } as object;
    assertEquals(
      pipeline("p", misspelt, () => stage("s", misspelt, () => 1)),
      1,
    );
    assertEquals(pipeline("p", misspelt)(() => 2)(), 2);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 2,
      [stageTotal("p", "s", "success")]: 1,
    });
  });
});
