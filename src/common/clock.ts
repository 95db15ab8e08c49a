import { describeError } from "./describe_error.ts";

/** A clock of the platform or of fake timers: `performance` or `Date`. */
interface MillisecondClock {
  /** Returns the time, in milliseconds. */
  now(): number;
}

/**
 * The global `setTimeout`, which may be fake. Sinon, which Jest and Vitest use as well,
 * sets `clock` to the clock that fires the timers. Bun keeps the function, and sets
 * `clock` to `true`.
 */
interface Timers {
  (...args: never[]): unknown;
  readonly clock?: { readonly performance?: MillisecondClock } | true;
}

/** A constant, because the global is a getter in Node: it costs a tenth of a scope. */
const { performance } = globalThis;

/** The real method, because some fake timers replace it on this object. */
const performanceNow = performance.now;

/** The real `Date`, even if this module is loaded while timers are fake. */
const NativeDate = Date.prototype.constructor;

/** Returns whether timers are fake, or may have been replaced since the last check. */
const mayBeFake = createFakeCheck();

// The globals when timers were last real.
let realTimers: Timers | undefined;
let realDate: DateConstructor | undefined;
let realPerformance: Performance | undefined;

/** The offset added to the real time after fake timers were removed, in seconds. */
let realOffset = 0;

/** The clock of the fake timers, if timers are fake. */
let fakeClock: FakeClock | undefined;

/** The number of changes between real and fake time. */
let changes = 0;

/** The latest reading, in seconds. In an array, because a variable would allocate. */
const latest = new Float64Array(1);

/**
 * Returns the monotonic time of the default clock, in seconds.
 *
 * It follows the fake timers of test frameworks, as timeouts do. When fake timers are
 * installed or removed, it continues from the latest reading, so that the durations of
 * open scopes stay plausible.
 */
export function monotonicSeconds(): number {
  return latest[0] =
    mayBeFake() || realOffset !== 0 || performance.now !== performanceNow
      // Without the plus, V8 would not infer a number, and would allocate each reading.
      ? +fakeOrOffsetSeconds()
      // A method call, because V8 does not inline `call()`.
      : performance.now() / 1000;
}

/** Returns the time if timers are fake, or were fake before. */
function fakeOrOffsetSeconds(): number {
  return mayBeFake() ? fakeOrRealSeconds() : realSeconds();
}

/**
 * Creates the check for fake timers that reads the fewest globals. A scope reads the
 * clock twice, so the cost of each read is measurable.
 */
function createFakeCheck(): () => boolean {
  const { get } = Object.getOwnPropertyDescriptor(globalThis, "setTimeout") ??
    {};
  if (get !== undefined) {
    // In Deno, calling this getter would cost a tenth of a pipeline. Nearly all fake
    // timers also replace `Date` or `performance`.
    return () =>
      fakeClock !== undefined || Date !== realDate ||
      globalThis.performance !== realPerformance;
  }
  if ("Bun" in globalThis) {
    return () => {
      const timers: Timers | undefined = globalThis.setTimeout;
      return fakeClock !== undefined || timers !== realTimers ||
        timers?.clock !== undefined;
    };
  }
  return () => fakeClock !== undefined || globalThis.setTimeout !== realTimers;
}

/** Returns the time of the platform's clock, continued after fake timers. */
function realSeconds(): number {
  return performanceNow.call(performance) / 1000 + realOffset;
}

/** Returns the time after checking whether timers are fake. */
function fakeOrRealSeconds(): number {
  const timers: Timers | undefined = globalThis.setTimeout;
  if (!fakeClock?.follows(timers)) changeClock(timers);
  if (fakeClock === undefined) return realSeconds();
  return fakeClock.seconds();
}

/** Switches to the clock of the current timers, fake or real. */
function changeClock(timers: Timers | undefined): void {
  const source = findFakeSource(timers);
  if (source !== undefined) {
    // Not below the latest reading: Bun's fake timers also change the real clock.
    if (fakeClock === undefined) {
      latest[0] = Math.max(latest[0]!, realSeconds());
    }
    fakeClock = new FakeClock(timers, source);
    changes++;
    return;
  }
  if (fakeClock !== undefined) {
    realOffset += roundUp(latest[0]! - realSeconds());
    fakeClock = undefined;
    changes++;
  }
  realTimers = timers;
  realDate = Date;
  realPerformance = globalThis.performance;
}

