import { perProcess } from "./per_process.ts";

/** Matches the files of a runtime's own modules. */
const RUNTIME = /^(?:native$|(?:node|ext|internal|bun|deno):)/;

/** Matches the files of dependencies, which call this library back. */
const DEPENDENCY =
  /[\\/](?:node_modules|npm)[\\/](?:.*[\\/])?(?:prom-client|@prometheus-io[\\/]client|@opentelemetry[\\/][^\\/]+)[\\/]/;

/** One frame of a stack. */
interface Frame {
  readonly file: string;
  /** The file, line and column. */
  readonly place: string;
}

/**
 * The path prefixes of all copies of this library.
 *
 * They are read from a stack instead of `import.meta.url`: bundlers warn about that in
 * CommonJS, and with a source map it is the path of the bundle, not of the source.
 */
const ownPrefixes = perProcess("own prefixes", () => new Set<string>());
for (const prefix of findPrefixes()) ownPrefixes.add(prefix);

function findPrefixes(): string[] {
  try {
    const { stack } = new Error();
    const file = parseStack(stack)[0]?.file ?? "";
    const [, root, folder] =
      /^(.*[\\/])(src[\\/])common[\\/]call_site[.][jt]s(?:[?#].*)?$/.exec(
        file,
      ) ?? [];
    // In a bundle, the neighbouring files do not belong to this library.
    return root === undefined ? [] : [`${root}${folder}`, `${root}mod.`];
  } catch {
    // The user's `Error.prepareStackTrace` threw.
    return [];
  }
}

/**
 * The maximum number of frames in a stack. V8's default of ten may be filled by frames
 * of this library and of tracing.
 */
const STACK_DEPTH = 50;

/**
 * Returns the stack of the caller, with up to 50 frames. It has none if the user has set
 * `Error.stackTraceLimit` to 0.
 *
 * @param message The message of the error at the top of the stack.
 */
export function captureStack(message: string): string {
  const { stackTraceLimit } = Error;
  const isShort = stackTraceLimit > 0 && stackTraceLimit < STACK_DEPTH &&
    Reflect.set(Error, "stackTraceLimit", STACK_DEPTH);
  try {
    return new Error(message).stack ?? "";
  } finally {
    if (isShort) Error.stackTraceLimit = stackTraceLimit;
  }
}

/**
 * Finds the topmost frame of the user's code in a stack that was captured here.
 *
 * In a bundle of a single file, the user's frames cannot be distinguished.
 *
 * @param stack The stack of an error that this library created.
 * @param message The message of that error.
 * @returns The file, line and column, or `undefined` if no frame is the user's.
 */
export function findCallSite(
  stack: unknown,
  message: string,
): string | undefined {
  const frames = parseStack(stack, message);
  const [first] = frames;
  const isOwn = (file: string) =>
    file === first?.file ||
    [...ownPrefixes].some((prefix) => file.startsWith(prefix));
  return frames.find(({ file }) => !isOwn(file) && !DEPENDENCY.test(file))
    ?.place;
}

/** Returns the frames of a stack, without those in the runtime's own modules. */
function parseStack(stack: unknown, message = ""): Frame[] {
  // `Error.prepareStackTrace` may return anything.
  if (typeof stack !== "string") return [];
  // The message may contain lines that look like frames.
  const at = stack.indexOf(message);
  const start = at === -1 ? 0 : at + message.length;
  return stack.slice(start).split("\n").map(parseFrame)
    .filter((frame) => frame !== undefined);
}

/**
 * Parses a line of a stack: `at fn (file:1:2)` or `at async file:1:2` in V8 and Bun,
 * `fn@file:1:2` in JavaScriptCore.
 */
function parseFrame(line: string): Frame | undefined {
  const call = /^\s*at (?:async )?(.*)$/.exec(line)?.[1];
  const place = call === undefined
    ? line.slice(line.indexOf("@") + 1)
    : call.endsWith(")")
    ? call.slice(call.indexOf(" (") + 2, -1)
    : call;
  const file = /^(.+):\d+:\d+$/.exec(place)?.[1];
  if (file === undefined || RUNTIME.test(file)) return undefined;
  // Code of `eval()` and `new Function()`. Its caller's frame has a file.
  if (file.startsWith("eval at ") || file.startsWith("<")) return undefined;
  return { file, place };
}
