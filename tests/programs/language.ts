/**
 * Random programs of pipelines and stages: what they may consist of.
 *
 * `machine.ts` runs them, `model.ts` says what must be recorded then.
 *
 * @module
 */
import type { Outcome } from "../../mod.ts";
import fc from "fast-check";

/** A way to lose the thread for a moment. */
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

/** Whose functions are called: those of an instance, or the imported ones. */
export type Via = 0 | 1 | "imported";

/** What pipelines and stages have in common. */
interface ScopeStep {
  readonly name: string;
  readonly via: Via;
  readonly end: End;
  /** What `setOutcome` is told. */
  readonly outcome: Outcome | undefined;
  /** What the classifiers say. */
  readonly classified: Outcome | undefined;
  /** Whether the code around catches what it throws. */
  readonly isCaught: boolean;
  readonly body: readonly Step[];
}

export interface StageStep extends ScopeStep {
  readonly kind: "stage";
  /** By the function, by a wrapper, or by the `stage` of the pipeline's scope. */
  readonly how: "call" | "wrapper" | "scope";
  /** What its callback gives. Only one that gives a promise has a body. */
  readonly gives: "value" | "promise" | "lazy thenable";
}

export interface PipelineStep extends ScopeStep {
  readonly kind: "pipeline";
  readonly how: "call" | "wrapper" | "handle" | "declared" | "declared handle";
  readonly lane: string | undefined;
}

export interface StreamStep {
  readonly kind: "stream";
  readonly name: string;
  readonly firstChunk: string | undefined;
  readonly source: "readable" | "iterable";
  readonly chunks: number;
  readonly fails: boolean;
  /** By how its consumer reads it. */
  readonly reads: "to the end" | "one chunk";
  /** When: at once, or when the pipeline's code has ended. */
  readonly isRead: "at once" | "later";
  /** What the source does before its first chunk. */
  readonly body: readonly Step[];
}

/** What is open, and does not end by itself. */
export interface Hanging {
  readonly kind: "stage" | "pipeline" | "stream";
  readonly name: string;
  readonly inside: readonly Hanging[];
}

/** A scope that is ended from outside while all inside of it hangs. */
export interface EndedStep {
  readonly kind: "ended";
  readonly scope: "stage" | "pipeline";
  readonly name: string;
  readonly by: "deadline" | "signal" | "signal of a timeout";
  readonly inside: readonly Hanging[];
  /** What its code does after that. */
  readonly afterwards: readonly Step[];
}

export type Step =
  | { readonly kind: "wait"; readonly wait: Wait }
  | StageStep
  | PipelineStep
  | StreamStep
  | EndedStep
  | {
    readonly kind: "branches";
    readonly branches: readonly (readonly Step[])[];
  }
  | {
    /** Stages side by side, of which not all are waited for. */
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
    readonly outcome: Outcome;
    readonly lane: string | undefined;
  }
  | {
    /** A listener that is called inside of another pipeline. */
    readonly kind: "listener";
    readonly name: string;
    readonly how: "call" | "scope";
  }
  | {
    /** What goes on when all that was around it has ended. */
    readonly kind: "detached";
    readonly body: readonly Step[];
  };

/** What runs side by side. */
export type Program = readonly (readonly Step[])[];

const PIPELINE = fc.constantFrom("p", "q");
const STAGE = fc.constantFrom("s", "t", "u");
const LANE = fc.option(fc.constantFrom("a", "b"), { nil: undefined });
const VIA = fc.constantFrom<Via>(0, 1, "imported");
const OUTCOME = fc.constantFrom<Outcome>("success", "failure", "timeout");
const MAYBE_OUTCOME = fc.option(OUTCOME, { nil: undefined, freq: 3 });
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

const DEPTH = { depthSize: "medium", depthIdentifier: "step" } as const;

const { steps, pipeline } = fc.letrec<
  { step: Step; steps: Step[]; pipeline: PipelineStep; hanging: Hanging }
>((tie) => {
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
  return {
    hanging: fc.oneof(
      { depthSize: "small", depthIdentifier: "hanging" },
      fc.record({
        kind: fc.constantFrom("stage", "stream"),
        name: STAGE,
        inside: fc.constant([]),
      }),
      fc.record({
        kind: fc.constantFrom("stage", "pipeline"),
        name: STAGE,
        inside,
      }),
    ),
    steps: fc.array(tie("step"), { maxLength: 4, ...DEPTH }),
    pipeline: fc.record({
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
      ...scope,
    }),
    step: fc.oneof<fc.MaybeWeightedArbitrary<Step>[]>(
      DEPTH,
      fc.record({ kind: fc.constant("wait"), wait: WAIT }),
      fc.record({
        kind: fc.constant("record"),
        of: fc.constantFrom("stage", "pipeline"),
        name: STAGE,
        outcome: OUTCOME,
        lane: LANE,
      }),
      fc.record({
        kind: fc.constant("listener"),
        name: STAGE,
        how: fc.constantFrom("call", "scope"),
      }),
      fc.record({
        kind: fc.constant("side by side"),
        combinator: fc.constantFrom("all", "race", "any"),
        stages: fc.array(
          fc.record({ name: STAGE, wait: WAIT, fails: fc.boolean() }),
          { minLength: 1, maxLength: 3 },
        ),
      }),
      {
        weight: 4,
        arbitrary: fc.record({
          kind: fc.constant("stage"),
          name: STAGE,
          how: fc.constantFrom("call", "wrapper", "scope"),
          gives: fc.constantFrom("value", "promise", "lazy thenable"),
          ...scope,
        }),
      },
      { weight: 4, arbitrary: tie("pipeline") },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant("stream"),
          name: STAGE,
          firstChunk: fc.option(STAGE, { nil: undefined }),
          source: fc.constantFrom("readable", "iterable"),
          chunks: fc.nat({ max: 2 }),
          fails: fc.boolean(),
          reads: fc.constantFrom("to the end", "one chunk"),
          isRead: fc.constantFrom("at once", "later"),
          body: steps,
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({
          kind: fc.constant("ended"),
          scope: fc.constantFrom("stage", "pipeline"),
          name: STAGE,
          by: fc.constantFrom("deadline", "signal", "signal of a timeout"),
          inside,
          afterwards: steps,
        }),
      },
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

/** Programs, as `fast-check` makes them up: most begin with a pipeline. */
export const programs: fc.Arbitrary<Program> = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.tuple(pipeline) },
    { weight: 1, arbitrary: steps },
  ),
  { minLength: 1, maxLength: 4 },
);
