/**
 * Generates random programs of pipelines, stages and streams.
 *
 * `runner.ts` runs them, and `model.ts` predicts the metrics.
 *
 * @module
 */
import fc from "fast-check";
import type { Outcome } from "../../mod.ts";

/** A way to continue later, in the same async context. */
export type Wait =
  | "none"
  | "microtask"
  | "tick"
  | "immediate"
  | "timer"
  | "event"
  | "thenable";

/** How the code of a scope ends. */
export type End = "return" | "throw" | "throw nothing" | "throw a timeout";

/** The function to call: of instance 0 or 1, or the imported one. */
export type Via = 0 | 1 | "imported";

/** The properties that pipelines and stages share. */
interface ScopeStep {
  readonly name: string;
  readonly via: Via;
  readonly end: End;
  /** The outcome that its code sets. */
  readonly outcome: Outcome | undefined;
  /** The outcome that its classifiers return. */
  readonly classified: Outcome | undefined;
  /** Whether the code around it catches its error. */
  readonly isCaught: boolean;
  readonly body: readonly Step[];
}

export interface StageStep extends ScopeStep {
  readonly kind: "stage";
  /** "scope" calls the `stage` of the innermost pipeline's scope. "outer scope" calls
   * that of the next pipeline, in whose context the body runs. */
  readonly how: "call" | "wrapper" | "scope" | "outer scope";
  /** The kind of value that its callback returns. Only a promise runs the body. */
  readonly returns: "value" | "promise" | "lazy thenable";
}

export interface PipelineStep extends ScopeStep {
  readonly kind: "pipeline";
  readonly how: "call" | "wrapper" | "handle" | "declared" | "declared handle";
  /** Ignored by declared pipelines, like `detached`. */
  readonly lane: string | undefined;
  readonly detached: boolean;
  /** The outcome that is set when its code has returned, which counts only while
   * streams keep it open. */
  readonly lateOutcome: Outcome | undefined;
  /** Whether its code reads `signal` when it starts. */
  readonly readsSignal: boolean;
}

/** How the consumer of a stream ends it. */
export type Reading =
  | "to the end"
  | "one chunk"
  /** It throws an error into it, or cancels it with one, after the first chunk. */
  | "throws after a chunk"
  /** It stops before it reads. */
  | "stops unread"
  | "throws unread"
  /** It stops while a read is pending. */
  | "stops while reading"
  | "throws while reading"
  /** The stream's own `signal` aborts before it reads. */
  | "aborted"
  | "aborted by a timeout";

export interface StreamStep {
  readonly kind: "stream";
  readonly name: string;
  readonly via: Via;
  readonly how: "call" | "scope";
  readonly firstChunk: string | undefined;
  readonly source: "readable" | "iterable" | "node";
  /** Whether a function opens the source. Only then can an outcome be set. */
  readonly isOpened: boolean;
  readonly outcome: Outcome | undefined;
  /** Whether the source sets it after its chunks, not when it is opened. */
  readonly isSetLate: boolean;
  readonly chunks: number;
  readonly fails: boolean;
  readonly reads: Reading;
  /** When it is read: at once, or after the pipeline's code has returned. */
  readonly isRead: "at once" | "later";
  /** The steps of the source before its first chunk. */
  readonly body: readonly Step[];
}

/** A scope that stays open until it is released. */
export interface Hanging {
  readonly kind: "stage" | "pipeline" | "stream";
  readonly name: string;
  readonly inside: readonly Hanging[];
}

/** The cause of a cancellation. */
export type CancelledBy = "deadline" | "signal" | "signal of a timeout";

/** A scope that is cancelled while its code and all inside it hangs. */
export interface CancelledStep {
  readonly kind: "cancelled";
  readonly scope: "stage" | "pipeline";
  readonly name: string;
  readonly by: CancelledBy;
  /** The steps of its code before the cancellation. None if a deadline cancels it. */
  readonly before: readonly Step[];
  readonly inside: readonly Hanging[];
  /** Whether the code around it continues before its code does. */
  readonly isLeft: boolean;
  /** The steps of its code after the cancellation. */
  readonly afterwards: readonly Step[];
}

