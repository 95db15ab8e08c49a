/**
 * Runs the demo for a test.
 *
 * @module
 */

const FILES = {
  "garden.md": `# Garden

Roses want sun, and water twice a week.

- Lilies want shade.
- Ferns want neither sun nor wind.
`,
  "kitchen/bread.md": `# Bread

Knead the dough for ten minutes.

\`\`\`
roses in code are not prose
\`\`\`
`,
  ".hidden.md": "Roses are hidden here.\n",
};

/** Creates a folder of Markdown files. */
export async function createFolder(): Promise<
  AsyncDisposable & { readonly path: string }
> {
  const path = await Deno.makeTempDir();
  await Deno.mkdir(`${path}/kitchen`);
  for (const [name, text] of Object.entries(FILES)) {
    await Deno.writeTextFile(`${path}/${name}`, text);
  }
  return {
    path,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Starts the demo as `deno task demo` does, on a free port. */
export async function startDemo(folder: string): Promise<
  AsyncDisposable & { readonly greeting: string; readonly url: string }
> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--unstable-no-legacy-abort",
      "--allow-net=127.0.0.1",
      "--allow-read",
      "--allow-env=LUKHAS_LANE",
      new URL("../../examples/demo/main.ts", import.meta.url).href,
      "--port=0",
      // Keeps timeouts from passing on a busy machine.
      "--timeout-factor=1000",
      folder,
    ],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream())
    .getReader();
  const { value: greeting = "" } = await reader.read();
  return {
    greeting,
    url: /http\S+/.exec(greeting)?.[0] ?? "",
    async [Symbol.asyncDispose]() {
      child.kill();
      await child.status;
      await reader.cancel();
    },
  };
}
