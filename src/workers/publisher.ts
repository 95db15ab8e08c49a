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
import { Replica, type Telling } from "./replica.ts";

/** A registry that is shared, and who is told of troubles with it. */
interface Shared {
  readonly registry: MetricsRegistry;
  readonly issues: () => IssueReporter;
}

/** Sends the changes that a teller finds. */
export interface Outbox {
  /** Sends them at once. */
  post(tellings: readonly Telling[], version: number): void;
  /** Sends them in slices, and then asks for their version. */
  postInSlices(
    tellings: readonly Telling[],
    finish: () => number,
  ): Promise<void>;
}

/** Tells the other workers what the registries of this one hold. */
export class Teller {
  /** All that was told. */
  readonly replica = new Replica();
  /** How often something was told. */
  version = 0;
  readonly #shared: Shared[] = [];
  /** The numbers of the last run of `tellOthers` that began, and of the last that told. */
  #lastBegun = 0;
  #lastTold = 0;
  #telling: Promise<void> = Promise.resolve();
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
  tellOwn(): void {
    const tellings = this.#shared.flatMap(({ registry }, index) => {
      const labels = Object.fromEntries(
        Object.entries(defaultLabels(registry))
          .map(([name, value]) => [name, String(value)]),
      );
      const replica = this.replica.registry(index).own;
      const own = [...registrationsOf(registry)].flatMap((registration) => {
        if (!registration.isRegistered) return [];
        return replica.changes(registration, labels);
      });
      return own.length === 0 ? [] : [{ registry: index, own }];
    });
    if (tellings.length === 0) return;
    this.replica.applyOwn(tellings);
    this.#outbox.post(tellings, ++this.version);
  }

  /**
   * Tells what changed in the metrics of others, whose collectors may each take so
   * many milliseconds.
   */
  readonly tellOthers: (patience: number) => Promise<void> = coalesce(
    async (patience) => {
      const run = ++this.#lastBegun;
      const contents = await Promise.all(
        this.#shared.map(({ registry, issues }) =>
          collect(registry, issues, patience)
        ),
      );
      // One after the other, as each sends the difference to the one before.
      const tell = () => this.#tellContents(run, contents);
      this.#telling = this.#telling.then(tell, tell);
      await this.#telling;
    },
  );

  /** Reports what concerns no registry of its own. */
  report(issue: Issue, message: string): void {
    this.#shared[0]?.issues().report(issue, message);
  }

  async #tellContents(
    run: number,
    contents: readonly RegistryContent[],
  ): Promise<void> {
    // A run that began later has collected newer values.
    if (run < this.#lastTold) return;
    this.#lastTold = run;
    const tellings: Telling[] = [];
    for (const [index, { registry, own, others, late }] of contents.entries()) {
      const registrations = [...registrationsOf(registry)];
      const unknown = own.filter((family) =>
        !registrations.some((each) => each.isRegistered && each.has(family))
      );
      const common = defaultLabels(registry);
      const views = unknown.map((family) => new OwnMetricView(family, common));
      const replica = this.replica.registry(index).others;
      // Sums over all workers must not fall because one collector takes too long.
      const kept = late.size === 0
        ? []
        : replica.families().filter(({ name }) => late.has(name));
      const told = await replica.changes([...others, ...kept, ...views]);
      for (const telling of told) {
        tellings.push({ registry: index, others: [telling] });
      }
    }
    if (tellings.length === 0) return;
    const commit = await this.replica.prepareOthers(tellings);
    // Applied here when it is complete, as other workers apply it.
    await this.#outbox.postInSlices(tellings, () => {
      commit();
      return ++this.version;
    });
  }
}
