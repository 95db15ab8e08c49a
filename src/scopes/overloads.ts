import { quote } from "../common/quote.ts";
import { checkFunction } from "../common/validate.ts";
import {
  checkPipelineOptions,
  checkScopeName,
  checkScopeOptions,
  type ScopeOptions,
} from "./options.ts";

/**
 * The return type after wrapping: a native promise for a thenable.
 *
 * @internal
 */
type Settled<R> = R extends PromiseLike<infer T> ? Promise<T> : R;

/**
 * Whether wrapping changes a return type.
 *
 * @internal
 */
type IsReplaced<R> = [R] extends [Settled<R>]
  ? [Settled<R>] extends [R] ? false : true
  : true;

/**
 * One overload of a wrapped function, or `unknown` if none was inferred.
 *
 * @internal
 */
type WrappedOverload<This, A extends unknown[], R> =
  [unknown, unknown[]] extends [R, A] ? unknown
    : unknown extends This ? (...args: A) => Settled<R>
    : (this: This, ...args: A) => Settled<R>;

/**
 * The type of a wrapped function whose original returns a thenable other than a
 * `Promise`, such as a query builder. It returns a `Promise`. It keeps the properties and
 * the last four overloads of the original: the compiler cannot infer more.
 *
 * @typeParam F The type of the function.
 */
export type WrappedFunction<F> =
  & (F extends {
    (this: infer This1, ...args: infer A1): infer R1;
    (this: infer This2, ...args: infer A2): infer R2;
    (this: infer This3, ...args: infer A3): infer R3;
    (this: infer This4, ...args: infer A4): infer R4;
  } ?
      & WrappedOverload<This1, A1, R1>
      & WrappedOverload<This2, A2, R2>
      & WrappedOverload<This3, A3, R3>
      & WrappedOverload<This4, A4, R4>
    : never)
  & Pick<F, keyof F>;

/**
 * Whether wrapping changes the return type of any overload of a function.
 *
 * @internal
 */
type ReturnsReplaced<F> = F extends {
  (...args: infer _A1): infer R1;
  (...args: infer _A2): infer R2;
  (...args: infer _A3): infer R3;
  (...args: infer _A4): infer R4;
} ? true extends
    | IsReplaced<R1>
    | IsReplaced<R2>
    | IsReplaced<R3>
    | IsReplaced<R4> ? true
  : false
  : false;

/**
 * Whether a function has a single overload and no properties.
 *
 * @internal
 */
type IsSimple<F> = [keyof F] extends [never]
  ? F extends { (...args: infer A1): infer R1; (...args: infer A2): infer R2 }
    // For a single overload, the first is inferred as the second, or as unknown.
    ? unknown extends R1 ? true : IsSame<[A1, R1], [A2, R2]>
  : true
  : false;

/**
 * Whether two types are identical.
 *
 * @internal
 */
type IsSame<A, B> = (<T>() => T extends A ? 1 : 2) extends
  (<T>() => T extends B ? 1 : 2) ? true : false;

/**
 * `unknown` if the condition is true, else `never`, which excludes an overload.
 *
 * @internal
 */
type If<C extends boolean> = C extends true ? unknown : never;

/**
 * The parameters after a function, or `never` to exclude an overload.
 *
 * @internal
 */
type ContextIf<C extends boolean> = C extends true ? [context?: MethodContext]
  : [never];

/** The part of a standard decorator's context that wrappers read. */
export interface MethodContext {
  /** The kind of class member that is decorated. */
  readonly kind: "method";
}

/**
 * Wraps functions so that each call is a scope, and decorates methods.
 *
 * A wrapped function calls the original with the same `this` and arguments, and is a
 * constructor if the original is. It has the original's name, length, `prototype`,
 * source text and own properties. The original is its prototype, so metadata defined
 * with `Reflect.defineMetadata` is found. Assigning to a property assigns to the
 * original's property.
 *
 * As a decorator it supports the standard and `experimentalDecorators`.
 *
 * @example
 * ```ts
 * import { pipeline } from "@lukhas/stage-metrics";
 * import { assertEquals } from "@std/assert";
 *
 * const lengthOf = Object.assign((text: string) => text.length, { unit: "chars" });
 * const measured = pipeline("length")(lengthOf);
 * assertEquals(measured("four"), 4);
 * assertEquals(measured.unit, "chars");
 * ```
 */
