/**
 * Predicts the metrics of a program by following it one step after the other.
 *
 * @module
 */
import type { Issue, Outcome } from "../../mod.ts";
import { issuesTotal, pipelineTotal, stageTotal } from "../support/samples.ts";
import type {
  CancelledBy,
  CancelledStep,
  End,
  Hanging,
  PipelineStep,
  Program,
  StageStep,
  Step,
  StreamStep,
  Via,
} from "./program.ts";
import { Queue } from "./queue.ts";

/** The lanes of the two instances. */
export const LANES = ["zero", "one"] as const;

/** The name of the declared pipelines, and their stages. */
export const DECLARED = { name: "declared", stages: { s: {}, t: {} } } as const;

/** The name of the pipeline of instance 0 that calls listeners. */
export const ELSEWHERE = "elsewhere";

/** The samples of each instance that are not 0. */
export type Samples = [Record<string, number>, Record<string, number>];

/** The expected observations of a program. */
export interface Prediction {
  readonly samples: Samples;
  /** The number of observed signals that are aborted. */
  readonly abortedSignals: number;
  /** The number of spans without a parent, if spans are created. */
  readonly rootSpans: number;
}

/** Predicts the observations of a program. */
export function predict(program: Program): Prediction {
  const model = new Model();
  model.runProgram(program);
  return model;
}

/** A scope that has started. */
interface Scope {
  readonly kind: "pipeline" | "stage" | "stream";
  readonly instance: 0 | 1;
  /** Returns its series. */
  readonly total: (outcome: Outcome) => string;
  /** The open pipeline that it is cancelled with. */
  parent: Pipeline | undefined;
  /** The pipeline of a stage, if it was open when the stage started. */
  readonly home: Pipeline | undefined;
  isRecorded: boolean;
  /** Whether its own code has returned or thrown. */
  isCodeEnded: boolean;
  /** Whether its own signal was aborted. */
  isAborted: boolean;
  /** The pipeline that counts it as abandoned, as its code continues. */
  abandonedIn: Pipeline | undefined;
}

interface Pipeline extends Scope {
  readonly name: string;
  readonly lane: string;
  readonly declares: readonly string[] | undefined;
  /** How many scopes in it were cancelled while their code continues. */
  abandoned: number;
}

/** Work for later. */
type Work = () => void;

interface Context {
  readonly pipeline: Pipeline | undefined;
  /** The orphan stage that runs the code. */
  readonly orphan: Scope | undefined;
  /** The orphan stage of functions that the code binds. */
  readonly boundOrphan: Scope | undefined;
  /** Whether the code can bind a function to a scope. */
  readonly canBind: boolean;
  /** Whether a span is active, where spans are made. */
  readonly isInSpan: boolean;
  /** The context in which the pipeline started. */
  readonly outer: Context | undefined;
  /** Reads the streams that are read after the code of the pipeline. */
  readonly later: Queue<() => StreamEnd | undefined>;
  /** Runs at the end of the part of the program. */
  readonly atEnd: Queue<Work>;
  /** Releases the stages that are open until all of that has run. */
  readonly held: Work[];
}

/** How a scope ended. */
interface ScopeEnd {
  readonly outcome: Outcome;
  readonly isCancelled: boolean;
}

/** How a stream ended. */
interface StreamEnd extends ScopeEnd {
  /** Whether it was begun before the code of its pipeline returned. */
  readonly isOwn: boolean;
  /** Whether its source was still to stop. */
  readonly isStopping: boolean;
}

/** The outcome of a step's error, if it throws one. */
type Thrown = "failure" | "timeout" | undefined;

const ENDS: Readonly<Record<End, Thrown>> = {
  "return": undefined,
  "throw": "failure",
  "throw nothing": "failure",
  "throw a timeout": "timeout",
};

const CANCELLATIONS: Readonly<
  Record<CancelledBy, { outcome: Outcome; isCancelled: boolean }>