export type Step =
  | { readonly kind: "wait"; readonly wait: Wait }
  | StageStep
  | PipelineStep
  | StreamStep
  | CancelledStep
  | {
    readonly kind: "branches";
    readonly branches: readonly (readonly Step[])[];
  }
  | {
    /** Parallel stages. With "race" and "any" only the first stage is awaited: the
     * others run until the part of the program ends. If the first stage of "any" fails,
     * all are awaited. */
    readonly kind: "side by side";
    readonly combinator: "all" | "race" | "any";
    readonly stages: readonly {
      readonly name: string;
      readonly wait: Wait;
      readonly fails: boolean;
    }[];
  }
  | {
    readonly kind: "record";
    readonly of: "stage" | "pipeline";
    readonly name: string;
    /** The pipeline's name in the record of a stage. */
    readonly pipelineName: string | undefined;
    readonly via: Via;
    readonly outcome: Outcome;
    readonly lane: string | undefined;
  }
  | {
    /** A listener that is called inside another pipeline. */
    readonly kind: "listener";
    readonly name: string;
    /** "scope" calls the `stage` of the pipeline's scope, "bind" is a listener that
     * the innermost scope's `bind` returned. */
    readonly how: "call" | "scope" | "bind";
    /** A plain stage that the listener's stage calls. */
    readonly nested: string | undefined;
  }
  | {
    /** Two pipelines that await one stage. The first one, which has started it, is
     * cancelled; the second one must get the stage's value. */
    readonly kind: "shared";
    readonly names: readonly [string, string];
    readonly stage: string;
    readonly by: CancelledBy;
  }
  | {
    /** Code that continues after everything around it has ended. */
    readonly kind: "detached";
    readonly body: readonly Step[];
  };

/** The parts of a program run in parallel, each by itself. */
export type Program = readonly (readonly Step[])[];

const PIPELINE = fc.constantFrom("p", "q");
const STAGE = fc.constantFrom("s", "t", "u");
const LANE = fc.option(fc.constantFrom("a", "b"), { nil: undefined });
const VIA = fc.constantFrom<Via>(0, 1, "imported");
const OUTCOME = fc.constantFrom<Outcome>("success", "failure", "timeout");
const MAYBE_OUTCOME = fc.option(OUTCOME, { nil: undefined, freq: 3 });
const MAYBE_STAGE = fc.option(STAGE, { nil: undefined });
const SIGNAL = fc.constantFrom<CancelledBy>("signal", "signal of a timeout");
const CANCELLED_BY = fc.oneof(fc.constant<CancelledBy>("deadline"), SIGNAL);
const WAIT = fc.constantFrom<Wait>(
  "none",
  "microtask",
  "tick",
  "immediate",
  "timer",
  "event",
  "thenable",
);
const END = fc.oneof(
  { weight: 3, arbitrary: fc.constant<End>("return") },
  {
    weight: 2,
    arbitrary: fc.constantFrom<End>(
      "throw",
      "throw nothing",
      "throw a timeout",
    ),
  },
);
const NO_STEPS = fc.constant<Step[]>([]);

const DEPTH = { depthSize: "medium", depthIdentifier: "step" } as const;

