import {
  assert,
  assertEquals,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { promisify } from "node:util";
import { pipeline, stage } from "../../mod.ts";
import { captureMetrics } from "../../src/testing.ts";
import { pipelineTotal, samplesOf, stageTotal } from "../support/samples.ts";

const OPTIONS = { lane: "test", onIssue() {} };

type LegacyDecorator = (
  target: object,
  key?: string | symbol,
  descriptor?: PropertyDescriptor | number,
) => unknown;

/** Decorates like code compiled with `experimentalDecorators`. */
function __decorate(
  decorators: readonly LegacyDecorator[],
  target: object,
  key?: string | symbol,
  given?: null,
): unknown {
  const isMember = arguments.length > 3;
  let result: unknown = !isMember
    ? target
    : given === null
    ? Object.getOwnPropertyDescriptor(target, key!)
    : given;
  for (const decorate of [...decorators].reverse()) {
    result = (isMember
      ? decorate(target, key, result as PropertyDescriptor)
      : decorate(target)) || result;
  }
  if (isMember && result) {
    Object.defineProperty(target, key!, result as PropertyDescriptor);
  }
  return result;
}

/** Keeps metadata like the package "reflect-metadata", which walks prototypes. */
const metadata = new WeakMap<object, Map<string, unknown>>();

function defineMetadata(key: string, value: unknown, target: object): void {
  metadata.set(target, (metadata.get(target) ?? new Map()).set(key, value));
}

function getMetadata(key: string, target: object | null): unknown {
  if (target === null) return undefined;
  return metadata.get(target)?.get(key) ??
    getMetadata(key, Object.getPrototypeOf(target));
}

/** A decorator like NestJS's `SetMetadata`. */
function setMetadata(key: string, value: unknown): LegacyDecorator {
  return (_target, _key, descriptor) => {
    defineMetadata(key, value, (descriptor as PropertyDescriptor).value);
  };
}

/** NestJS's function, which ignores the return values of decorators. */
function applyDecorators(
  ...decorators: readonly LegacyDecorator[]
): LegacyDecorator {
  return (target, key, descriptor) => {
    for (const decorate of decorators) decorate(target, key, descriptor);
  };
}

function legacy(decorator: unknown): LegacyDecorator {
  return decorator as LegacyDecorator;
}

Deno.test("wrapper calls the function in a scope, with the same this and arguments", async () => {
  await captureMetrics(OPTIONS, async (metrics) => {
    const counter = {
      count: 1,
      add: stage("add")(function add(this: { count: number }, by: number) {
        return this.count += by;
      }),
    };
    assertEquals(counter.add.name, "add");
    assertEquals(counter.add.length, 1);
    pipeline("p", () => {
      assertEquals(counter.add(2), 3);
      assertEquals(counter.add(3), 6);
    });
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("p", "success")]: 1,
      [stageTotal("p", "add", "success")]: 2,
    });
  });
});

Deno.test("wrapper belongs to the pipeline around its call", async () => {
  const run = pipeline("run", { lane: "Batch" })(async (names: string[]) => {
    await Promise.all(names.map(load));
  });
  const load = stage("load", {
    classifyResult: (text: string) => text === "" ? "failure" : "success",
  })((name: string) => Promise.resolve(name));
  await captureMetrics(OPTIONS, async (metrics) => {
    await run(["a", "", "b"]);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("run", "success", "batch")]: 1,
      [stageTotal("run", "load", "success", "batch")]: 2,
      [stageTotal("run", "load", "failure", "batch")]: 1,
    });
  });
});

Deno.test("wrapper has the function's properties and symbols, also those added later", () => {
  const tag = Symbol("tag");
  function debounce(text: string) {
    return text;
  }
  let cancelled = 0;
  Object.assign(debounce, { cancel: () => cancelled++, [tag]: "tag" });
  Object.defineProperty(debounce, "hidden", { value: 1 });
  const measured = pipeline("p")(
    debounce as typeof debounce & { cancel(): void; later?: string },
  );
  assertEquals(measured("text"), "text");
  measured.cancel();
  assertEquals(cancelled, 1);
  assertEquals(Object.keys(measured), ["cancel"]);
  const { [tag]: shown, hidden } = measured as unknown as {
    readonly [tag]: string;
    hidden: number;
  };
  assertEquals([shown, hidden], ["tag", 1]);
  assertThrows(() => Object.assign(measured, { hidden: 2 }), TypeError);
  Object.assign(debounce, { later: "later" });
  assertEquals(measured.later, "later");
});

Deno.test("wrapper shares the values of properties with the function", () => {
  // As documented for Lodash's memoize(): users may replace the cache.
  function square(n: number): number {
    square.calls++;
    if (!square.cache.has(n)) square.cache.set(n, n * n);
    return square.cache.get(n)!;
  }
  square.calls = 0;
  square.cache = new Map<number, number>();
  const measured = pipeline("p")(square);
  assertEquals(measured(2), 4);
  assertEquals(measured.calls, 1);
  measured.cache = new Map([[2, 5]]);
  assertEquals(measured(2), 5);
  assertStrictEquals(square.cache, measured.cache);
});

