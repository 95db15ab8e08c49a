import { checkFunction } from "../common/validate.ts";
import { type CurrentContext, runInContext } from "./context.ts";
import { wrapFunction } from "./overloads.ts";
import type { Scope } from "./scope.ts";

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