const { steps, pipeline } = fc.letrec<{
  step: Step;
  steps: Step[];
  pipeline: PipelineStep;
  hanging: Hanging;
  hangingScope: Hanging;
}>((tie) => {
  const steps = tie("steps");
  const inside = fc.array(tie("hanging"), { maxLength: 2 });
  const scope = {
    via: VIA,
    end: END,
    outcome: MAYBE_OUTCOME,
    classified: MAYBE_OUTCOME,
    isCaught: fc.boolean(),
    body: steps,
  };
  const stream = {
    kind: fc.constant("stream" as const),
    name: STAGE,
    via: VIA,
    how: fc.constantFrom("call" as const, "scope" as const),
    firstChunk: MAYBE_STAGE,
    source: fc.constantFrom(
      "readable" as const,
      "iterable" as const,
      "node" as const,
    ),
    isOpened: fc.boolean(),
    outcome: MAYBE_OUTCOME,
    isSetLate: fc.boolean(),
    chunks: fc.nat({ max: 2 }),
    fails: fc.boolean(),
    isRead: fc.constantFrom("at once" as const, "later" as const),
  };
  const cancelled = {
    kind: fc.constant("cancelled" as const),
    scope: fc.constantFrom("stage" as const, "pipeline" as const),
    name: STAGE,
    afterwards: steps,
  };
  // `before` can take any time here, unlike before a deadline.
  const bySignal = { ...cancelled, by: SIGNAL, before: steps };
  const byDeadline = {
    ...cancelled,
    by: fc.constant<CancelledBy>("deadline"),
    before: NO_STEPS,
  };
  const awaited = { inside, isLeft: fc.constant(false) };
  // A stream would keep its pipeline open to the end.
  const left = {
    inside: fc.array(tie("hangingScope"), { maxLength: 2 }),
    isLeft: fc.constant(true),
  };
  return {
    hanging: fc.oneof(
      { depthSize: "small", depthIdentifier: "hanging" },
      fc.record<Hanging>({
        kind: fc.constantFrom("stage", "stream"),
        name: STAGE,
        inside: fc.constant([]),
      }),
      fc.record<Hanging>({
        kind: fc.constantFrom("stage", "pipeline"),
        name: STAGE,
        inside,
      }),
    ),
    hangingScope: fc.oneof(
      { depthSize: "small", depthIdentifier: "hanging" },
      fc.record<Hanging>({
        kind: fc.constant("stage"),
        name: STAGE,
        inside: fc.constant([]),
      }),
      fc.record<Hanging>({
        kind: fc.constantFrom("stage", "pipeline"),
        name: STAGE,
        inside: fc.array(tie("hangingScope"), { maxLength: 2 }),
      }),
    ),
    steps: fc.array(tie("step"), { maxLength: 4, ...DEPTH }),
    pipeline: fc.record<PipelineStep>({
      kind: fc.constant("pipeline"),
      name: PIPELINE,
      how: fc.constantFrom(
        "call",
        "wrapper",
        "handle",
        "declared",
        "declared handle",
      ),
      lane: LANE,
      detached: fc.oneof(
        { weight: 3, arbitrary: fc.constant(false) },
        { weight: 1, arbitrary: fc.constant(true) },
      ),
      lateOutcome: MAYBE_OUTCOME,
      readsSignal: fc.boolean(),
      ...scope,
    }),
    step: fc.oneof<fc.MaybeWeightedArbitrary<Step>[]>(
      DEPTH,
      fc.record({ kind: fc.constant("wait"), wait: WAIT }),
      fc.record({
        kind: fc.constant("record"),
        of: fc.constantFrom("stage", "pipeline"),
        name: STAGE,
        pipelineName: fc.option(PIPELINE, { nil: undefined, freq: 1 }),
        via: VIA,
        outcome: OUTCOME,
        lane: LANE,
      }),
      fc.record({
        kind: fc.constant("listener"),
        name: STAGE,
        how: fc.constantFrom("call", "scope", "bind"),
        nested: MAYBE_STAGE,
      }),
      fc.record({
        kind: fc.constant("side by side"),
        combinator: fc.constantFrom("all", "race", "any"),
        stages: fc.array(
          fc.record({ name: STAGE, wait: WAIT, fails: fc.boolean() }),
          { minLength: 1, maxLength: 3 },
        ),
      }),
      fc.record({
        kind: fc.constant("shared"),
        names: fc.tuple(PIPELINE, PIPELINE),
        stage: STAGE,
        by: CANCELLED_BY,
      }),
      {
        weight: 4,
        arbitrary: fc.record<StageStep>({
          kind: fc.constant("stage"),
          name: STAGE,
          how: fc.constantFrom("call", "wrapper", "scope", "outer scope"),
          returns: fc.constantFrom("value", "promise", "lazy thenable"),
          ...scope,
        }),
      },
      { weight: 4, arbitrary: tie("pipeline") },
      {
        weight: 2,
        arbitrary: fc.record<StreamStep>({
          ...stream,
          reads: fc.constantFrom(
            "to the end",
            "one chunk",
            "throws after a chunk",
            "stops unread",
            "throws unread",
            "aborted",
            "aborted by a timeout",
          ),
          body: steps,
        }),
      },
      fc.record<StreamStep>({
        ...stream,
        reads: fc.constantFrom("stops while reading", "throws while reading"),
        // How far it has come when its consumer stops would depend on timing.
        body: NO_STEPS,
      }),
      fc.record<CancelledStep>({ ...bySignal, ...awaited }),
      fc.record<CancelledStep>({ ...byDeadline, ...awaited }),
      fc.record<CancelledStep>({ ...bySignal, ...left }),
      fc.record<CancelledStep>({ ...byDeadline, ...left }),
      fc.record({
        kind: fc.constant("branches"),
        branches: fc.array(steps, { minLength: 1, maxLength: 3 }),
      }),
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant("detached"), body: steps }),
      },
    ),
  };
});

/** Arbitrary programs. Most of their parts are one pipeline. */
export const programs: fc.Arbitrary<Program> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.tuple(pipeline) },
    { weight: 1, arbitrary: steps },
  ),
  { minLength: 1, maxLength: 4 },
);
