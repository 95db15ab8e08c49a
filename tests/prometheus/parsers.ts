/**
 * Reads metrics by foreign parsers.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { isInstalled } from "./prometheus.ts";

/** Debian's Python, the only one that has Debian's packages. */
const PYTHON = "/usr/bin/python3";

/** A metric family as a parser read it. */
export interface ParsedFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly [string, Record<string, string>, string][];
  readonly exemplars: readonly [
    Record<string, string>,
    Record<string, string>,
    number,
  ][];
}

/** Pipes a text through a program, which must succeed without warnings. */
export async function pipeThrough(
  program: string,
  args: string[],
  text: string,
): Promise<string> {
  const child = new Deno.Command(program, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  const decoder = new TextDecoder();
  assertEquals([code, decoder.decode(stderr)], [0, ""]);
  return decoder.decode(stdout);
}

/** Parses metrics by the Python client. */
export async function parse(
  format: string,
  text: string,
): Promise<ParsedFamily[]> {
  const script = new URL("parse.py", import.meta.url).pathname;
  return JSON.parse(await pipeThrough(PYTHON, [script, format], text));
}

/** Whether the Python client is installed. */
export const hasParser = isInstalled(
  PYTHON,
  "reading back by the Python client",
  [
    "-c",
    "import prometheus_client.openmetrics.parser",
  ],
);

/** Whether Prometheus's linter is installed. */
export const hasPromtool = isInstalled("promtool", "promtool check metrics");