export interface ScopeWrapper {
  /**
   * Wraps an overloaded function, or one with properties, that returns a thenable
   * other than a `Promise`.
   *
   * @typeParam F The type of the function.
   * @param fn The function.
   * @param context The context of a standard decorator.
   * @returns A function that calls `fn` and returns a native promise.
   * @throws {TypeError} If `fn` is not a function, or is a class.
   */
  <F extends (...args: never[]) => unknown>(
    fn: F,
    ...context: ContextIf<IsSimple<F> extends true ? false : ReturnsReplaced<F>>
  ): WrappedFunction<F>;
  /**
   * Wraps a function that returns a thenable other than a `Promise`.
   *
   * @typeParam This The type of `this`.
   * @typeParam A The types of the arguments.
   * @typeParam R The type of the thenable.
   * @param fn The function.
   * @param context The context of a standard decorator.
   * @returns A function that calls `fn` and returns a native promise.
   * @throws {TypeError} If `fn` is not a function, or is a class.
   */
  <This, A extends unknown[], R>(
    fn: (this: This, ...args: A) => R & If<IsReplaced<R>>,
    context?: MethodContext,
  ): (this: This, ...args: A) => Settled<R>;
  /**
   * Wraps a function; as a standard decorator, decorates a method.
   *
   * @typeParam F The type of the function.
   * @param fn The function.
   * @param context The context of a standard decorator.
   * @returns A function of the same type that calls `fn`.
   * @throws {TypeError} If `fn` is not a function, or is a class, or if something other
   * than a method is decorated.
   */
  <F extends (...args: never[]) => unknown>(
    fn: F,
    context?: MethodContext,
  ): F;
  /**
   * Decorates a method under `experimentalDecorators`.
   *
   * @typeParam F The type of the method.
   * @param target The prototype, or the class of a static method.
   * @param key The name of the method.
   * @param descriptor The property descriptor of the method.
   * @returns The descriptor, changed to the wrapped method.
   * @throws {TypeError} If something other than a method is decorated.
   */
  <F extends (...args: never[]) => unknown>(
    target: object,
    key: string | symbol,
    descriptor:
      & TypedPropertyDescriptor<F>
      & If<ReturnsReplaced<F> extends true ? false : true>,
  ): TypedPropertyDescriptor<F>;
}

/** Runs `fn` in a new scope. */
type RunInScope<S, O> = <T>(
  name: string,
  options: O | undefined,
  fn: (scope: S) => T,
) => T;

/**
 * A function with the call forms of `pipeline` and `stage`, without their types:
 * `(name, fn)`, `(name, options, fn)`, or `(name, options?)` for a wrapper.
 *
 * @param argumentCount The number of arguments of the user's call, if another function
 * forwards it.
 */
export type ScopeFunction = (
  name: string,
  options?: unknown,
  fn?: unknown,
  argumentCount?: number,
) => unknown;

/** Creates a function that parses the call forms, and starts scopes with `start`. */
export function createScopeFunction<S, O extends ScopeOptions>(
  kind: "pipeline" | "stage",
  start: RunInScope<S, O>,
): ScopeFunction {
  const action = `run a ${kind}`;
  const checkOptions = kind === "pipeline"
    ? checkPipelineOptions
    : checkScopeOptions;

  function scope(
    name: string,
    options?: unknown,
    fn?: unknown,
    argumentCount: number = arguments.length,
  ): unknown {
    checkScopeName(action, name);
    if (typeof options === "function") {
      return start(name, undefined, options as (scope: S) => unknown);
    }
    checkOptions(action, options);
    if (typeof fn === "function") {
      return start(name, options as O, fn as (scope: S) => unknown);
    }
    return wrapperOf(name, options as O | undefined, fn, argumentCount);
  }

  // A separate function: variables of a closure are allocated when a function is entered.
  function wrapperOf(
    name: string,
    options: O | undefined,
    fn: unknown,
    argumentCount: number,
  ): ScopeWrapper {
    // An explicit `undefined` means a missing function, not a request for a wrapper.
    if (argumentCount > 2) {
      checkFunction(action, fn, ` after the options of ${quote(name)}`);
    } else if (argumentCount === 2 && options === undefined) {
      checkFunction(action, options, ` after the name ${quote(name)}`);
    }
    return createWrapper(kind, (run) => start(name, options, run));
  }

  return scope;
}

/** Calls a function in a scope or context, and returns its value. */
type RunCall = (fn: () => unknown) => unknown;