/** Returns the clock of fake timers, or `undefined` if timers are real. */
function findFakeSource(
  timers: Timers | undefined,
): MillisecondClock | undefined {
  const clock = timers?.clock;
  // A replaced `Date` does not mean fake timers.
  if (clock === undefined && timers === realTimers) return undefined;
  // The clock that fires the timers. `setSystemTime()` only changes `Date`.
  const own = Object(clock).performance as MillisecondClock | undefined;
  if (own !== undefined && isReadable(own)) return own;
  const { performance: ambient } = globalThis;
  if (ambient?.now !== performanceNow && isReadable(ambient)) return ambient;
  if (Date !== NativeDate && isReadable(Date)) return Date;
  // Bun's fake timers work inside `performance.now`.
  return clock === undefined ? undefined : performance;
}

function isReadable(clock: MillisecondClock): boolean {
  return Number.isFinite(readMilliseconds(clock));
}

/** Returns the time of a clock, or `NaN` if it throws. */
function readMilliseconds(clock: MillisecondClock): number {
  try {
    return Number(clock.now());
  } catch {
    return NaN;
  }
}

/** The clock of fake timers, continued from the latest reading. */
class FakeClock {
  readonly #timers: Timers | undefined;
  readonly #mark: Timers["clock"];
  readonly #source: MillisecondClock;
  /** The time of the source at `#base`, in milliseconds. */
  #origin: number;
  /** The reading from which this clock continues, in seconds. */
  #base: number;

  constructor(timers: Timers | undefined, source: MillisecondClock) {
    this.#timers = timers;
    this.#mark = timers?.clock;
    this.#source = source;
    this.#origin = readMilliseconds(source);
    this.#base = roundUp(latest[0]!);
  }

  /** Returns whether this clock belongs to the timers. */
  follows(timers: Timers | undefined): boolean {
    return timers === this.#timers && timers?.clock === this.#mark;
  }

  seconds(): number {
    const now = readMilliseconds(this.#source);
    const seconds = (now - this.#origin) / 1000 + this.#base;
    if (seconds >= latest[0]!) return seconds;
    // Fake timers can be reset or reinstalled with the same function.
    if (Number.isFinite(now)) {
      this.#origin = now;
      this.#base = roundUp(latest[0]!);
    }
    return latest[0]!;
  }
}

/**
 * Rounds up to a multiple of 1/1024 second, so that adding whole seconds of fake time
 * is exact.
 */
function roundUp(seconds: number): number {
  return Math.ceil(seconds * 1024) / 1024;
}

// The setup file of a test framework may have installed fake timers already.
changeClock(globalThis.setTimeout);

/** How long a cached system time stays valid, in seconds. */
const REFRESH_SECONDS = 1;

/**
 * Converts the times of a monotonic clock to Unix time.
 *
 * Reading the system time costs as much as recording a scope, so this reads it once per
 * second, and when fake timers are installed or removed.
 */
export class UnixTime {
  #offset = 0;
  #refreshedAt = NaN;
  #changes = changes;

  /** Returns the Unix time of the current monotonic time, in seconds. */
  of(now: number): number {
    if (
      !(Math.abs(now - this.#refreshedAt) < REFRESH_SECONDS) ||
      this.#changes !== changes
    ) {
      this.#refreshedAt = now;
      this.#changes = changes;
      this.#offset = Date.now() / 1000 - now;
    }
    return now + this.#offset;
  }
}

/**
 * Wraps a user's clock so that it never throws.
 *
 * @param onError Receives a message for each invalid reading.
 * @returns A clock that returns the last valid reading when the user's clock fails.
 */
export function guardClock(
  clock: () => number,
  onError: (message: string) => void,
): () => number {
  let last = 0;
  return () => {
    try {
      const seconds = clock();
      if (Number.isFinite(seconds)) return last = seconds;
      onError("clock did not return a finite number");
    } catch (error) {
      onError(`clock threw ${describeError(error)}`);
    }
    return last;
  };
}
