/**
 * A batch job, which ends before Prometheus can scrape it, pushes its metrics to a
 * Pushgateway. The job does not fail when the Pushgateway is down.
 *
 * Run:     deno run --allow-net --allow-env examples/servers/push.ts 1 2 3
 *
 * @module
 */
import { pipeline, stage } from "@lukhas/stage-metrics";
import process from "node:process";
import { Pushgateway, register } from "prom-client";

const GATEWAY = process.env["PUSHGATEWAY"] ?? "http://127.0.0.1:9091";

/** Runs the job, which adds up amounts. */
async function importAmounts(amounts: readonly string[]): Promise<number> {
  return await pipeline("nightly_import", async () => {
    const numbers = await stage(
      "parse",
      () => Promise.resolve(amounts.map(Number)),
    );
    return stage("add", () => {
      const sum = numbers.reduce((total, amount) => total + amount, 0);
      if (Number.isNaN(sum)) throw new TypeError("An amount is not a number");
      return sum;
    });
  });
}

/**
 * Pushes the metrics. A push replaces the metrics of its group, so failed runs have
 * another group: the time of the last success stays.
 */
async function push(run: "succeeded" | "failed"): Promise<void> {
  const gateway = new Pushgateway(GATEWAY, { timeout: 5_000 }, register);
  try {
    await gateway.push({ jobName: "nightly_import", groupings: { run } });
  } catch (error) {
    console.warn(`Cannot push the metrics: ${error}`);
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
