/**
 * Runs a Redis server for a test. It comes with Debian's package `redis-server`.
 *
 * @module
 */
import { freePort } from "../support/ports.ts";
import { eventually } from "../support/wait.ts";
import { Unavailable } from "./install.ts";

/** A server that listens on a port of the loopback interface. */
export interface Redis extends AsyncDisposable {
  readonly port: number;
}

/**
 * Checks that the server can be started.
 *
 * @returns The name of its program.
 * @throws {Unavailable} If it is not installed.
 */
export async function findRedis(): Promise<string> {
  const program = "redis-server";
  try {
    await new Deno.Command(program, { args: ["--version"] }).output();
    return program;
  } catch {
    throw new Unavailable("Redis is not installed");
  }
}

/** Starts an empty server, which keeps everything in memory. */
export async function startRedis(program: string): Promise<Redis> {
  const port = freePort();
  const settings = { port, bind: "127.0.0.1", save: "", appendonly: "no" };
  const server = new Deno.Command(program, {
    args: Object.entries(settings).flatMap(([name, value]) => [
      `--${name}`,
      String(value),
    ]),
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const stop = async () => {
    server.kill("SIGTERM");
    await server.status;
  };
  try {
    await eventually(async () => {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    });
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, [Symbol.asyncDispose]: stop };
}
