import type { OutcomeLabel } from "../common/outcome.ts";
import type { Cancellation } from "../scopes/cancel_scope.ts";
import {
  type CurrentContext,
  type EndStream,
  runInContext,
} from "../scopes/context.ts";
import { unregisterReader } from "./source_reader.ts";
import { StageRun, type StageScope, startStage } from "./stage.ts";
import type { StreamOptions } from "./stage_stream.ts";

/** A run of a stage that lasts as long as a stream, or as its first chunk takes. */
class StreamRun extends StageRun {
  onCancelled: ((cancellation: Cancellation) => void) | undefined;
  /** Whether it was recorded as one that its caller or consumer gave up. */
  isGivenUp = false;

  override get unawaitedName(): undefined {
    return undefined;
  }

  protected override settle(outcome: OutcomeLabel, isGivenUp = false): void {
    this.isGivenUp = isGivenUp;
    super.settle(outcome, isGivenUp);
  }

  override afterCancel(cancellation: Cancellation): void {
    this.onCancelled?.(cancellation);
  }
}

/** The stage that a stream is, and the one that its first chunk ends. */
export class StreamMeasurement {
  /** Its cancellation, if it was cancelled: the consumer gets the error. */
  cancelledBy: Cancellation | undefined;
  /** The context of the source's own code. */
  readonly #context: CurrentContext;
  readonly #run: StreamRun;
  readonly #endStream: EndStream | undefined;
  #first: StreamRun | undefined;
  #onCancel: ((error: unknown) => void) | undefined;
  #isOver = false;

  constructor(
    ambient: CurrentContext,
    name: string,
    { firstChunk, ...options }: StreamOptions,
  ) {
    this.#run = startStage(ambient, name, options, StreamRun);
    this.#context = this.#run.context;
    if (firstChunk !== undefined) {
      this.#first = this.#startFirst(ambient, firstChunk);
    }
    this.#endStream = ambient.pipeline?.beginStream();
    this.#run.onCancelled = (cancellation) => this.#cancelled(cancellation);
    const cancellation = this.#run.start();
    this.#run.markPending();
    if (cancellation !== undefined) this.#cancelled(cancellation);
  }

  #startFirst(ambient: CurrentContext, name: string): StreamRun {
    try {
      const first = startStage(ambient, name, undefined, StreamRun);
      // It may have a deadline of its own, where the pipeline declares it.
      first.start();
      first.markPending();
      return first;
    } catch (error) {
      // If it is strict, it has not begun, and neither has the stream.
      this.#run.fail(error);
      throw error;
    }
  }

  /** The scope that the function which opens the source gets. */
  get scope(): StageScope {
    return this.#run;
  }

  /** Whether it has ended: its source may go on. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether an error of the source may come from an abort by this library. */
  mayComeFromAbort(error: unknown): boolean {
    return this.#run.mayBeFromAbort(error);
  }

  /** Opens the source, whose failure to open is one of the stage. */
  open<T>(fn: () => T): T {
    // As with any other scope that is cancelled beforehand, the function is not called.
    if (this.cancelledBy !== undefined) {
      this.endCode();
      throw this.cancelledBy.error;
    }
    const opened = this.attempt(() => this.enter(fn));
    if (opened === null) {
      this.complete();
      this.endCode();
    }
    return opened;
  }

  /** Calls a function that the stage fails with if it throws. */
  attempt<T>(fn: () => T): T {
    try {
      return fn();
    } catch (error) {
      this.fail(error);
      this.endCode();
      throw error;
    }
  }

  /** Calls the source's own code in the context of the pipeline and of the stage. */
  enter<T>(fn: () => T): T {
    return runInContext(this.#context, () => this.#run.runInSpan(fn));
  }

  /** Calls the source's own code where no consumer waits for what it throws. */
  guard(fn: () => void): void {
    this.#run.instance.issues.guard("stream", fn);
  }

  /** Sets what passes a cancellation on to the consumer and the source. */
  onCancel(listener: (error: unknown) => void): void {
    this.#onCancel = listener;
    if (this.cancelledBy !== undefined) this.#passOn(this.cancelledBy);
  }

  /** Ends the time to the first chunk, as a chunk has come. */
  chunk(): void {
    this.#first?.complete();
    this.#first = undefined;
  }

  /** Ends it, as the source has ended. */
  complete(): void {
    this.#end((run) => run.complete());
  }

  /** Ends it, as the source has failed. */
  fail(error: unknown): void {
    this.#end((run) => run.fail(error), error);
  }

  /** Ends it, as the consumer stopped early. */
  giveUp(): void {
    this.#end((run) => run.cancelByConsumer());
  }

  /** Notes that the source has cleaned up after it was stopped. */
  endCode(): void {
    this.#run.markCodeEnded();
  }

  #cancelled(cancellation: Cancellation): void {
    this.cancelledBy = cancellation;
    this.#end((run) => run.cancel(cancellation), cancellation.error);
    this.#passOn(cancellation);
  }

  #passOn({ error }: Cancellation): void {
    this.guard(() => this.#onCancel?.(error));
  }

  #end(settle: (run: StreamRun) => void, error?: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    unregisterReader(this);
    if (this.#first !== undefined) {
      settle(this.#first);
      this.#first.markCodeEnded();
    }
    settle(this.#run);
    this.#endStream?.(this.#run.outcome!, this.#run.isGivenUp, error);
  }
}
