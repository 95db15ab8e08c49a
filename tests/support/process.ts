/**
 * Runs scripts in their own process, to test behaviour that occurs once per process.
 *
 * @module
 */

/** The longest wait, in milliseconds. */
const TIMEOUT_MS = 60_000;

/** Returns the URL of `fixtures/NAME.ts`. */
export function fixtureUrl(name: string): URL {
  return new URL(`../fixtures/${name}.ts`, import.meta.url);
}

/** Runs `tests/fixtures/NAME.ts`, and returns its output. */
export async function runFixture(
  name: string,
  permissions: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const script = fixtureUrl(name);
  const { LUKHAS_LANE: _, ...inherited } = Deno.env.toObject();
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, script.href],
    clearEnv: true,
    env: { ...inherited, NO_COLOR: "1", ...environment },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  const { stdout, stderr, signal } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  const printed = decoder.decode(stderr) + decoder.decode(stdout);
  return signal === null ? printed : `${printed}(ended by ${signal})`;
}
