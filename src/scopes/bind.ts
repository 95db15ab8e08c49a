import { checkFunction } from "../common/validate.ts";
import { type CurrentContext, runInContext } from "./context.ts";
import { wrapFunction } from "./overloads.ts";
import type { Scope } from "./scope.ts";

/** The way to keep a scope's context where the async context is lost. */
export interface BindMethods {
  /**
   * Binds a function to the context of this scope, so that the stages it starts belong
   * to the scope's pipeline. For callbacks of pools, queues, loaders and emitters, which
   * would run in the context that those were created in.
   *
   * @typeParam F The type of the function.
   * @param fn The function.
   * @returns A function that resembles `fn` as a wrapped one does.
   * @throws {TypeError} If `fn` is not a function.
   */
  bind<F extends (...args: never[]) => unknown>(fn: F): F;
}

/**
 * Returns a function that calls `fn` in the context and the span of a scope.
 *
 * @throws {TypeError} If `fn` is not a function.
 */
export function bindFunction<F extends (...args: never[]) => unknown>(
  fn: F,
  context: CurrentContext | undefined,
  scope: Scope,
): F {
  checkFunction("bind a function", fn);
  return wrapFunction(
    fn,
    (call) => runInContext(context, () => scope.runInSpan(call)),
  );
}
