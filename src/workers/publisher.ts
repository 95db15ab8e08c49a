import { coalesce } from "../common/async.ts";
import type { Issue, IssueReporter } from "../common/issues.ts";
import { collect, type RegistryContent } from "../registry/gather.ts";
import { OwnMetricView } from "../registry/own_metric.ts";
import {
  DEFAULT_CARDINALITY_LIMIT,
  findRegistration,
  registrationsOf,
} from "../registry/registration.ts";
import { defaultLabels, type MetricsRegistry } from "../registry/registry.ts";
import { type RegistryDelta, Replica } from "./replica.ts";

/** A registry that is shared, and who is told of troubles with it. */
interface Shared {
  readonly registry: MetricsRegistry;
  readonly issues: () => IssueReporter;
}

/** Sends the changes that a publisher finds. */
export interface Outbox {
  /** Sends them at once. */
  post(deltas: readonly RegistryDelta[], version: number): void;
  /** Sends them in slices, and then asks for their version. */
  postInSlices(
    deltas: readonly RegistryDelta[],
    finish: () => number,
  ): Promise<void>;
}

/** Tells the other workers what the registries of this one hold. */
export class Publisher {
  /** All that was told. */
  readonly replica = new Replica();
  /** How often something was told. */
  version = 0;
  readonly #shared: Shared[] = [];
  /** The numbers of the last run of `publishForeign` that began, and of the last that told. */
  #lastStarted = 0;
  #lastPublished = 0;
  #publishing: Promise<void> = Promise.resolve();
  readonly #outbox: Outbox;

  constructor(outbox: Outbox) {
    this.#outbox = outbox;
  }

  /**
   * Lets the others count a registry.
   *
   * @returns Its number: what is merged are the first ones of all workers, the
   * second ones, and so on.
   */
  share(registry: MetricsRegistry, issues: () => IssueReporter): number {
    const found = this.#shared.findIndex((each) => each.registry === registry);
    if (found !== -1) return found;
    return this.#shared.push({ registry, issues }) - 1;
  }

  /** How many label sets of ours a registry may hold under a prefix. */
  limitOf(index: number, prefix: string): number {
    const registry = this.#shared[index]?.registry;
    const registration = registry && findRegistration(registry, prefix);
    return registration?.options.cardinalityLimit ?? DEFAULT_CARDINALITY_LIMIT;
  }

  /** Tells what changed in the metrics of ours: at once, even while dying. */
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
   * Tells what changed in the metrics of others, whose collectors may each take so
   * many milliseconds.
   */
  readonly publishForeign: (timeoutMs: number) => Promise<void> = coalesce(
    async (timeoutMs) => {
      const run = ++this.#lastStarted;
      const contents = await Promise.all(
        this.#shared.map(({ registry, issues }) =>
          collect(registry, issues, timeoutMs)
        ),
      );
      // One after the other, as each sends the difference to the one before.
      const tell = () => this.#publishContents(run, contents);
      this.#publishing = this.#publishing.then(tell, tell);
      await this.#publishing;
    },
  );

  /** Reports what concerns no registry of its own. */
  report(issue: Issue, message: string): void {
    this.#shared[0]?.issues().report(issue, message);
  }

  async #publishContents(
    run: number,
    contents: readonly RegistryContent[],
  ): Promise<void> {
    // A run that began later has collected newer values.
    if (run < this.#lastPublished) return;
    this.#lastPublished = run;
    const deltas: RegistryDelta[] = [];
    for (const [index, { registry, own, others, late }] of contents.entries()) {
      const registrations = [...registrationsOf(registry)];
      const unknown = own.filter((family) =>
        !registrations.some((each) => each.isRegistered && each.has(family))
      );
      const common = defaultLabels(registry);
      const views = unknown.map((family) => new OwnMetricView(family, common));
      const replica = this.replica.registry(index).foreign;
      // Sums over all workers must not fall because one collector takes too long.
      const kept = late.size === 0
        ? []
        : replica.families().filter(({ name }) => late.has(name));
      const changes = await replica.diff([...others, ...kept, ...views]);
      for (const delta of changes) {
        deltas.push({ registry: index, foreign: [delta] });
      }
    }
    if (deltas.length === 0) return;
    const commit = await this.replica.prepareForeign(deltas);
    // Applied here when it is complete, as other workers apply it.
    await this.#outbox.postInSlices(deltas, () => {
      commit();
      return ++this.version;
    });
  }
}
