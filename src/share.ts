import { coalesce } from "./coalesce.ts";
import type { Prepare } from "./define.ts";
import type { MetricsRegistry } from "./registry.ts";
import type { GatheredFamily } from "./samples.ts";
import type { Instance } from "./scope.ts";
import { joinWorkers } from "./workers.ts";

/** The way to be counted without serving. */
export interface ShareMethods {
  /**
   * Lets a worker thread that serves no metrics itself be counted by those that
   * do, with `metricsHandler({ workers: true })`.
   */
  shareMetrics(): void;
}

/**
 * Makes a `shareMetrics` function.
 *
 * @param whenReady Calls what it is given once there is an instance.
 */
export function createShareFunction(
  whenReady: (prepare: Prepare) => void,
): ShareMethods["shareMetrics"] {
  return () => {
    const workers = joinWorkers();
    whenReady(({ registration, issues }) => {
      workers.teller.share(registration.registry, () => issues);
    });
  };
}

/**
 * Makes what gathers the metrics of all workers.
 *
 * @param chosen The registries of this one, if not its instance's.
 * @param timeout How long a worker is waited for, in milliseconds.
 */
export function createWorkersGather(
  locate: () => Instance,
  whenReady: (prepare: Prepare) => void,
  chosen: readonly MetricsRegistry[] | undefined,
  timeout: number,
): () => Promise<GatheredFamily[]> {
  const workers = joinWorkers();
  const share = (registry: MetricsRegistry) =>
    workers.teller.share(registry, () => locate().issues);
  // Now, not at the first scrape: the others may be scraped before.
  if (chosen !== undefined) chosen.forEach(share);
  else whenReady(({ registration }) => share(registration.registry));
  const refresh = coalesce(() => workers.refresh(timeout));
  return async () => {
    const numbers = (chosen ?? [locate().registration.registry]).map(share);
    await refresh();
    return workers.families(numbers);
  };
}
