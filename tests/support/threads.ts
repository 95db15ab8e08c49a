/**
 * Starts worker threads that run commands.
 *
 * @module
 */
import { Worker } from "node:worker_threads";
import type { Commands, ThreadOptions } from "../fixtures/thread.ts";
import { fixtureUrl } from "./process.ts";

type Result<C extends keyof Commands> = Awaited<ReturnType<Commands[C]>>;

/** The longest wait for the end of a thread, in milliseconds. */
const TIMEOUT_MS = 5000;

/** A worker thread. */
export interface Thread extends AsyncDisposable {
  /** Runs a command in the thread, and returns its result. */
  call<C extends keyof Commands>(
    command: C,
    ...args: Parameters<Commands[C]>
  ): Promise<Result<C>>;
  /** Blocks the thread until the returned function is called. */
  hang(): Promise<() => void>;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<void>;
  /** Terminates the thread. */
  terminate(): Promise<void>;
  /** Ends the thread, or terminates it after a while, which loses its coverage. */
  end(): Promise<void>;
}

/** Starts a thread, and waits until it is ready. */
export async function startThread(
  options: ThreadOptions = {},
): Promise<Thread> {
  const worker = new Worker(fixtureUrl("thread"), { workerData: options });
  const pending = new Map<
    number,
    { resolve(value: never): void; reject(error: Error): void }
  >();
  worker.on("message", ({ id, value, error }) => {
    const waiting = pending.get(id);
    if (error === undefined) waiting?.resolve(value as never);
    else waiting?.reject(new Error(error));
  });
  // Some tests let threads fail. Callers notice that the thread has ended.
  worker.on("error", () => {});
  const ended = new Promise<void>((resolve) =>
    worker.on("exit", () => resolve())
  );
  let id = 0;
  const answer = <T>(post: () => void) =>
    new Promise<T>((resolve, reject) => {
      pending.set(id, { resolve, reject });
      post();
    });
  await answer(() => {});
  const terminate = async () => {
    await worker.terminate();
  };
  const end = async () => {
    worker.postMessage({ id: -1, command: "exit", args: [] });
    const timer = setTimeout(terminate, TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  };
  return {
    call(command, ...args) {
      id++;
      return answer(() => worker.postMessage({ id, command, args }));
    },
    async hang() {
      const lock = new Int32Array(new SharedArrayBuffer(4));
      worker.postMessage({ id: -1, command: "hang", args: [lock] });
      while (Atomics.load(lock, 0) !== 1) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return () => {
        Atomics.store(lock, 0, 2);
        Atomics.notify(lock, 0);
      };
    },
    ended,
    terminate,
    end,
    [Symbol.asyncDispose]: end,
  };
}
