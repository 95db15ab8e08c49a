/** Tests the npm package beside other versions of prom-client, and its successor. */
import { assertEquals, assertMatch } from "@std/assert";
import {
  issuesTotal,
  parseSamples,
  pipelineTotal,
  stageTotal,
} from "../support/samples.ts";
import { fetched, specifiersOf } from "./install.ts";
import { installBun, installNode } from "./runtimes.ts";
import { installScripts, runScript } from "./scripts.ts";
import { run } from "./suite.ts";

const SCRIPTS = new URL("clients/", import.meta.url);

const RUNTIMES = [
  { name: "Node 20", install: () => installNode(20) },
  { name: "Node 26", install: () => installNode(26) },
  { name: "Bun", install: installBun },
];

/** The clients, each installed in its own project. */
const CLIENTS = {
  "prom-client 14.0": "prom-client@14.0.0",
  "prom-client 14.2": "prom-client@14.2.0",
  "prom-client 15.0": "prom-client@15.0.0",
  "prom-client 15": specifiersOf(["prom-client"])[0]!,
  "prom-client 13": "prom-client@13.2.0",
  "@prometheus-io/client": specifiersOf(["@prometheus-io/client"])[0]!,
} as const;

/** The result of `clients/views.js`. */
interface Views {
  readonly texts: Readonly<Record<string, string>>;
  readonly value: number;
  readonly issues: readonly string[];
}

/** The result of `clients/split.js`. */
interface Split {
  readonly text: string;
  readonly issues: readonly string[];
}

function installClient(name: keyof typeof CLIENTS): Promise<string> {
  const folder = `client-${name.replace(/\W+/g, "-")}`;
  return installScripts(folder, [CLIENTS[name]], SCRIPTS);
}

/** Returns whether npm installed a prom-client for the package only. */
async function hasOwnClient(folder: string): Promise<boolean> {
  const own = `${folder}/node_modules/@lukhas/stage-metrics/node_modules`;
  return await Deno.stat(`${own}/prom-client`).then(() => true, () => false);
}

const PIPELINE = pipelineTotal("p", "success");
const STAGE = stageTotal("p", "s", "success");
const DECLARED = {
  [pipelineTotal("declared", "success")]: 1,
  [stageTotal("declared", "s", "success")]: 1,
};
const COUNTS = { ...DECLARED, [PIPELINE]: 1, [STAGE]: 1, requests_total: 1 };

/** Adds a label to all samples. */
function labelled(samples: Record<string, number>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(samples).map(([series, value]) => [
      series.endsWith("}")
        ? series.replace("}", ',app="shop"}')
        : `${series}{app="shop"}`,
      value,
    ]),
  );
}

const VIEWS = {
  "metricsHandler()": COUNTS,
  "metrics()": COUNTS,
  "getSingleMetricAsString()": {
    [pipelineTotal("declared", "success")]: 1,
    [PIPELINE]: 1,
  },
  "merge()": COUNTS,
  "aggregate()": Object.fromEntries(
    Object.entries(COUNTS).map(([series, value]) => [series, 2 * value]),
  ),
  "metricsHandler() with default labels": labelled(COUNTS),
  "metrics() with default labels": labelled(COUNTS),
  "resetMetrics()": { [PIPELINE]: 1, [STAGE]: 1 },
  // The user's own counter is gone, as prom-client leaves it.
  "clear()": { [PIPELINE]: 2, [STAGE]: 2 },
};

/** Versions that the package shares with the project. */
const SUPPORTED = [
  "prom-client 14.0",
  "prom-client 14.2",
  "prom-client 15.0",
  "prom-client 15",
] as const;

for (const client of SUPPORTED) {
  const folder = await fetched(client, installClient(client));

  for (const { name, install } of RUNTIMES) {
    const runtime = await fetched(`${client} in ${name}`, install());

    Deno.test({
      name: `register of ${client} shows the package's metrics in ${name}`,
      ignore: folder === undefined || runtime === undefined,
      async fn() {
        assertEquals(await hasOwnClient(folder!), false);
        const { texts, value, issues } = await runScript(
          runtime!,
          `${folder}/views.js`,
        ) as Views;
        const views = Object.entries(texts).map(([view, text]) =>
          [view, parseSamples(text)] as const
        );
        assertEquals(Object.fromEntries(views), VIEWS);
        assertEquals({ value, issues }, { value: 2, issues: [] });
      },
    });
  }
}

/** Clients that npm installs beside the client of the package. */
const OTHERS = [
  { client: "prom-client 13", specifier: "prom-client" },
  { client: "@prometheus-io/client", specifier: "@prometheus-io/client" },
] as const;

for (const { client, specifier } of OTHERS) {
  const folder = await fetched(client, installClient(client));

  for (const { name, install } of RUNTIMES) {
    const runtime = await fetched(`${client} in ${name}`, install());
    const ignore = folder === undefined || runtime === undefined;
    const split = async (use: string): Promise<Split> => {
      const printed = await run(
        runtime!,
        `${folder}/split.js`,
        specifier,
        use,
      );
      return JSON.parse(printed);
    };

    for (const use of ["records", "records late"]) {
      Deno.test({
        name: `registry_conflict reports that ${client} ${use} in ${name}`,
        ignore,
        async fn() {
          const { text, issues } = await split(use);
          assertEquals(parseSamples(text), {
            [PIPELINE]: 1,
            [issuesTotal("registry_conflict")]: 1,
          });
          assertEquals(issues.length, 1);
          assertMatch(issues[0]!, /^registry_conflict: Several .*prom-client/);
        },
      });
    }

    Deno.test({
      name: `registry_conflict stays at 0 while ${client} is idle in ${name}`,
      ignore,
      async fn() {
        const { text, issues } = await split("idle");
        assertEquals(parseSamples(text), { [PIPELINE]: 1 });
        assertEquals(issues, []);
      },
    });

    Deno.test({
      name: `configure() accepts the register of ${client} in ${name}`,
      ignore,
      async fn() {
        const { text, issues } = await split("configures");
        assertEquals(parseSamples(text), { [PIPELINE]: 1, requests_total: 1 });
        assertEquals(issues, []);
      },
    });
  }
}