> = {
  "deadline": { outcome: "timeout", isCancelled: false },
  "signal": { outcome: "failure", isCancelled: true },
  "signal of a timeout": { outcome: "timeout", isCancelled: false },
};

class Model implements Prediction {
  readonly samples: Samples = [{}, {}];
  abortedSignals = 0;
  rootSpans = 0;
  /** The open scopes in the order of their starts, and their ancestors. */
  readonly #tree: Set<Scope> = new Set();

  runProgram(program: Program): void {
    // The pipeline that calls listeners is always open.
    this.#count(0, pipelineTotal(ELSEWHERE, "success", LANES[0]), false);
    this.rootSpans++;
    for (const steps of program) {
      const context: Context = {
        pipeline: undefined,
        orphan: undefined,
        boundOrphan: undefined,
        canBind: false,
        isInSpan: false,
        outer: undefined,
        later: new Queue(),
        atEnd: new Queue(),
        held: [],
      };
      this.#runAlone(steps, context);
      runAll(context.atEnd);
      for (const release of context.held) release();
    }
  }

  /** Runs steps without catching their error, and reads their streams. */
  #runAlone(steps: readonly Step[], context: Context): void {
    this.#run(steps, context);
    runAll(context.later);
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
      case "cancelled":
        return this.#runCancelled(step, context);
      case "branches": {
        const thrown = step.branches.map((each) =>
          this.#run(each, fork(context))
        );
        return thrown.find((each) => each !== undefined);
      }
      case "side by side":
        return this.#runSideBySide(step, context);
      case "record":
        return this.#record(step, context);
      case "listener":
        return this.#listen(step, context);
      case "shared":
        return this.#share(step, context);
      case "detached":
        context.atEnd.push(() => this.#runAlone(step.body, alone(context)));
        return;
    }
  }

  #runStage(step: StageStep, context: Context): Thrown {
    const around = step.how === "outer scope"
      ? context.outer ?? context
      : context;
    const stage = this.#startStage(step.name, around, step.via);
    const canBind = step.how !== "wrapper";
    const thrown = step.returns === "promise"
      ? this.#run(step.body, contextOf(stage, around, canBind))
      : undefined;
    const ending = thrown ?? ENDS[step.end];
    // A wrapped function has no scope to set the outcome of.
    const outcome = step.how === "wrapper" ? undefined : step.outcome;
    this.#end(
      stage,
      ending === undefined
        ? outcome ?? step.classified ?? "success"
        : step.classified ?? ending,
    );
    this.#endCode(stage);
    return step.isCaught ? undefined : ending;
  }

  #runPipeline(step: PipelineStep, context: Context): Thrown {
    const isDeclared = step.how.startsWith("declared");
    const pipeline = isDeclared
      ? this.#startPipeline(DECLARED.name, context, {
        via: step.via,
        declares: Object.keys(DECLARED.stages),
      })
      : this.#startPipeline(step.name, context, step);
    if (step.readsSignal && isAborted(pipeline)) this.abortedSignals++;
    const inside = contextIn(pipeline, context);
    const ending = this.#run(step.body, inside) ?? ENDS[step.end];
    pipeline.isCodeEnded = true;
    if (ending !== undefined) {
      for (const each of this.#below(pipeline)) each.isAborted = true;
      this.#end(pipeline, classifiedOf(step) ?? ending);
      runAll(inside.later);
      return step.isCaught ? undefined : ending;
    }
    let outcome: Outcome = step.outcome ??
      (isHandle(step) ? undefined : classifiedOf(step)) ?? "success";
    // Otherwise it is recorded already.
    if (!inside.later.isEmpty) outcome = step.lateOutcome ?? outcome;
    const ends = runAll(inside.later).filter((each) => each !== undefined);
    const own = ends.filter((each) => each.isOwn);
    for (const each of own) {
      if (each.outcome !== "success") outcome = each.outcome;
    }
    const hasFailed = own.some((each) =>
      !each.isCancelled && each.outcome !== "success"
    );
    const isCancelled = !hasFailed &&
      own.some((each) => each.isCancelled && each.outcome === outcome);
    // A source that was stopped may have been awaiting the stage.
    if (!ends.at(-1)?.isStopping) this.#reportUnawaited(pipeline);
    this.#end(pipeline, outcome, isCancelled);
    return undefined;
  }

  #startStream(step: StreamStep, context: Context): undefined {
    const { name, firstChunk, via } = step;
    const stream = this.#startStage(name, context, via, "stream");
    const first = firstChunk === undefined
      ? undefined
      : this.#startStage(firstChunk, context, via, "stream");
    const isOwn = context.pipeline?.isCodeEnded === false;
    const read = () => {
      // It was cancelled with its pipeline: its source has never run.
      if (stream.isRecorded) return undefined;
      const end = this.#read(step, contextOf(stream, context, false));
      if (first !== undefined) {
        const { outcome, isCancelled } = end.hasChunk ? SUCCESS : end.unset;
        this.#end(first, outcome, isCancelled);
      }
      this.#end(stream, end.outcome, end.isCancelled);
      this.#endCode(stream);
      return { ...end, isOwn };
    };
    if (step.isRead === "at once") read();
    else context.later.push(read);
  }

  /** Runs the source of a stream as far as its consumer reads it. */
  #read(step: StreamStep, context: Context): ReadEnd {
    const { reads, source, chunks, fails, isOpened, isSetLate } = step;
    if (reads === "aborted" || reads === "aborted by a timeout") {
      const by = reads === "aborted" ? "signal" : "signal of a timeout";
      const end = CANCELLATIONS[by];
      return { ...end, hasChunk: false, unset: end, isStopping: true };
    }
    const isSourceRun = reads === "to the end" || reads === "one chunk" ||
      reads === "throws after a chunk";
    const thrown = isSourceRun ? this.#run(step.body, context) : undefined;
    const hasChunk = isSourceRun && thrown === undefined && chunks > 0;
    const isStopped = !isSourceRun || hasChunk && reads !== "to the end";
    const failure = thrown ?? (fails && !isStopped ? "failure" : undefined);
    if (failure !== undefined) {
      const end = { outcome: failure, isCancelled: false };
      return { ...end, hasChunk, unset: end, isStopping: false };
    }
    const isSet = isOpened && !(isSetLate && isStopped);
    const outcome = isSet ? step.outcome ?? "success" : "success";
    return {
      outcome,
      // A failure that was set must not be hidden by being subtracted.
      isCancelled: isStopped && outcome === "success",
      hasChunk,
      unset: { outcome: "success", isCancelled: isStopped },
      // A generator that is not running has stopped when its consumer continues.
      isStopping: isStopped &&
        !(source === "iterable" && !reads.endsWith("while reading")),
    };
  }

  #runCancelled(step: CancelledStep, context: Context): undefined {
    const { outcome, isCancelled } = CANCELLATIONS[step.by];
    const [scope, inside] = step.scope === "pipeline"
      ? this.#openPipeline(step.name, context)
      : this.#openStage(step.name, context);
    this.#run(step.before, inside);
    const hanging = step.inside.map((each) => this.#hang(each, inside));
    this.#cancel(scope, outcome, isCancelled);
    const own = step.isLeft ? alone(inside) : inside;
    const later = step.scope === "pipeline" ? inside.later : own.later;
    const finish = () => {
      for (const release of hanging) release();
      this.#run(step.afterwards, { ...own, later });
      this.#endCode(scope);
      if (step.isLeft || step.scope === "pipeline") runAll(later);
    };
    if (step.isLeft) context.atEnd.push(finish);
    else finish();
  }

  /** Starts a scope that hangs, and returns a function that releases it. */
  #hang({ kind, name, inside }: Hanging, context: Context): Work {
    const [scope, own] = kind === "pipeline"
      ? this.#openPipeline(name, context)
      : this.#openStage(name, context, kind);
    const hanging = inside.map((each) => this.#hang(each, own));
    return () => {
      for (const release of hanging) release();
      if (kind !== "stream" && isAborted(scope)) this.abortedSignals++;
      this.#end(scope, "success");
      this.#endCode(scope);
    };
  }

  #runSideBySide(
    { combinator, stages }: Step & { kind: "side by side" },
    context: Context,
  ): undefined {
    const isHeld = combinator !== "all" &&
      !(combinator === "any" && stages[0]!.fails);
    const ends = stages.map(({ name, fails }) => {
      const stage = this.#startStage(name, context);
      const end = () => {
        this.#end(stage, fails ? "failure" : "success");
        this.#endCode(stage);
      };
      return { stage, end };
    });
    for (const [index, { stage, end }] of ends.entries()) {
      if (isHeld && index > 0) {
        context.held.push(() => {
          if (isAborted(stage)) this.abortedSignals++;
          end();
        });
      } else {
        end();
      }
    }
  }

  #record(
    step: Step & { kind: "record" },
    { pipeline, orphan }: Context,
  ): undefined {
    const { of, name, pipelineName, via, outcome } = step;
    const isAmbient = of === "stage" && pipelineName === undefined;
    // Of an ended pipeline only its own stages can be recorded.
    const around = isAmbient || pipeline && !hasEnded(pipeline)
      ? pipeline
      : undefined;
    const instance = isAmbient || via === "imported"
      ? around?.instance ??
        (via === "imported" ? plainInstance(orphan, isAmbient) : via)
      : via;
    const lane = step.lane ?? around?.lane ?? LANES[instance];
    if (isAmbient && around === undefined) {
      this.#issue(instance, "orphan_stage");
    }
    const stagePipeline = pipelineName ?? around?.name ?? "unknown";
    const total = of === "pipeline"
      ? pipelineTotal(name, outcome, lane)
      : stageTotal(stagePipeline, name, outcome, lane);
    this.#count(instance, total, false);
  }

  #listen(
    { name, how, nested }: Step & { kind: "listener" },
    context: Context,
  ): undefined {
    const isBound = how === "bind" && context.canBind ||
      how === "scope" && context.pipeline !== undefined;
    for (const each of nested === undefined ? [name] : [name, nested]) {
      if (isBound) {
        const orphan = how === "bind" ? context.boundOrphan : undefined;
        const around = { ...context, orphan, isInSpan: true };
        this.#end(this.#startStage(each, around), "success");
      } else {
        const total = stageTotal(ELSEWHERE, each, "success", LANES[0]);
        this.#count(0, total, false);
      }
    }
  }

  #share(
    { names, stage: name, by }: Step & { kind: "shared" },
    context: Context,
  ): undefined {
    const { outcome, isCancelled } = CANCELLATIONS[by];
    const [first, inside] = this.#openPipeline(names[0], context);
    const stage = this.#startStage(name, inside);
    const [second] = this.#openPipeline(names[1], context);
    this.#cancel(first, outcome, isCancelled);
    for (const each of [stage, first, second]) {
      this.#end(each, "success");
      this.#endCode(each);
    }
  }

  #openPipeline(name: string, context: Context): [Pipeline, Context] {
    const pipeline = this.#startPipeline(name, context);
    return [pipeline, contextIn(pipeline, context)];
  }

  #openStage(
    name: string,
    context: Context,
    kind?: "stage" | "stream",
  ): [Scope, Context] {
    const stage = this.#startStage(name, context, "imported", kind);
    return [stage, contextOf(stage, context, true)];
  }

  /** Starts a pipeline, and counts the issue of a late one. */
  #startPipeline(
    name: string,
    { pipeline: around, orphan, isInSpan }: Context,
    { via = "imported", lane, detached = false, declares }: {
      readonly via?: Via;
      readonly lane?: string | undefined;
      readonly detached?: boolean;
      readonly declares?: readonly string[];
    } = {},
  ): Pipeline {
    const isLate = around !== undefined && hasEnded(around);
    const parent = detached || isLate ? undefined : around;
    const instance = via === "imported"
      ? parent?.instance ?? plainInstance(detached ? undefined : orphan)
      : via;
    if (isLate && !detached) this.#issue(instance, "late_pipeline");
    if (detached || isLate || !isInSpan) this.rootSpans++;
    const ownLane = lane ?? parent?.lane ?? LANES[instance];
    const pipeline: Pipeline = {
      kind: "pipeline",
      instance,
      name,
      lane: ownLane,
      total: (outcome) => pipelineTotal(name, outcome, ownLane),
      parent,
      home: undefined,
      declares,
      isRecorded: false,
      isCodeEnded: false,
      isAborted: false,
      abandoned: 0,
      abandonedIn: undefined,
    };
    this.#tree.add(pipeline);
    return pipeline;
  }

  /** Starts a stage or a stream, and counts the issues of its start. */
  #startStage(
    name: string,
    { pipeline, orphan, isInSpan }: Context,
    via: Via = "imported",
    kind: "stage" | "stream" = "stage",
  ): Scope {
    const instance = pipeline?.instance ??
      (via === "imported" ? plainInstance(orphan, true) : via);
    if (pipeline === undefined) {
      this.#issue(instance, "orphan_stage");
      if (!isInSpan) this.rootSpans++;
    } else if (hasEnded(pipeline) && pipeline.abandoned === 0) {
      this.#issue(instance, "late_stage");
    }
    if (pipeline?.declares?.includes(name) === false) {
      this.#issue(instance, "undeclared_stage");
    }
    const lane = pipeline?.lane ?? LANES[instance];
    const pipelineName = pipeline?.name ?? "unknown";
    const stage: Scope = {
      kind,
      instance,
      total: (outcome) => stageTotal(pipelineName, name, outcome, lane),
      // A scope that starts in a pipeline that has ended cannot be cancelled with it.
      parent: pipeline && !hasEnded(pipeline) ? pipeline : undefined,
      home: pipeline && !hasEnded(pipeline) ? pipeline : undefined,
      isRecorded: false,
      isCodeEnded: false,
      isAborted: false,
      abandonedIn: undefined,
    };
    this.#tree.add(stage);
    return stage;
  }

  /** Records a scope, unless it is recorded already. */
  #end(scope: Scope, outcome: Outcome, isCancelled = false): void {
    if (scope.isRecorded) return;
    scope.isRecorded = true;
    this.#count(scope.instance, scope.total(outcome), isCancelled);
    this.#leaveTree(scope);
  }

  /** Records a scope and everything open below it. Their code continues. */
  #cancel(root: Scope, outcome: Outcome, isCancelled: boolean): void {
    const below = this.#below(root);
    for (const each of below) each.isAborted = true;
    const scopes = below.filter((each) => !each.isRecorded);
    for (const each of scopes) {
      // A stream's source stops at once.
      if (each.kind === "stream") continue;
      const { parent } = each;
      const home = each.home ?? (parent?.isRecorded ? undefined : parent);
      if (home === undefined) continue;
      home.abandoned++;
      each.abandonedIn = home;
    }
    // The inner ones first, as they leave the tree.
    for (const each of scopes.reverse()) this.#end(each, outcome, isCancelled);
  }

  /** Notes that the code of a scope has ended. */
  #endCode(scope: Scope): void {
    scope.isCodeEnded = true;
    if (scope.abandonedIn !== undefined) scope.abandonedIn.abandoned--;
    scope.abandonedIn = undefined;
  }

  /** Reports a stage that the pipeline's code should have awaited. */
  #reportUnawaited(pipeline: Pipeline): void {
    // Abandoned code may be awaiting it.
    if (pipeline.abandoned > 0) return;
    const isUnawaited = [...this.#tree].some((each) =>
      each.kind === "stage" && each.parent === pipeline && !each.isRecorded
    );
    if (isUnawaited) this.#issue(pipeline.instance, "unawaited_stage");
  }

  /** Returns a scope and its descendants in the tree, outermost first. */
  #below(root: Scope): Scope[] {
    return [...this.#tree].filter((each) => isBelow(each, root));
  }

  /** Removes a recorded scope from the tree; its parent takes over its open children. */
  #leaveTree(scope: Scope): void {
    this.#tree.delete(scope);
    for (const each of this.#tree) {
      if (each.parent === scope) each.parent = scope.parent;
    }
    scope.parent = undefined;
  }

  #issue(instance: 0 | 1, issue: Issue): void {
    this.#add(instance, issuesTotal(issue));
  }

  /** Counts the total, the histogram's count, and the total of cancelled runs. */
  #count(instance: 0 | 1, total: string, isCancelled: boolean): void {
    this.#add(instance, total);
    this.#add(instance, total.replace("_total", "_duration_seconds_count"));
    if (isCancelled) {
      this.#add(instance, total.replace("_total", "_cancelled_total"));
    }
  }

  #add(instance: 0 | 1, series: string): void {
    const samples = this.samples[instance];
    samples[series] = (samples[series] ?? 0) + 1;
  }
}

