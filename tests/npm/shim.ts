/**
 * Replaces functions that some runtimes lack, in the tests only: defined as globals, the
 * package could use them.
 *
 * @module
 */

interface Definition {
  readonly name: string;
  readonly ignore?: boolean;
  readonly fn: () => void | Promise<void>;
}

interface Test {
  (name: string, fn: Definition["fn"]): void;
  skip(name: string, fn: Definition["fn"]): void;
}

interface Exception {
  /** The start of the runtime's name. */
  readonly runtime: string;
  readonly tests: RegExp;
  readonly why: string;
}

/** Tests that cannot run on a runtime, for reasons outside the library. */
const EXCEPTIONS: readonly Exception[] = [
  {
    runtime: "Node 20.",
    tests: /^@prometheus-io\/client: /,
    why: "that client wants Node 22",
  },
  {
    runtime: "Bun ",
    tests: /^classifyError\(\) reads undici's own timeouts/,
    why: "Bun has an undici of its own, which knows no timeouts",
  },
  {
    runtime: "Bun ",
    tests: /^stageStream\(\): the source of a ReadableStream runs inside/,
    why: "a source runs in the context that its stream was made in",
  },
  {
    runtime: "Bun ",
    tests: /^metricsHandler\(\) cuts off a scrape after two minutes/,
    why: "fake timers do not replace those of node:timers",
  },
];

const { Bun, Deno, process, registeredTests } = globalThis as unknown as {
  Bun?: { readonly version: string };
  Deno?: unknown;
  process: { readonly versions: { readonly node: string } };
  registeredTests?: string[];
};

const runtime = Bun ? `Bun ${Bun.version}` : `Node ${process.versions.node}`;
const modules = Bun ? "bun:test" : "node:test";
const test: Test | undefined = Deno ? undefined : (await import(modules)).test;

/**
 * `Deno.test`: registers a test, or in Deno itself only takes down its name. The leak
 * sanitizers are Deno's own.
 */
export function denoTest(
  ...args: [name: string, fn: Definition["fn"]] | [Definition]
): void {
  const { name, fn, ignore = false } = args.length === 1
    ? args[0]
    : { name: args[0], fn: args[1] };
  if (test === undefined) {
    registeredTests?.push(name);
    return;
  }
  const exception = EXCEPTIONS.find(({ runtime: start, tests }) =>
    runtime.startsWith(start) && tests.test(name)
  );
  if (exception !== undefined) {
    console.warn(`Skipped on ${runtime}: ${name}, as ${exception.why}`);
  }
  const isSkipped = ignore || exception !== undefined;
  (isSkipped ? test.skip : test)(name, async () => {
    // The timer of `AbortSignal.timeout` holds up no Node, not even a test's.
    const hold = setInterval(() => {}, 1000);
    try {
      await fn();
    } finally {
      clearInterval(hold);
    }
  });
}

/** `Promise.withResolvers`, which Node 20 lacks. */
export function withResolvers<T>(): PromiseWithResolvers<T> {
  const settle = {} as Omit<PromiseWithResolvers<T>, "promise">;
  const promise = new Promise<T>((resolve, reject) =>
    Object.assign(settle, { resolve, reject })
  );
  return { promise, ...settle };
}

/** `Array.fromAsync`, which Node 20 lacks. */
export async function fromAsync<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const each of source) all.push(each);
  return all;
}