Deno.test("wrapper calls the function's getters with the function as this", () => {
  class Counter {
    #count = 1;
    static of(counter: Counter) {
      return counter.#count;
    }
  }
  const counter = new Counter();
  const original = Object.defineProperty(() => 1, "count", {
    get(this: unknown) {
      return this === original ? Counter.of(counter) : undefined;
    },
  }) as (() => number) & { readonly count: number };
  assertEquals(pipeline("p")(original).count, 1);
});

Deno.test("wrapper keeps util.promisify.custom", async () => {
  function exists(_path: string, callback: (found: boolean) => void) {
    callback(true);
  }
  Object.assign(exists, {
    [promisify.custom]: (path: string) => Promise.resolve(path.length),
  });
  const measured = pipeline("p")(exists);
  const promised = promisify(measured as never) as (p: string) => unknown;
  assertEquals(await promised("four"), 4);
});

Deno.test("wrapper keeps the source text and the constructor's name", () => {
  // Test runners and injectors read the names of parameters in the source text.
  const fixture = async ({ page }: { page: string }) => await page;
  const measured = pipeline("p")(fixture);
  assertEquals(measured.toString(), fixture.toString());
  assertEquals(`${pipeline("outer")(measured)}`, `${fixture}`);
  // Fastify distinguishes async hooks from callback hooks by the constructor.
  assertEquals(measured.constructor.name, "AsyncFunction");
  assert(measured instanceof Function);
});

Deno.test("wrapper of a generator function returns its instances", () => {
  function* count() {
    yield 1;
  }
  const measured = pipeline("p")(count);
  assert(measured() instanceof count);
  assert(measured() instanceof measured);
  assertEquals([...measured()], [1]);
});

Deno.test("wrapper is constructable if the function is", async () => {
  interface Point {
    x: number;
  }
  type PointConstructor = ((x: number) => void) & (new (x: number) => Point);
  const Point = function (this: Point, x: number) {
    assert(new.target !== undefined);
    this.x = x;
  } as unknown as PointConstructor;
  await captureMetrics(OPTIONS, async (metrics) => {
    const Measured = pipeline("construct")(Point);
    const point = new Measured(1);
    assertEquals(point.x, 1);
    assert(point instanceof Point);
    assert(point instanceof Measured);
    assertStrictEquals(Object.getPrototypeOf(point), Point.prototype);
    class Derived extends Measured {
      y = 2;
    }
    const derived = new Derived(3);
    assertEquals([derived.x, derived.y], [3, 2]);
    assert(derived instanceof Derived);
    assertEquals(pipeline("date")(Date).prototype, Date.prototype);
    const Arrow = pipeline("arrow")(() => {}) as unknown as typeof Measured;
    assertThrows(() => new Arrow(1), TypeError, "constructor");
    assertEquals(Arrow.prototype, undefined);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("construct", "success")]: 2,
      [pipelineTotal("arrow", "failure")]: 1,
    });
  });
});

Deno.test("wrapper keeps metadata defined before and after wrapping", () => {
  const handle = () => {};
  defineMetadata("roles", ["admin"], handle);
  const measured = pipeline("p")(stage("s")(handle));
  defineMetadata("route", "/", handle);
  defineMetadata("guards", 1, measured);
  assertEquals(getMetadata("roles", measured), ["admin"]);
  assertEquals(getMetadata("route", measured), "/");
  assertEquals(getMetadata("guards", handle), undefined);
});

Deno.test("wrapper wraps each function of an array", () => {
  const functions = [() => 1, () => 2];
  const wrap = pipeline("p") as unknown as (fn: () => number) => () => number;
  assertEquals(functions.map(wrap).map((fn) => fn()), [1, 2]);
});

Deno.test("wrapper decorates methods with standard decorators", async () => {
  const symbol = Symbol("method");
  class Base {
    @stage("inherited")
    inherited() {
      return "Ada";
    }
  }
  class Service extends Base {
    #greeting = "Hello";

    @pipeline("greet")
    async greet(): Promise<string> {
      return `${this.#greeting}, ${await this.inherited()}${this[symbol]()}`;
    }

    @stage("read")
    override inherited() {
      return super.inherited();
    }

    @stage("symbol")
    [symbol]() {
      return Service.mark();
    }

    @stage("mark")
    static mark() {
      return "!";
    }
  }
  await captureMetrics(OPTIONS, async (metrics) => {
    assertEquals(await new Service().greet(), "Hello, Ada!");
    assertEquals(Service.prototype.greet.name, "greet");
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("greet", "success")]: 1,
      [stageTotal("greet", "read", "success")]: 1,
      [stageTotal("greet", "inherited", "success")]: 1,
      [stageTotal("greet", "symbol", "success")]: 1,
      [stageTotal("greet", "mark", "success")]: 1,
    });
  });
});

