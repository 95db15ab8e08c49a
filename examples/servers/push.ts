/**
 * A batch job that ends before anyone could scrape it: it pushes its metrics to a
 * Pushgateway, and its result is the same whether that is there or not.
 *
 * Run it: deno run --allow-net --allow-env examples/servers/push.ts
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import process from "node:process";
import { Pushgateway, register } from "prom-client";

const GATEWAY = process.env["PUSHGATEWAY"] ?? "http://127.0.0.1:9091";

/** The job itself: it adds up what it is given. */
async function importAmounts(amounts: readonly string[]): Promise<number> {
  return await pipeline("nightly_import", async () => {
    const numbers = await stage(
      "parse",
      () => Promise.resolve(amounts.map(Number)),
    );
    return stage("add", () => {
      const sum = numbers.reduce((total, amount) => total + amount, 0);
      if (Number.isNaN(sum)) throw new TypeError("An amount is no number");
      return sum;
    });
  });
}

/**
 * A push replaces what its group had. Runs that fail have one of their own, so that
 * the time of the last success stays.
 */
async function push(run: "succeeded" | "failed"): Promise<void> {
  const gateway = new Pushgateway(GATEWAY, { timeout: 5_000 }, register);
  try {
    await gateway.push({ jobName: "nightly_import", groupings: { run } });
  } catch (error) {
    console.warn(`The metrics were not pushed: ${error}`);
  }
}

try {
  console.log(await importAmounts(process.argv.slice(2)));
  await push("succeeded");
} catch (error) {
  console.error(String(error));
  process.exitCode = 1;
  await push("failed");
}
