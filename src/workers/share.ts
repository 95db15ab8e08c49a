import { coalesce } from "../common/async.ts";
import { type Collect, isRequested } from "../registry/gather.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { InstanceSource } from "../scopes/context.ts";
import { joinWorkerGroup } from "./worker_group.ts";

/** Makes a `shareMetrics` function. */
export function createShareFunction(
  { rootInstance, onInstance }: InstanceSource,
): () => void {
  return () => {
    const workers = joinWorkerGroup();
    // A scrape of another worker uses this one's instance, too.
    workers.beforeCollect.add(rootInstance);
    onInstance(({ registration, issues }) => {
      workers.publisher.share(registration.registry, () => issues);
    });
  };
}

/**
 * Creates the function that collects the metrics of all workers.
 *
 * @param chosen The registries of this worker, if not its instance's.
 * @param timeout How long to wait for a worker, in milliseconds.
 */
export function createWorkersCollect(
  { instance, rootInstance, onInstance }: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
  timeout: number,
): Collect {
  const workers = joinWorkerGroup();
  const share = (registry: MetricsRegistry) =>
    workers.publisher.share(registry, () => instance().issues);
  // Now, not at the first scrape: the others may be scraped before.
  if (chosen !== undefined) {
    chosen.forEach(share);
  } else {
    workers.beforeCollect.add(rootInstance);
    onInstance(({ registration }) => share(registration.registry));
  }
  const refresh = coalesce((timeoutMs: number) =>
    workers.refresh(timeoutMs, timeout)
  );
  return async (registries, _fallback, { patience = timeout, names }) => {
    const numbers = registries.map(share);
    await refresh(Math.min(patience, timeout));
    return async () =>
      (await workers.families(numbers))
        .filter(({ name }) => isRequested(names, name));
  };
}
