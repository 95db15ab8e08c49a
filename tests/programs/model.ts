/**
 * What must be recorded when a program runs, worked out one step after the other.
 *
 * @module
 */
import type { Issue, Outcome } from "../../mod.ts";
import { issuesTotal, pipelineTotal, stageTotal } from "../samples.ts";
import type {
  End,
  EndedStep,
  Hanging,
  PipelineStep,
  Program,
  StageStep,
  Step,
  StreamStep,
} from "./language.ts";

/** The lanes of the two instances. */
export const LANES = ["zero", "one"] as const;

/** The stages that the declared pipelines declare, and their name. */
export const DECLARED = { name: "declared", stages: { s: {}, t: {} } } as const;

/** The pipeline in which listeners are called, of instance 0. */
export const ELSEWHERE = "elsewhere";

/** The samples that are not 0, of each instance. */
export type Samples = [Record<string, number>, Record<string, number>];

interface Pipeline {
  readonly instance: 0 | 1;
  readonly name: string;
  readonly lane: string;
  readonly declares: readonly string[] | undefined;
  state: "open" | "ended" | "abandoned";
}

interface Context {
  readonly pipeline: Pipeline | undefined;
  /** Reads the streams that are read when the code around has ended. */
  readonly later: (() => StreamEnd)[];
  /** Goes on when all has ended. */
  readonly detached: (() => void)[];
}

/** What a step throws, as an outcome. */
type Thrown = "failure" | "timeout" | undefined;

const ENDS: Readonly<Record<End, Thrown>> = {
  "return": undefined,
  "throw": "failure",
  "throw nothing": "failure",
  "throw a timeout": "timeout",
};

/** What must be recorded. */
export function expectedSamples(program: Program): Samples {
  const samples: Samples = [{}, {}];
  new Model(samples).runProgram(program);
  return samples;
}

class Model {
  readonly #samples: Samples;

  constructor(samples: Samples) {
    this.#samples = samples;
  }

  runProgram(program: Program): void {
    // The pipeline in which listeners are called is there from the start.
    this.#count(0, pipelineTotal(ELSEWHERE, "success", LANES[0]), false);
    const detached: (() => void)[] = [];
    for (const steps of program) {
      const context: Context = { pipeline: undefined, later: [], detached };
      this.#run(steps, context);
      readAll(context.later);
    }
    for (let each; (each = detached.shift()) !== undefined;) each();
  }