/** Creates a wrapper whose wrapped functions are called by `run`. */
function createWrapper(kind: string, run: RunCall): ScopeWrapper {
  function wrap(fn: unknown): unknown {
    checkFunction(`wrap with ${kind}()`, fn);
    if (isClass(fn)) {
      throw methodOnlyError(kind, "class", (fn as Wrappable).name);
    }
    return wrapFunction(fn as Wrappable, run);
  }

  function wrapper(
    target: unknown,
    context?: unknown,
    descriptor?: unknown,
  ): unknown {
    if (typeof context === "string" || typeof context === "symbol") {
      return decorateProperty(kind, context, descriptor, wrap);
    }
    const { kind: member, name } = Object(context) as Partial<
      DecoratorContext
    >;
    if (typeof member === "string" && member !== "method") {
      throw methodOnlyError(kind, member, name);
    }
    return wrap(target);
  }

  return wrapper as ScopeWrapper;
}

/** Decorates a member under `experimentalDecorators`. Fields have no descriptor. */
function decorateProperty(
  kind: string,
  key: string | symbol,
  descriptor: unknown,
  wrap: (fn: unknown) => unknown,
): unknown {
  if (typeof descriptor === "number") {
    throw methodOnlyError(kind, "a parameter of", key);
  }
  const property = Object(descriptor) as PropertyDescriptor;
  if (typeof property.value !== "function") {
    const isAccessor = property.get !== undefined || property.set !== undefined;
    throw methodOnlyError(kind, isAccessor ? "accessor" : "field", key);
  }
  // In place, because NestJS's applyDecorators() ignores the return values.
  property.value = wrap(property.value);
  return property;
}

/** Creates the error for decorating anything but a method. */
function methodOnlyError(
  kind: string,
  member: string,
  name: string | symbol | undefined,
): TypeError {
  return new TypeError(
    `Cannot decorate ${member} ${quote(name)} with ${kind}(): only methods`,
  );
}

/** A function to wrap. */
type Wrappable = (this: unknown, ...args: never[]) => unknown;

/** Properties of functions that are not forwarded to the original. */
const OWN_PROPERTIES: ReadonlySet<PropertyKey> = new Set([
  "name",
  "length",
  "prototype",
  "arguments",
  "caller",
  "toString",
]);

/**
 * Returns a function that passes each call and construction to `run`, and otherwise
 * resembles the original: see {@linkcode ScopeWrapper}.
 *
 * @param fn The function.
 * @param run Receives a function that calls `fn` with the `this` and the arguments of
 * the call, and returns the value for the caller.
 */
export function wrapFunction<F extends (...args: never[]) => unknown>(
  fn: F,
  run: RunCall,
): F {
  function wrapped(this: unknown, ...args: never[]): unknown {
    if (new.target !== undefined) {
      return construct(new.target === wrapped ? fn : new.target, args);
    }
    return run(() => Reflect.apply(fn, this, args));
  }

  function construct(newTarget: CallableFunction, args: never[]): unknown {
    return run(() => Reflect.construct(fn, args, newTarget));
  }

  const original = fn as unknown as Record<PropertyKey, unknown>;
  wrapped.prototype = original.prototype;
  // So that metadata, and properties that are defined later, are found.
  Object.setPrototypeOf(wrapped, fn);
  for (const key of Reflect.ownKeys(fn)) {
    if (OWN_PROPERTIES.has(key)) continue;
    const own = Reflect.getOwnPropertyDescriptor(fn, key)!;
    const isReadOnly = own.writable !== true && own.set === undefined;
    // Not a copy: the original's code reads and writes its own properties.
    Object.defineProperty(wrapped, key, {
      get: () => original[key],
      ...(isReadOnly ? {} : { set: (value) => original[key] = value }),
      enumerable: own.enumerable === true,
      configurable: true,
    });
  }
  return Object.defineProperties(wrapped as unknown as F, {
    // Frameworks read these: Express recognizes error handlers by four parameters.
    name: { value: fn.name, configurable: true },
    length: { value: fn.length, configurable: true },
    // Some frameworks read the names of parameters.
    toString: {
      value: () => fn.toString(),
      configurable: true,
      writable: true,
    },
  });
}

function isClass(fn: unknown): boolean {
  const prototype = Reflect.getOwnPropertyDescriptor(
    fn as CallableFunction,
    "prototype",
  );
  // The property is read-only for classes, and for a few built-in functions.
  return prototype?.writable === false &&
    /^class\b/.test(Function.prototype.toString.call(fn));
}