/** How the reading of a stream ended. */
interface ReadEnd extends Omit<StreamEnd, "isOwn"> {
  readonly hasChunk: boolean;
  /** How it would have ended without a set outcome. */
  readonly unset: ScopeEnd;
}

const SUCCESS: ScopeEnd = { outcome: "success", isCancelled: false };

/** Returns the context of the code of a pipeline. */
function contextIn(pipeline: Pipeline, around: Context): Context {
  return {
    pipeline,
    orphan: undefined,
    boundOrphan: undefined,
    canBind: true,
    isInSpan: true,
    outer: around.pipeline && around,
    later: new Queue(),
    atEnd: around.atEnd,
    held: around.held,
  };
}

/**
 * Returns the context of the code of a stage.
 *
 * @param canBind Whether the code has the scope of the stage, by which it can bind.
 */
function contextOf(stage: Scope, around: Context, canBind: boolean): Context {
  const orphan = around.pipeline === undefined ? stage : undefined;
  return {
    ...around,
    orphan,
    boundOrphan: canBind ? orphan : around.boundOrphan,
    canBind: canBind || around.canBind,
    isInSpan: true,
  };
}

/**
 * Returns the instance of plain functions with no open pipeline around them.
 *
 * @param isStage Whether they belong to the stage even if it has ended.
 */
