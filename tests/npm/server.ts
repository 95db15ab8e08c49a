/**
 * Runs a server for a test, and reads its output.
 *
 * @module
 */

/** The longest wait, in milliseconds. */
const TIMEOUT_MS = 60_000;

/** A server that is running. */
export interface Server extends AsyncDisposable {
  /** The output so far. */
  readonly printed: string;
  /** Waits until the output has `count` matches, and returns the last one. */
  waitFor(pattern: RegExp, count?: number): Promise<string>;
}

/** Starts a server. */
export function startServer(
  binary: string,
  args: readonly string[],
  options: Pick<Deno.CommandOptions, "cwd" | "env">,
): Server {
  const child = new Deno.Command(binary, {
    ...options,
    args: [...args],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let printed = "";
  let onChange = Promise.withResolvers<void>();
  const change = () => {
    onChange.resolve();
    onChange = Promise.withResolvers();
  };
  const read = async (output: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of output) {
      printed += decoder.decode(chunk, { stream: true });
      change();
    }
  };
  let hasEnded = false;
  const ended = Promise.all([read(child.stdout), read(child.stderr)])
    .then(() => {
      hasEnded = true;
      change();
    });
  return {
    get printed() {
      return printed;
    },
    async waitFor(pattern, count = 1) {
      const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
      try {
        while (true) {
          const found = printed.match(new RegExp(pattern, "g")) ?? [];
          if (found.length >= count) return found[count - 1]!;
          if (hasEnded) {
            throw new Error(`The server ended without ${pattern}: ${printed}`);
          }
          await onChange.promise;
        }
      } finally {
        clearTimeout(timer);
      }
    },
    async [Symbol.asyncDispose]() {
      if (!hasEnded) child.kill();
      await Promise.all([child.status, ended]);
    },
  };
}