Deno.test("wrapper decorates methods under experimentalDecorators", async () => {
  const symbol = Symbol("method");
  class Base {
    inherited() {
      return "Ada";
    }
  }
  __decorate([legacy(stage("inherited"))], Base.prototype, "inherited", null);
  class Service extends Base {
    #greeting = "Hello";

    async greet(): Promise<string> {
      return `${this.#greeting}, ${await this.inherited()}${this[symbol]()}`;
    }

    override inherited() {
      return super.inherited();
    }

    [symbol]() {
      return Service.mark();
    }

    static mark() {
      return "!";
    }
  }
  const { prototype } = Service;
  const { greet } = prototype;
  __decorate([legacy(pipeline("greet"))], prototype, "greet", null);
  __decorate([legacy(stage("read"))], prototype, "inherited", null);
  __decorate([legacy(stage("symbol"))], prototype, symbol, null);
  __decorate([legacy(stage("mark"))], Service, "mark", null);
  await captureMetrics(OPTIONS, async (metrics) => {
    assertEquals(await new Service().greet(), "Hello, Ada!");
    assertEquals(prototype.greet.name, "greet");
    assert(prototype.greet !== greet);
    assertEquals(Object.keys(prototype), []);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("greet", "success")]: 1,
      [stageTotal("greet", "read", "success")]: 1,
      [stageTotal("greet", "inherited", "success")]: 1,
      [stageTotal("greet", "symbol", "success")]: 1,
      [stageTotal("greet", "mark", "success")]: 1,
    });
  });
});

Deno.test("wrapper keeps the metadata of decorators above and below it", async () => {
  class Service {
    find() {
      return 1;
    }

    list() {
      return 2;
    }
  }
  const { prototype } = Service;
  __decorate(
    [
      setMetadata("above", 1),
      legacy(pipeline("find")),
      setMetadata("below", 2),
    ],
    prototype,
    "find",
    null,
  );
  __decorate(
    [applyDecorators(setMetadata("below", 3), legacy(pipeline("list")))],
    prototype,
    "list",
    null,
  );
  await captureMetrics(OPTIONS, async (metrics) => {
    const service = new Service();
    assertEquals([service.find(), service.list()], [1, 2]);
    assertEquals(getMetadata("above", prototype.find), 1);
    assertEquals(getMetadata("below", prototype.find), 2);
    assertEquals(getMetadata("below", prototype.list), 3);
    assertEquals(await samplesOf(metrics), {
      [pipelineTotal("find", "success")]: 1,
      [pipelineTotal("list", "success")]: 1,
    });
  });
});

Deno.test("wrapper throws when something other than a method is decorated", () => {
  class Service {
    static field = 1;
    get got() {
      return 1;
    }
    set put(_: number) {}
    find(_: number) {}
  }
  const { prototype } = Service;
  const decorator = legacy(stage("s"));
  const standard = pipeline("p") as (...args: unknown[]) => unknown;
  const parameter: LegacyDecorator = (target, key) => decorator(target, key, 0);
  const decorations: readonly [decorate: () => unknown, message: string][] = [
    [() => __decorate([decorator], Service), 'class "Service" with stage()'],
    [
      () => __decorate([decorator], prototype, "field", undefined as never),
      'field "field" with stage()',
    ],
    [
      () => __decorate([decorator], prototype, "got", null),
      'accessor "got" with stage()',
    ],
    [
      () => __decorate([decorator], prototype, "put", null),
      'accessor "put" with stage()',
    ],
    [
      () => __decorate([decorator], prototype, Symbol("none"), null),
      'field "Symbol(none)" with stage()',
    ],
    [
      () => __decorate([parameter], prototype, "find", null),
      'a parameter of "find" with stage()',
    ],
    [
      () => standard(Service, { kind: "class", name: "Service" }),
      'class "Service" with pipeline()',
    ],
    [
      () => standard(undefined, { kind: "field", name: "#a" }),
      'field "#a" with pipeline()',
    ],
    [
      () => standard(() => {}, { kind: "getter", name: "a" }),
      'getter "a" with pipeline()',
    ],
    [() => standard(class A {}), 'class "A" with pipeline()'],
  ];
  for (const [decorate, message] of decorations) {
    assertThrows(
      decorate,
      TypeError,
      `Cannot decorate ${message}: only methods`,
    );
  }
});

Deno.test("wrapper throws for values that are not functions", () => {
  const wrap = pipeline("p") as (...args: unknown[]) => unknown;
  for (const value of [undefined, null, {}, "fn"]) {
    assertThrows(
      () => wrap(value),
      TypeError,
      `Cannot wrap with pipeline(): expected a function, got ${
        value === null ? "null" : typeof value
      }`,
    );
  }
});