function plainInstance(orphan: Scope | undefined, isStage = false): 0 | 1 {
  return orphan === undefined || hasEnded(orphan) && !isStage
    ? 0
    : orphan.instance;
}

/** Returns the context of code that outlives the code around it. */
function alone(context: Context): Context {
  return { ...context, outer: undefined, later: new Queue() };
}

/** Returns the context of one of several branches. */
function fork(context: Context): Context {
  return {
    ...context,
    outer: context.outer && fork(context.outer),
    later: context.later.fork(),
    atEnd: context.atEnd.fork(),
  };
}

/** Runs the work of a queue in order. Work may add more work. */
function runAll<T>(queue: Queue<() => T>): T[] {
  const results: T[] = [];
  for (let each; (each = queue.shift()) !== undefined;) results.push(each());
  return results;
}

function hasEnded({ isRecorded, isCodeEnded }: Scope): boolean {
  return isRecorded && isCodeEnded;
}

function isAborted(scope: Scope | undefined): boolean {
  return scope !== undefined && (scope.isAborted || isAborted(scope.parent));
}

/** Whether a scope is a scope or below it. */
function isBelow(scope: Scope | undefined, root: Scope): boolean {
  return scope !== undefined &&
    (scope === root || isBelow(scope.parent, root));
}

function isHandle({ how }: PipelineStep): boolean {
  return how.endsWith("handle");
}

/** Returns the outcome of its classifiers; a declared pipeline has none. */
function classifiedOf({ how, classified }: PipelineStep): Outcome | undefined {
  return how.startsWith("declared") ? undefined : classified;
}
