import { describeError } from "./describe_error.ts";

/** A clock of the platform, or a fake one: `performance` or `Date`. */
interface MillisecondClock {
  /** Milliseconds. */
  now(): number;
}

/**
 * The global `setTimeout`, as fake timers leave it. Those of Sinon, which Jest and
 * Vitest use as well, put the clock that fires them into `clock`. Bun's replace no
 * function at all, and set `clock` to `true`.
 */
interface Timers {
  (...args: never[]): unknown;
  readonly clock?: { readonly performance?: MillisecondClock } | true;
}

/** Node looks the global up by a getter, each time: that is a tenth of a scope. */
const { performance } = globalThis;

/** Kept, as some fake timers replace the method of this very object. */
const performanceNow = performance.now;

/** The platform's `Date`, even if this module is loaded while timers are fake. */
const NativeDate = Date.prototype.constructor;

/** Returns whether timers may not be as real as when they were last examined. */
const mayBeFake = createFakeCheck();

// The globals as they were when timers were last found not to be fake.
let realTimers: Timers | undefined;
let realDate: DateConstructor | undefined;
let realPerformance: Performance | undefined;

/** An offset to the real time, in seconds, after fake timers were removed. */
let realOffset = 0;

/** Follows the fake timers, while there are any. */
let fakeClock: FakeClock | undefined;

/** How often the clock changed from real to fake time, or back. */
let changes = 0;

/** The latest reading, in seconds: in an array, where a number is not allocated. */
const latest = new Float64Array(1);

/**
 * Returns the time of the default clock: seconds, monotonic.
 *
 * It follows the fake timers of test frameworks, as deadlines do. It never runs
 * backwards, and goes on from its latest reading when fake timers are installed or
 * removed, so that a scope that is open meanwhile has a plausible duration.
 */
export function monotonicSeconds(): number {
  return latest[0] =
    mayBeFake() || realOffset !== 0 || performance.now !== performanceNow
      // The plus tells V8 that this is a number: each reading would be allocated else.
      ? +fakeOrOffsetSeconds()
      // As a method, as V8 does not inline what `call()` calls.
      : performance.now() / 1000;
}

/** Returns the time while something is fake, or after it was. */
function fakeOrOffsetSeconds(): number {
  return mayBeFake() ? fakeOrRealSeconds() : realSeconds();
}

/**
 * Chooses how to notice fake timers. A scope reads the clock twice, so that each look
 * at a global that is saved can be measured.
 */
function createFakeCheck(): () => boolean {
  const { get } = Object.getOwnPropertyDescriptor(globalThis, "setTimeout") ??
    {};
  if (get !== undefined) {
    // In Deno, the getter alone would be a tenth of a pipeline. All but unusual fake
    // timers replace one of these as well.
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

function realSeconds(): number {
  return performanceNow.call(performance) / 1000 + realOffset;
}

/** Examines the timers, and reads the clock that goes with them. */
function fakeOrRealSeconds(): number {
  const timers: Timers | undefined = globalThis.setTimeout;
  if (!fakeClock?.follows(timers)) changeClock(timers);
  if (fakeClock === undefined) return realSeconds();
  return fakeClock.seconds();
}

function changeClock(timers: Timers | undefined): void {
  const source = findFakeSource(timers);
  if (source !== undefined) {
    // Bun's fake timers change the real clock, too.
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

/** Returns the clock that goes with fake timers, or `undefined` if none are fake. */
function findFakeSource(
  timers: Timers | undefined,
): MillisecondClock | undefined {
  const clock = timers?.clock;
  // `Date` alone is replaced by others, too.
  if (clock === undefined && timers === realTimers) return undefined;
  // The clock that fires the timers. `setSystemTime()` sets `Date`, but not this.
  const own = Object(clock).performance as MillisecondClock | undefined;
  if (own !== undefined && isReadable(own)) return own;
  const { performance: ambient } = globalThis;
  if (ambient?.now !== performanceNow && isReadable(ambient)) return ambient;
  if (Date !== NativeDate && isReadable(Date)) return Date;
  // Bun's own fake timers work inside `performance.now`.
  return clock === undefined ? undefined : performance;
}

function isReadable(clock: MillisecondClock): boolean {
  return Number.isFinite(readMilliseconds(clock));
}

/** Reads a clock that may be anybody's; `NaN` is for one that fails. */
function readMilliseconds(clock: MillisecondClock): number {
  try {
    return Number(clock.now());
  } catch {
    return NaN;
  }
}

/** Turns the time of fake timers into one that goes on from another clock's. */
class FakeClock {
  readonly #timers: Timers | undefined;
  readonly #mark: Timers["clock"];
  readonly #source: MillisecondClock;
  /** The time of the source at `#base`, in milliseconds. */
  #origin: number;
  /** In seconds. */
  #base: number;

  constructor(timers: Timers | undefined, source: MillisecondClock) {
    this.#timers = timers;
    this.#mark = timers?.clock;
    this.#source = source;
    this.#origin = readMilliseconds(source);
    this.#base = roundUp(latest[0]!);
  }

  /** Whether the timers are still the ones that it follows. */
  follows(timers: Timers | undefined): boolean {
    return timers === this.#timers && timers?.clock === this.#mark;
  }

  seconds(): number {
    const now = readMilliseconds(this.#source);
    const seconds = (now - this.#origin) / 1000 + this.#base;
    if (seconds >= latest[0]!) return seconds;
    // Fake timers can be reset, or be installed anew by the same function.
    if (Number.isFinite(now)) {
      this.#origin = now;
      this.#base = roundUp(latest[0]!);
    }
    return latest[0]!;
  }
}

/**
 * Rounds up to a multiple of 1/1024 second. A sum of it and whole seconds is exact,
 * and so are the durations that are whole seconds of fake time.
 */
function roundUp(seconds: number): number {
  return Math.ceil(seconds * 1024) / 1024;
}

// Timers may be fake already, as by the setup file of a test framework.
changeClock(globalThis.setTimeout);

/** How long a cached system time stays valid, in seconds. */
const REFRESH_SECONDS = 1;

/**
 * Converts readings of another clock to Unix time.
 *
 * Reading the system time costs as much as recording a scope: it is done once a
 * second, and when fake timers are installed or removed.
 */
export class UnixTime {
  #offset = 0;
  #refreshedAt = NaN;
  #changes = changes;

  /** Returns the Unix time, in seconds, of a reading that was made just now. */
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
 * Makes a user's clock safe to read while a scope runs.
 *
 * @returns A clock that returns the last valid reading where the user's fails.
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
      onError("clock gave no finite number");
    } catch (error) {
      onError(`clock threw ${describeError(error)}`);
    }
    return last;
  };
}
