import { coalesce } from "../common/async.ts";
import { type Collect, isRequested } from "../registry/gather.ts";
import type { MetricsRegistry } from "../registry/registry.ts";
import type { InstanceSource } from "../scopes/context.ts";
import { joinWorkerGroup } from "./worker_group.ts";

/** Creates a `shareMetrics` function. */
export function createShareFunction(
  { rootInstance, onInstance }: InstanceSource,
): () => void {
  return () => {
    const group = joinWorkerGroup();
    // A scrape of another worker puts this worker's instance into use, too.
    group.beforeCollect.add(rootInstance);
    onInstance(({ registration, issues }) => {
      group.publisher.share(registration.registry, () => issues);
    });
  };
}

/**
 * Creates the function that collects the metrics of all workers.
 *
 * @param chosen The registries to share, if not the registry of the instance.
 * @param timeout The maximum time to wait for a worker, in milliseconds.
 */
export function createWorkersCollect(
  { instance, rootInstance, onInstance }: InstanceSource,
  chosen: readonly MetricsRegistry[] | undefined,
  timeout: number,
): Collect {
  const group = joinWorkerGroup();
  const share = (registry: MetricsRegistry) =>
    group.publisher.share(registry, () => instance().issues);
  // Now, not at the first scrape: other workers may be scraped before.
  if (chosen !== undefined) {
    chosen.forEach(share);
  } else {
    group.beforeCollect.add(rootInstance);
    onInstance(({ registration }) => share(registration.registry));
  }
  const refresh = coalesce((timeoutMs: number) =>
    group.refresh(timeoutMs, timeout)
  );
  return async (registries, _fallback, { timeoutMs = timeout, names }) => {
    const indexes = registries.map(share);
    await refresh(Math.min(timeoutMs, timeout));
    return async () =>
      (await group.families(indexes))
        .filter(({ name }) => isRequested(names, name));
  };
}
