/**
 * Replaces functions that some runtimes lack, in the tests only: defined as globals, the
 * package could use them.
 *
 * @module
 */

import { EXCEPTIONS } from "./exceptions.ts";

interface Definition {
  readonly name: string;
  readonly ignore?: boolean;
  readonly fn: () => void | Promise<void>;
}

interface Test {
  (name: string, fn: Definition["fn"]): void;
  skip(name: string, fn: Definition["fn"]): void;
}

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
 * `Deno.test`: registers a test, or in Deno itself only collects its name. Ignores the
 * options of the leak sanitizers.
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
  const exception = EXCEPTIONS.find((each) =>
    runtime.startsWith(each.runtime) && each.test === name
  );
  if (exception !== undefined) {
    console.warn(`Skipped on ${runtime}: ${name}, as ${exception.why}`);
  }
  const isSkipped = ignore || exception !== undefined;
  (isSkipped ? test.skip : test)(name, async () => {
    // The timer of `AbortSignal.timeout` does not keep Node running.
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
