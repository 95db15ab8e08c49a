/** Tests the example of a batch job with a real Pushgateway. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";
import { isInstalled } from "./prometheus.ts";

const ignore = !isInstalled("prometheus-pushgateway", "the example of a job");

const PREFIX = "lukhas_orchestration_pipeline";

async function startGateway(): Promise<AsyncDisposable & { url: string }> {
  const address = `127.0.0.1:${freePort()}`;
  const child = new Deno.Command("prometheus-pushgateway", {
    args: [`--web.listen-address=${address}`],
    stdout: "null",
    stderr: "null",
  }).spawn();
  const url = `http://${address}`;
  await eventually(async () => {
    const { ok } = await fetch(`${url}/-/ready`).then(async (response) => {
      await response.body?.cancel();
      return response;
    });
    assertEquals(ok, true);
  });
  return {
    url,
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.status;
    },
  };
}

async function runJob(url: string, ...amounts: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--allow-net=127.0.0.1",
      "--allow-env",
      new URL("../../examples/servers/push.ts", import.meta.url).href,
      ...amounts,
    ],
    env: { NO_COLOR: "1", PUSHGATEWAY: url },
  }).output();
  const decoder = new TextDecoder();
  return {
    code,
    stdout: decoder.decode(stdout),
    stderr: decoder.decode(stderr),
  };
}

Deno.test({
  name:
    "examples/servers/push.ts keeps the last success when a later run fails",
  ignore,
  async fn() {
    await using gateway = await startGateway();
    const read = async (name: string, status: string, run: string) => {
      const text = await (await fetch(`${gateway.url}/metrics`)).text();
      const labels =
        `{instance="",job="nightly_import",lane="production",pipeline_name="nightly_import",run="${run}",status="${status}"}`;
      const line = text.split("\n").find((line) =>
        line.startsWith(`${PREFIX}_${name}${labels} `)
      );
      return line === undefined ? undefined : Number(line.split(" ").at(-1));
    };
    assertEquals(await runJob(gateway.url, "3", "4"), {
      code: 0,
      stdout: "7\n",
      stderr: "",
    });
    const succeeded = [
      "last_end_timestamp_seconds",
      "success",
      "succeeded",
    ] as const;
    const time = await read(...succeeded);
    // The system clock may be set in the meantime. A wrong unit or epoch is years off.
    assert(Math.abs(time! - Date.now() / 1000) < 3600, `${time}`);
    assertEquals(await read("total", "success", "succeeded"), 1);
    assertEquals(
      await read("duration_seconds_count", "success", "succeeded"),
      1,
    );

    const failing = await runJob(gateway.url, "3", "four");
    assertEquals(failing, {
      code: 1,
      stdout: "",
      stderr: "TypeError: An amount is not a number\n",
    });
    assertEquals(await read(...succeeded), time);
    assertEquals(await read("total", "failure", "failed"), 1);
    const failed = await read(
      "last_end_timestamp_seconds",
      "failure",
      "failed",
    );
    assert(failed !== undefined && failed !== time, `${failed}`);
  },
});

Deno.test({
  name:
    "examples/servers/push.ts returns its result when the Pushgateway is down",
  ignore,
  async fn() {
    const url = `http://127.0.0.1:${freePort()}`;
    const { code, stdout, stderr } = await runJob(url, "3", "4");
    assertEquals([code, stdout], [0, "7\n"]);
    assertStringIncludes(stderr, "Cannot push the metrics: ");
  },
});
