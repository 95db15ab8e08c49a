/**
 * Runs scripts in processes of their own, for what a process does only once.
 *
 * @module
 */

/** How long a script may take; it is there to end, not to measure. */
const PATIENCE_MS = 60_000;

/** Where `fixtures/NAME.ts` is. */
export function fixtureUrl(name: string): URL {
  return new URL(`../fixtures/${name}.ts`, import.meta.url);
}

/** Runs `tests/fixtures/NAME.ts` and gives all that it prints. */
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
  const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  const { stdout, stderr, signal } = await child.output();
  clearTimeout(timer);
  const decoder = new TextDecoder();
  const printed = decoder.decode(stderr) + decoder.decode(stdout);
  return signal === null ? printed : `${printed}(ended by ${signal})`;
}
