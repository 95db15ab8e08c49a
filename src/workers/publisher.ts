import { coalesce } from "../common/async.ts";
import type { Issue, IssueReporter } from "../common/issues.ts";
import { collectRegistry, type RegistryContent } from "../registry/gather.ts";
import { OwnFamily } from "../registry/own_metric.ts";
import {
  DEFAULT_CARDINALITY_LIMIT,
  findRegistration,
  registrationsOf,
} from "../registry/registration.ts";
import { defaultLabels, type MetricsRegistry } from "../registry/registry.ts";
import { type RegistryDelta, Replica } from "./replica.ts";

/** A shared registry, and the reporter of issues with it. */
interface SharedRegistry {
  readonly registry: MetricsRegistry;
  readonly issues: () => IssueReporter;
}

/** Sends the changes that a publisher has found. */
export interface Outbox {
  /** Sends changes synchronously. */
  post(deltas: readonly RegistryDelta[], version: number): void;
  /** Sends changes in slices, and then calls `finish` for their version. */
  postInSlices(
    deltas: readonly RegistryDelta[],
    finish: () => number,
  ): Promise<void>;
}

/** Publishes the changes of this worker's registries to the other workers. */
export class Publisher {
  /** The published state. */
  readonly replica = new Replica();
  /** The number of published deltas. */
  version = 0;
  readonly #shared: SharedRegistry[] = [];
  /** The numbers of the runs of `publishForeign` that last started and last published. */
  #lastStarted = 0;
  #lastPublished = 0;
  #publishing: Promise<void> = Promise.resolve();
  readonly #outbox: Outbox;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /**
   * Shares a registry with the other workers.
   *
   * @returns The index of the registry. Registries with the same index are merged.
   */
  share(registry: MetricsRegistry, issues: () => IssueReporter): number {
    const found = this.#shared.findIndex((each) => each.registry === registry);
    if (found !== -1) return found;
    return this.#shared.push({ registry, issues }) - 1;
  }

  /** Returns the maximum number of own label sets of a registry under a prefix. */
  cardinalityLimit(index: number, prefix: string): number {
    const registry = this.#shared[index]?.registry;
    const registration = registry && findRegistration(registry, prefix);
    return registration?.options.cardinalityLimit ?? DEFAULT_CARDINALITY_LIMIT;
  }

  /** Publishes the changes of own metrics. Synchronous, so that it also works at exit. */
  publishOwn(): void {
    const deltas = this.#shared.flatMap(({ registry }, index) => {
      const labels = Object.fromEntries(
        Object.entries(defaultLabels(registry))
          .map(([name, value]) => [name, String(value)]),
      );
      const replica = this.replica.registry(index).own;
      const own = [...registrationsOf(registry)].flatMap((registration) => {
        if (!registration.isRegistered) return [];
        return replica.diff(registration, labels);
      });
      return own.length === 0 ? [] : [{ registry: index, own }];
    });
    if (deltas.length === 0) return;
    this.replica.applyOwn(deltas);
    this.#outbox.post(deltas, ++this.version);
  }

  /**
   * Publishes the changes of foreign metrics. Each collector may take up to `timeoutMs`
   * milliseconds.
   */
  readonly publishForeign: (timeoutMs: number) => Promise<void> = coalesce(
    async (timeoutMs) => {
      const run = ++this.#lastStarted;
      const contents = await Promise.all(
        this.#shared.map(({ registry, issues }) =>
          collectRegistry(registry, issues, timeoutMs)
        ),
      );
      // One at a time, as each run sends the difference to the run before.
      const publish = () => this.#publishContents(run, contents);
      this.#publishing = this.#publishing.then(publish, publish);
      await this.#publishing;
    },
  );

  /** Reports an issue that concerns no particular registry. */
  report(issue: Issue, message: string): void {
    this.#shared[0]?.issues().report(issue, message);
  }

  async #publishContents(
    run: number,
    contents: readonly RegistryContent[],
  ): Promise<void> {
    // A run that started later has collected newer values.
    if (run < this.#lastPublished) return;
    this.#lastPublished = run;
    const deltas: RegistryDelta[] = [];
    for (
      const [index, { registry, own, foreign, timedOut }] of contents.entries()
    ) {
      const registrations = [...registrationsOf(registry)];
      const unknown = own.filter((metric) =>
        !registrations.some(({ isRegistered, metrics }) =>
          isRegistered && metrics.includes(metric)
        )
      );
      const common = defaultLabels(registry);
      const views = unknown.map(({ definition, source }) =>
        new OwnFamily(definition, source, common)
      );
      const replica = this.replica.registry(index).foreign;
      // Otherwise, sums over all workers would decrease when a collector is late.
      const kept = timedOut.size === 0
        ? []
        : replica.families().filter(({ name }) => timedOut.has(name));
      const changes = await replica.diff([...foreign, ...kept, ...views]);
      for (const delta of changes) {
        deltas.push({ registry: index, foreign: [delta] });
      }
    }
    if (deltas.length === 0) return;
    const commit = await this.replica.prepareForeign(deltas);
    // Applied here once it is complete, as in the other workers.
    await this.#outbox.postInSlices(deltas, () => {
      commit();
      return ++this.version;
    });
  }
}
