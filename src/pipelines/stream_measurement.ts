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

/** One run of a stage that lasts until its stream, or its first chunk, has ended. */
class StreamRun extends StageRun {
  onCancelled: ((cancellation: Cancellation) => void) | undefined;
  /** Whether it was recorded as cancelled by its caller or consumer. */
  wasCancelled = false;

  override get unawaitedName(): undefined {
    return undefined;
  }

  protected override settle(outcome: OutcomeLabel, wasCancelled = false): void {
    this.wasCancelled = wasCancelled;
    super.settle(outcome, wasCancelled);
  }

  override afterCancel(cancellation: Cancellation): void {
    this.onCancelled?.(cancellation);
  }
}

/** Measures a stream: as a stage, and as a second stage until the first chunk. */
export class StreamMeasurement {
  /** The cancellation, if the stage was cancelled. The consumer gets its error. */
  cancelledBy: Cancellation | undefined;
  /** The context of the source's own code. */
  readonly #context: CurrentContext;
  readonly #run: StreamRun;
  readonly #endStream: EndStream | undefined;
  /** The run that the first chunk ends. */
  #firstChunk: StreamRun | undefined;
  #onCancel: ((error: unknown) => void) | undefined;
  #hasEnded = false;

  constructor(
    context: CurrentContext,
    name: string,
    { firstChunk, ...options }: StreamOptions,
  ) {
    this.#run = startStage(context, name, options, StreamRun);
    this.#context = this.#run.context;
    if (firstChunk !== undefined) {
      this.#firstChunk = this.#startFirstChunk(context, firstChunk);
    }
    this.#endStream = context.pipeline?.beginStream();
    this.#run.onCancelled = (cancellation) => this.#cancel(cancellation);
    const cancellation = this.#run.start();
    this.#run.markPending();
    if (cancellation !== undefined) this.#cancel(cancellation);
  }

  #startFirstChunk(context: CurrentContext, name: string): StreamRun {
    try {
      const run = startStage(context, name, undefined, StreamRun);
      // A declared pipeline may give this stage a timeout.
      run.start();
      run.markPending();
      return run;
    } catch (error) {
      // A strict instance throws, so neither this stage nor the stream has begun.
      this.#run.fail(error);
      throw error;
    }
  }

  /** The scope that is passed to the function that opens the source. */
  get scope(): StageScope {
    return this.#run;
  }

  /** Whether the stage has ended. The source may still be running. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Returns whether an abort by this library may have caused an error of the source. */
  mayBeFromAbort(error: unknown): boolean {
    return this.#run.mayBeFromAbort(error);
  }

  /** Opens the source. If that throws, the stage fails. */
  open<T>(fn: () => T): T {
    // As in any scope that is cancelled before it starts, the function is not called.
    if (this.cancelledBy !== undefined) {
      this.endCode();
      throw this.cancelledBy.error;
    }
    const source = this.attempt(() => this.enter(fn));
    if (source === null) {
      this.complete();
      this.endCode();
    }
    return source;
  }

  /** Calls a function. If it throws, the stage fails. */
  attempt<T>(fn: () => T): T {
    try {
      return fn();
    } catch (error) {
      this.fail(error);
      this.endCode();
      throw error;
    }
  }

  /** Calls the source's own code in the context of the pipeline and the stage. */
  enter<T>(fn: () => T): T {
    return runInContext(this.#context, () => this.#run.runInSpan(fn));
  }

  /** Calls the source's own code. If it throws, no consumer would get the error. */
  guard(fn: () => void): void {
    this.#run.instance.issues.guard("stream", fn);
  }

  /** Sets the function that passes a cancellation on to the consumer and the source. */
  onCancel(listener: (error: unknown) => void): void {
    this.#onCancel = listener;
    if (this.cancelledBy !== undefined) this.#passOn(this.cancelledBy);
  }

  /** Records that a chunk has arrived. The first one ends the stage `firstChunk`. */
  recordChunk(): void {
    this.#firstChunk?.complete();
    this.#firstChunk = undefined;
  }

  /** Ends the stage, as the source has ended. */
  complete(): void {
    this.#end((run) => run.complete());
  }

  /** Ends the stage, as the source has failed. */
  fail(error: unknown): void {
    this.#end((run) => run.fail(error), error);
  }

  /** Ends the stage, as the consumer stopped early. */
  cancelByConsumer(): void {
    this.#end((run) => run.cancelByConsumer());
  }

  /** Records that the source has cleaned up after it was stopped. */
  endCode(): void {
    this.#run.markCodeEnded();
  }

  #cancel(cancellation: Cancellation): void {
    this.cancelledBy = cancellation;
    this.#end((run) => run.cancel(cancellation), cancellation.error);
    this.#passOn(cancellation);
  }

  #passOn({ error }: Cancellation): void {
    this.guard(() => this.#onCancel?.(error));
  }

  #end(settle: (run: StreamRun) => void, error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    unregisterReader(this);
    if (this.#firstChunk !== undefined) {
      settle(this.#firstChunk);
      this.#firstChunk.markCodeEnded();
    }
    settle(this.#run);
    this.#endStream?.(this.#run.outcome!, this.#run.wasCancelled, error);
  }
}
