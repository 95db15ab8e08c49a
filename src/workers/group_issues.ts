import { describeError } from "../common/describe_error.ts";
import { OVERFLOW } from "../common/labels.ts";
import type { MetricFamily } from "../exposition/model.ts";
import { describeConflict } from "../registry/gather.ts";
import { InvalidMessage } from "./invalid_message.ts";
import type { Publisher } from "./publisher.ts";
import type { MergeCallbacks } from "./replica.ts";

/** Reports the issues of a worker group. */
export class GroupIssues implements MergeCallbacks {
  readonly #publisher: Publisher;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** Calls a function, and reports its errors, which have no caller to handle them. */
  async guard(fn: () => void | Promise<void>): Promise<void> {
    try {
      await fn();
    } catch (error) {
      if (error instanceof InvalidMessage) this.onRejected(error.message);
      else this.#onFailed(error);
    }
  }

  onRejected(reason: string): void {
    this.#publisher.report(
      "invalid_message",
      `Cannot accept a message from another worker: ${reason}`,
    );
  }

  onUnresponsive(timeoutMs: number): void {
    this.#publisher.report(
      "worker_unresponsive",
      `A worker did not answer a scrape within ${timeoutMs} ms: its last known values are shown until it does`,
    );
  }

  onRetiredAck(): void {
    this.#publisher.report(
      "worker_unresponsive",
      "A worker answered a scrape after it had been retired as terminated: its counts since then are missing until it restarts",
    );
  }

  onConflict(family: MetricFamily, type: string): void {
    this.#publisher.report("collector_error", describeConflict(family, type));
  }

  onOverflow(prefix: string): void {
    this.#publisher.report(
      "label_overflow",
      `Metrics "${prefix}*" of several workers were merged as "${OVERFLOW}": together they have more label sets than the cardinalityLimit. Take names and lanes from a fixed set, not from data`,
    );
  }

  cardinalityLimit(registry: number, prefix: string): number {
    return this.#publisher.cardinalityLimit(registry, prefix);
  }

  #onFailed(error: unknown): void {
    this.#publisher.report(
      "collector_error",
      `Cannot exchange metrics with other workers: ${describeError(error)}`,
    );
  }
}
