import { perProcess } from "./per_process.ts";

/** Modules that are part of a runtime. */
const RUNTIME = /^(?:native$|(?:node|ext|internal|bun|deno):)/;

/** Packages that this one calls, and that call it back. */
const DEPENDENCY =
  /[\\/](?:node_modules|npm)[\\/](?:.*[\\/])?(?:prom-client|@prometheus-io[\\/]client|@opentelemetry[\\/][^\\/]+)[\\/]/;

/** A frame of a stack. */
interface Frame {
  readonly file: string;
  /** File, line and template. */
  readonly place: string;
}

/**
 * The path prefixes of all copies of this module. They are read from a stack: bundlers
 * to CommonJS warn of `import.meta`, and under a source map it is the path of the bundle
 * rather than of the source.
 */
const ownPrefixes = perProcess("own-prefixes", () => new Set<string>());
for (const prefix of findPrefixes()) ownPrefixes.add(prefix);

function findPrefixes(): string[] {
  try {
    const { stack } = new Error();
    const file = parseStack(stack)[0]?.file ?? "";
    const [, root, folder] =
      /^(.*[\\/])(src[\\/])common[\\/]call_site[.][jt]s(?:[?#].*)?$/.exec(
        file,
      ) ?? [];
    // Else it is bundled, and the files next to it are not this library's.
    return root === undefined ? [] : [`${root}${folder}`, `${root}mod.`];
  } catch {
    // `Error.prepareStackTrace` is the user's.
    return [];
  }
}

/** How many frames of this library and of its dependencies may be above the user's. */
const STACK_DEPTH = 50;

/**
 * Captures the stack of an error, deeper than V8's ten frames, which tracing alone may
 * fill. A limit of 0 stays.
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
 * Finds the place in the user's code in a stack that began in this library.
 *
 * In a bundle of a single file nothing tells this library from the user's code.
 *
 * @param stack The stack of an error that this library created.
 * @param message The message of that error.
 * @returns The file, line and template, or `undefined` if no frame is the user's.
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

/** Returns the frames that have a place outside of the runtime. */
function parseStack(stack: unknown, message = ""): Frame[] {
  // `Error.prepareStackTrace` may return anything.
  if (typeof stack !== "string") return [];
  // A message may have lines that look like frames.
  const at = stack.indexOf(message);
  const start = at === -1 ? 0 : at + message.length;
  return stack.slice(start).split("\n").map(parseFrame)
    .filter((frame) => frame !== undefined);
}

/**
 * Reads a line of a stack: `at fn (file:1:2)` or `at async file:1:2` as V8 and Bun write
 * it, or `fn@file:1:2` as JavaScriptCore does.
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
  // Code of `eval()` and `new Function()`: its caller has a place.
  if (file.startsWith("eval at ") || file.startsWith("<")) return undefined;
  return { file, place };
}
