/**
 * Fake timers as test frameworks install them, reduced to the parts that the library
 * can see.
 *
 * @module
 */

/** The functions that fake timers replace, beside `setTimeout` and `clearTimeout`. */
export interface Shape {
  /** Whether `setTimeout.clock` is the clock that fires them. */
  readonly hasClock?: boolean;
  readonly date?: boolean;
  /** Whether `globalThis.performance` is another object, or has another method. */
  readonly performance?: "object" | "method";
}

/** The shapes, by the frameworks that install them. */
export const SHAPES: Readonly<Record<string, Shape>> = {
  "Vitest 3 and Sinon": {
    hasClock: true,
    date: true,
    performance: "object",
  },
  "Jest 30": { hasClock: true, date: true, performance: "method" },
  "Vitest 2": { hasClock: true, date: true },
  "Jest with doNotFake": { hasClock: true, performance: "object" },
  "FakeTime and node:test": { date: true },
  "fakes without a clock": { date: true, performance: "object" },
};

/** Fake timers that are installed. */
export interface FakeTimers {
  /** Moves the time, and calls the timers that are due on the way. */
  advance(milliseconds: number): void;
  /** Sets the time of `Date` only. */
  setSystemTime(milliseconds: number): void;
  uninstall(): void;
}

interface Timer {
  readonly at: number;
  readonly callback: () => void;
}

/** Installs fake timers. */
export function installFakeTimers(
  { hasClock, date, performance }: Shape,
  systemTime: number = Date.now(),
): FakeTimers {
  let now = 0;
  const timers = new Map<number, Timer>();
  let id = 0;
  const fakePerformance = { now: () => now };

  const restore: (() => void)[] = [];
  function replace(target: object, key: string, value: unknown): void {
    const descriptor = Object.getOwnPropertyDescriptor(target, key);
    restore.push(() => {
      if (descriptor === undefined) Reflect.deleteProperty(target, key);
      else Object.defineProperty(target, key, descriptor);
    });
    Object.defineProperty(target, key, {
      value,
      configurable: true,
      enumerable: true,
      writable: true,
    });
  }

  function setTimeout(
    callback: (...args: unknown[]) => void,
    delay = 0,
    ...args: unknown[]
  ): number {
    id++;
    timers.set(id, { at: now + delay, callback: () => callback(...args) });
    return id;
  }
  replace(
    globalThis,
    "setTimeout",
    hasClock
      ? Object.assign(setTimeout, { clock: { performance: fakePerformance } })
      : setTimeout,
  );
  replace(globalThis, "clearTimeout", (id: number) => timers.delete(id));
  if (date) {
    const FakeDate = new Proxy(Date, {
      get: (target, key, receiver) =>
        key === "now"
          ? () => systemTime + now
          : Reflect.get(target, key, receiver),
    });
    replace(globalThis, "Date", FakeDate);
  }
  if (performance === "object") {
    replace(globalThis, "performance", fakePerformance);
  } else if (performance === "method") {
    replace(globalThis.performance, "now", fakePerformance.now);
  }

  return {
    advance(milliseconds) {
      const end = now + milliseconds;
      for (;;) {
        const [next] = [...timers].filter(([, { at }]) => at <= end)
          .sort(([, a], [, b]) => a.at - b.at);
        if (next === undefined) break;
        const [id, { at, callback }] = next;
        timers.delete(id);
        now = at;
        callback();
      }
      now = end;
    },
    setSystemTime(milliseconds) {
      systemTime = milliseconds - now;
    },
    uninstall() {
      for (const each of restore.reverse()) each();
    },
  };
}