  /** Runs one step after the other, until one throws. */
  #run(steps: readonly Step[], context: Context): Thrown {
    for (const step of steps) {
      const thrown = this.#runStep(step, context);
      if (thrown !== undefined) return thrown;
    }
    return undefined;
  }

  #runStep(step: Step, context: Context): Thrown {
    switch (step.kind) {
      case "wait":
        return;
      case "stage":
        return this.#runStage(step, context);
      case "pipeline":
        return this.#runPipeline(step, context);
      case "stream":
        return this.#startStream(step, context);
      case "ended":
        return this.#runEnded(step, context);
      case "branches": {
        const thrown = step.branches.map((each) => this.#run(each, context));
        return thrown.find((each) => each !== undefined);
      }
      case "side by side":
        for (const { name, fails } of step.stages) {
          this.#stage(name, fails ? "failure" : "success", context);
        }
        return;
      case "record":
        return this.#record(step, context);
      case "listener":
        return this.#listen(step, context);
      case "detached":
        context.detached.push(() => {
          const later: Context["later"] = [];
          this.#run(step.body, { ...context, later });
          readAll(later);
        });
        return;
    }
  }

  #runStage(step: StageStep, context: Context): Thrown {
    const record = this.#startStage(step.name, context, step.via);
    const thrown = step.gives === "promise"
      ? this.#run(step.body, context)
      : undefined;
    const ending = thrown ?? ENDS[step.end];
    // A wrapped function has no scope to set the outcome of.
    const outcome = step.how === "wrapper" ? undefined : step.outcome;
    record(
      ending === undefined
        ? outcome ?? step.classified ?? "success"
        : step.classified ?? ending,
    );
    return step.isCaught ? undefined : ending;
  }

  #runPipeline(step: PipelineStep, context: Context): Thrown {
    const instance = step.via === "imported"
      ? context.pipeline?.instance ?? 0
      : step.via;
    const isDeclared = step.how.startsWith("declared");
    const lane = isDeclared ? undefined : step.lane;
    const pipeline: Pipeline = {
      instance,
      name: isDeclared ? DECLARED.name : step.name,
      lane: lane ?? context.pipeline?.lane ?? LANES[instance],
      declares: isDeclared ? Object.keys(DECLARED.stages) : undefined,
      state: "open",
    };
    const inside: Context = { ...context, pipeline, later: [] };
    const ending = this.#run(step.body, inside) ?? ENDS[step.end];
    if (ending !== undefined) pipeline.state = "ended";
    let outcome: Outcome = ending === undefined
      ? step.outcome ?? (isHandle(step) ? undefined : classifiedOf(step)) ??
        "success"
      : classifiedOf(step) ?? ending;
    let isGivenUp = false;
    const own = inside.later.length;
    // Those that begin when its code has ended are not its own.
    const ends = readAll(inside.later).slice(0, own);
    if (ending === undefined) {
      for (const end of ends) {
        if (end.outcome !== "success") outcome = end.outcome;
        isGivenUp ||= end.isGivenUp;
      }
    }
    pipeline.state = "ended";
    this.#count(
      pipeline.instance,
      pipelineTotal(pipeline.name, outcome, pipeline.lane),
      isGivenUp,
    );
    return step.isCaught ? undefined : ending;
  }

  #startStream(step: StreamStep, context: Context): Thrown {
    const { name, firstChunk } = step;
    const record = this.#startStage(name, context);
    const recordFirst = firstChunk === undefined
      ? undefined
      : this.#startStage(firstChunk, context);
    const read = (): StreamEnd => {
      const { chunks, fails, reads, body } = step;
      const thrown = this.#run(body, context);
      const hasChunk = thrown === undefined && chunks > 0;
      const isGivenUp = hasChunk && reads === "one chunk";
      const outcome = thrown ?? (fails && !isGivenUp ? "failure" : "success");
      recordFirst?.(hasChunk ? "success" : outcome);
      record(outcome, isGivenUp);
      return { outcome, isGivenUp };
    };
    if (step.isRead === "at once") read();
    else context.later.push(read);
    return undefined;
  }

  #runEnded(step: EndedStep, context: Context): Thrown {
    const { outcome, isCancelled } = ENDINGS[step.by];
    if (step.scope === "stage") {
      const record = this.#startStage(step.name, context);
      // What is inside is not ended with it, and ends as its code does.
      for (const each of step.inside) {
        this.#hang(each, context, "success", false);
      }
      record(outcome, isCancelled);
      this.#run(step.afterwards, context);
      return undefined;
    }
    const instance = context.pipeline?.instance ?? 0;
    const pipeline: Pipeline = {
      instance,
      name: step.name,
      lane: context.pipeline?.lane ?? LANES[instance],
      declares: undefined,
      state: "open",
    };
    const inside: Context = { ...context, pipeline, later: [] };
    for (const each of step.inside) {
      this.#hang(each, inside, outcome, isCancelled);
    }
    this.#count(
      instance,
      pipelineTotal(step.name, outcome, pipeline.lane),
      isCancelled,
    );
    pipeline.state = "abandoned";
    this.#run(step.afterwards, inside);
    readAll(inside.later);
    return undefined;
  }

  #hang(
    { kind, name, inside }: Hanging,
    context: Context,
    outcome: Outcome,
    isCancelled: boolean,
  ): void {
    if (kind !== "pipeline") {
      const record = this.#startStage(name, context);
      for (const each of inside) {
        this.#hang(each, context, outcome, isCancelled);
      }
      record(outcome, isCancelled);
      return;
    }
    const instance = context.pipeline?.instance ?? 0;
    const lane = context.pipeline?.lane ?? LANES[instance];
    const pipeline: Pipeline = {
      instance,
      name,
      lane,
      declares: undefined,
      state: "open",
    };
    for (const each of inside) {
      this.#hang(each, { ...context, pipeline }, outcome, isCancelled);
    }
    this.#count(instance, pipelineTotal(name, outcome, lane), isCancelled);
  }

  #record(
    { of, name, outcome, lane }: Step & { kind: "record" },
    { pipeline }: Context,
  ): undefined {
    const instance = pipeline?.instance ?? 0;
    const ownLane = lane ?? pipeline?.lane ?? LANES[instance];
    if (of === "pipeline") {
      this.#count(instance, pipelineTotal(name, outcome, ownLane), false);
      return;
    }
    if (pipeline === undefined) this.#issue(instance, "orphan_stage");
    const total = stageTotal(
      pipeline?.name ?? "unknown",
      name,
      outcome,
      ownLane,
    );
    this.#count(instance, total, false);
  }

  #listen(
    { name, how }: Step & { kind: "listener" },
    { pipeline }: Context,
  ): undefined {
    if (how === "scope" && pipeline !== undefined) {
      this.#stage(name, "success", { pipeline });
      return;
    }
    const total = stageTotal(ELSEWHERE, name, "success", LANES[0]);
    this.#count(0, total, false);
  }

  #stage(
    name: string,
    outcome: Outcome,
    context: Pick<Context, "pipeline">,
  ): void {
    this.#startStage(name, context)(outcome);
  }

  /** Counts the issues of a start, and gives what counts the end. */
  #startStage(
    name: string,
    { pipeline }: Pick<Context, "pipeline">,
    via: 0 | 1 | "imported" = "imported",
  ): (outcome: Outcome, isCancelled?: boolean) => void {
    const instance = pipeline?.instance ?? (via === "imported" ? 0 : via);
    if (pipeline === undefined) this.#issue(instance, "orphan_stage");
    else if (pipeline.state === "ended") this.#issue(instance, "late_stage");
    if (pipeline?.declares?.includes(name) === false) {
      this.#issue(instance, "undeclared_stage");
    }
    return (outcome, isCancelled = false) => {
      const lane = pipeline?.lane ?? LANES[instance];
      const total = stageTotal(
        pipeline?.name ?? "unknown",
        name,
        outcome,
        lane,
      );
      this.#count(instance, total, isCancelled);
    };
  }

  #issue(instance: 0 | 1, issue: Issue): void {
    this.#add(instance, issuesTotal(issue));
  }

  /** The total, the histogram's count, and what was given up. */
  #count(instance: 0 | 1, total: string, isCancelled: boolean): void {
    this.#add(instance, total);
    this.#add(instance, total.replace("_total", "_duration_seconds_count"));
    if (isCancelled) {
      this.#add(instance, total.replace("_total", "_cancelled_total"));
    }
  }

  #add(instance: 0 | 1, series: string): void {
    const samples = this.#samples[instance];
    samples[series] = (samples[series] ?? 0) + 1;
  }
}

interface StreamEnd {
  readonly outcome: Outcome;
  readonly isGivenUp: boolean;
}

/** Reads streams one after the other; reading one may begin another. */
function readAll(later: (() => StreamEnd)[]): StreamEnd[] {
  const ends: StreamEnd[] = [];
  for (let read; (read = later.shift()) !== undefined;) ends.push(read());
  return ends;
}

const ENDINGS: Readonly<
  Record<EndedStep["by"], { outcome: Outcome; isCancelled: boolean }>
> = {
  "deadline": { outcome: "timeout", isCancelled: false },
  "signal": { outcome: "failure", isCancelled: true },
  "signal of a timeout": { outcome: "timeout", isCancelled: false },
};

function isHandle({ how }: PipelineStep): boolean {
  return how.endsWith("handle");
}

/** A declared pipeline declares no classifiers. */
function classifiedOf({ how, classified }: PipelineStep): Outcome | undefined {
  return how.startsWith("declared") ? undefined : classified;
}
