/**
 * Runs scripts in processes of their own, for what a process does only once.
 *
 * @module
 */

/** Runs `tests/fixtures/NAME.ts` and gives all that it prints. */
export async function runFixture(
  name: string,
  permissions: string[],
  environment: Record<string, string> = {},
): Promise<string> {
  const script = new URL(`fixtures/${name}.ts`, import.meta.url);
  const { LUKHAS_LANE: _, ...inherited } = Deno.env.toObject();
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, script.href],
    clearEnv: true,
    env: { ...inherited, NO_COLOR: "1", ...environment },
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stderr) + decoder.decode(stdout);
}
