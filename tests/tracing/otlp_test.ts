/** Tests the spans that Deno itself exports with `OTEL_DENO=true`. */
import { assertEquals } from "@std/assert";
import { EXPECTED_TRACES, startCollector } from "../support/collector.ts";
import { freePort } from "../support/ports.ts";
import { fixtureUrl } from "../support/process.ts";
import { eventually } from "../support/wait.ts";

/** Returns the lines of the picture of a trace in examples/tracing/README.md. */
function readPicture(): string[] {
  const readme = Deno.readTextFileSync(
    new URL("../../examples/tracing/README.md", import.meta.url),
  );
  const picture = /```text\n(GET .*?)```/s.exec(readme)![1]!;
  return picture.trimEnd().split("\n").map((line) =>
    line.replace(/ +[├─┤]+$/, "")
  );
}

/** Starts Deno with its built-in tracing. */
function startDeno(
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): AsyncDisposable {
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { NO_COLOR: "1", OTEL_DENO: "true", ...environment },
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.status;
    },
  };
}

Deno.test("OTEL_DENO exports the spans of pipelines and stages", async () => {
  await using collector = startCollector();
  const args = ["run", fixtureUrl("traced").href];
  await using _child = startDeno(args, collector.environment);
  await eventually(() => assertEquals(collector.draw(), EXPECTED_TRACES));
});

Deno.test("examples/tracing/shop.ts and prices.ts are in one trace", async () => {
  await using collector = startCollector();
  const [port, pricesPort] = [freePort(), freePort()];
  const start = (name: string, port: number, ...flags: string[]) => {
    const script =
      new URL(`../../examples/tracing/${name}`, import.meta.url).href;
    return startDeno(
      ["serve", "--host=127.0.0.1", `--port=${port}`, ...flags, script],
      {
        ...collector.environment,
        PRICES: `http://127.0.0.1:${pricesPort}`,
      },
    );
  };
  await using _prices = start("prices.ts", pricesPort);
  await using _shop = start(
    "shop.ts",
    port,
    "--allow-net",
    "--allow-env=PRICES",
  );
  // Until both servers respond.
  for (const url of [`:${pricesPort}/metrics`, `:${port}/metrics`]) {
    await eventually(async () =>
      await (await fetch(`http://127.0.0.1${url}`)).body?.cancel()
    );
  }
  const response = await fetch(`http://127.0.0.1:${port}/tea`);
  assertEquals(await response.text(), "One tea: 3\n");
  const sold = `GET
  pipeline checkout (checkout, production) success
    stage bill (checkout, production, bill) success
    stage price (checkout, production, price) success
      GET
        GET
          pipeline pricing (pricing, production) success
            stage look_up (pricing, production, look_up) success
            stage parse (pricing, production, parse) success`;
  await eventually(() => assertEquals(collector.draw(), `GET\nGET\n${sold}`));
  assertEquals(
    sold.split("\n").map((line) => line.replace(/ \(.*$/, "")).sort(),
    readPicture().sort(),
  );
  const [pipeline] = collector.spans.filter(({ name }) =>
    name === "pipeline pricing"
  );
  assertEquals(
    collector.spans.filter(({ traceId }) => traceId === pipeline!.traceId)
      .length,
    9,
  );
});
