import { UnixTime } from "./clock.ts";
import type { Exemplar } from "./exemplar.ts";
import { LabelSet } from "./label_set.ts";
import { copyText, OVERFLOW } from "./labels.ts";
import type { OutcomeLabel } from "./outcome.ts";

/** What one outcome of a label set has counted. */
export class Ending {
  /** How many ended so. */
  total = 0;
  /** How many of these a caller or a consumer had given up. */
  cancelled = 0;
  /** When the last pipeline ended so, in Unix seconds; 0 before the first. */
  lastEnd = 0;
  /**
   * Observations by bucket, the one of `+Inf` included and none added up, then
   * the sum of what was observed. It exists from the first observation.
   */
  histogram: Float64Array | undefined;
  /** Of each bucket the last observation that has a trace, once there is one. */
  exemplars: Map<number, Exemplar> | undefined;
}

/** What a series shows. */
export interface SeriesView {
  /** Its outcome aside. */
  readonly labels: LabelSet;
  readonly success: Ending;
  readonly failure: Ending;
  readonly timeout: Ending;
  readonly unknown: Ending | undefined;
  /** How many are running. */
  readonly running: number;
  /** The summed age of those running, in seconds. */
  ageAt(now: number): number;
}

/** What metrics are made of: a tree, or what one held at some instant. */
export interface SeriesSource {
  /** Upper bounds in seconds, without `+Inf`. */
  readonly pipelineBounds: Float64Array;
  /** Upper bounds in seconds, without `+Inf`. */
  readonly stageBounds: Float64Array;
  /** The series of pipelines. */
  pipelineSeries(): Iterable<SeriesView>;
  /** The series of stages. */
  stageSeries(): Iterable<SeriesView>;
}

/**
 * One label set, without its outcome: what runs under it, and how it ended.
 *
 * A scope looks its series up once, when it starts, and then holds it.
 */
export class Series implements SeriesView {
  readonly labels: LabelSet;
  readonly success: Ending = new Ending();
  readonly failure: Ending = new Ending();
  readonly timeout: Ending = new Ending();
  /** Only recorders can be given what is no outcome. */
  unknown: Ending | undefined;
  running = 0;
  /** When the first of those running started: sums of large times are inexact. */
  #origin = 0;
  /** The sum of how long after that those running started. */
  #sinceOrigin = 0;
  readonly #bounds: Float64Array;
  /** Of pipelines alone it is kept when they ended. */
  readonly #unixTime: UnixTime | undefined;

  constructor(
    labels: LabelSet,
    bounds: Float64Array,
    unixTime: UnixTime | undefined,
  ) {
    this.labels = labels;
    this.#bounds = bounds;
    this.#unixTime = unixTime;
    this.success.histogram = emptyHistogram(bounds);
  }

  /** One more is running, since `now` in seconds. */
  start(now: number): void {
    if (this.running++ === 0) this.#origin = now;
    else this.#sinceOrigin += now - this.#origin;
  }

  /** One that was running since `start` runs no more. */
  stop(start: number): void {
    this.running--;
    // Starting over at 0 when nothing runs keeps rounding errors from adding up.
    this.#sinceOrigin = this.running === 0
      ? 0
      : this.#sinceOrigin - (start - this.#origin);
  }

  ageAt(now: number): number {
    const age = this.running * (now - this.#origin) - this.#sinceOrigin;
    return Math.max(0, age);
  }

  /** The sum of the times at which those running started, in seconds, as it travels. */
  get startSum(): number {
    return this.running * this.#origin + this.#sinceOrigin;
  }

  set startSum(sum: number) {
    this.#origin = 0;
    this.#sinceOrigin = sum;
  }

  /**
   * Counts one that ended so at `now`, after so many seconds.
   *
   * @param traceLabels By what its trace is found, if there is one.
   *
   * All of it is here, as a number that is handed on to a function is a number
   * that is allocated.
   */
  record(
    outcome: OutcomeLabel,
    seconds: number,
    now: number,
    traceLabels: Exemplar["labelSet"] | undefined,
  ): Ending {
    const bounds = this.#bounds;
    const ending = this.ending(outcome);
    const histogram = ending.histogram ??= emptyHistogram(bounds);
    // So few bounds, most hits among the first: a linear search beats others.
    let bucket = 0;
    while (bucket < bounds.length && seconds > bounds[bucket]!) bucket++;
    histogram[bucket]!++;
    if (seconds !== Infinity) histogram[bounds.length + 1]! += seconds;
    ending.total++;
    if (this.#unixTime !== undefined) ending.lastEnd = this.#unixTime.of(now);
    if (traceLabels !== undefined) {
      ending.exemplars ??= new Map();
      ending.exemplars.set(bucket, {
        labelSet: traceLabels,
        value: seconds,
        timestamp: Date.now() / 1000,
      });
    }
    return ending;
  }

  /** What an outcome has counted. */
  ending(outcome: OutcomeLabel): Ending {
    switch (outcome) {
      case "success":
        return this.success;
      case "failure":
        return this.failure;
      case "timeout":
        return this.timeout;
      case "unknown":
        return this.unknown ??= new Ending();
    }
  }
}

/** The place of a pipeline in the tree: its own series, and its stages'. */
export class PipelineNode {
  readonly lane: string;
  readonly name: string;
  readonly #tree: SeriesTree;
  readonly #stages = new Map<string, Series>();
  #series: Series | undefined;

  constructor(tree: SeriesTree, lane: string, name: string) {
    this.#tree = tree;
    this.lane = lane;
    this.name = name;
  }

  /** The series of the pipeline itself, if it has any. */
  get series(): Series | undefined {
    return this.#series;
  }

  /**
   * The series of the pipeline itself. It comes into being when a run starts or is
   * recorded: a stage that is recorded for a pipeline says nothing about its runs.
   */
  startSeries(): Series {
    if (this.#series !== undefined) return this.#series;
    if (this.#tree.isFull) return this.#tree.overflow.declareSeries();
    return this.declareSeries();
  }

  /** The same, whatever the limit. */
  declareSeries(): Series {
    return this.#series ??= this.#tree.add(
      new Series(
        new LabelSet({ lane: this.lane, pipeline_name: this.name }),
        this.#tree.pipelineBounds,
        this.#tree.unixTime,
      ),
    );
  }

  /** The series of a stage by name, if it is known. */
  findStage(name: string): Series | undefined {
    return this.#stages.get(name);
  }

  /** The series of a stage by a name that is safe. */
  stage(name: string): Series {
    const series = this.#stages.get(name);
    if (series !== undefined) return series;
    if (this.#tree.isFull) return this.#tree.overflow.declareStage(OVERFLOW);
    return this.declareStage(name);
  }

  /** The same, whatever the limit. */
  declareStage(name: string): Series {
    let series = this.#stages.get(name);
    if (series === undefined) {
      name = copyText(name);
      series = this.#tree.add(
        new Series(
          new LabelSet({
            lane: this.lane,
            pipeline_name: this.name,
            stage_name: name,
          }),
          this.#tree.stageBounds,
          undefined,
        ),
      );
      this.#stages.set(name, series);
    }
    return series;
  }

  /** The series of every stage that is known, by its name. */
  stages(): ReadonlyMap<string, Series> {
    return this.#stages;
  }
}

/**
 * All series of one registry and prefix: lane → pipeline → stage → outcome.
 *
 * Nested maps find a series ten times as fast as a key joined of its labels
 * would, and no two label sets can ever share a key.
 */
export class SeriesTree implements SeriesSource {
  readonly pipelineBounds: Float64Array;
  readonly stageBounds: Float64Array;
  readonly unixTime: UnixTime = new UnixTime();
  readonly #lanes = new Map<string, Map<string, PipelineNode>>();
  readonly #limit: number;
  #size = 0;

  /** @param limit How many series there may be, those of pipelines and of stages. */
  constructor(
    pipelineBuckets: readonly number[],
    stageBuckets: readonly number[],
    limit: number = Infinity,
  ) {
    this.pipelineBounds = Float64Array.from(pipelineBuckets);
    this.stageBounds = Float64Array.from(stageBuckets);
    this.#limit = limit;
  }

  /** Whether what is new goes to the overflow, from now on for ever. */
  get isFull(): boolean {
    return this.#size >= this.#limit;
  }

  /** How many series there are. */
  get size(): number {
    return this.#size;
  }

  /** The pipeline that stands for all there is no room for. */
  get overflow(): PipelineNode {
    return this.declarePipeline(OVERFLOW, OVERFLOW);
  }

  /** Forgets every series. */
  clear(): void {
    this.#lanes.clear();
    this.#size = 0;
  }

  /** Counts a new series. */
  add(series: Series): Series {
    this.#size++;
    return series;
  }

  /** The node of a pipeline, if it is known. */
  findPipeline(lane: string, name: string): PipelineNode | undefined {
    return this.#lanes.get(lane)?.get(name);
  }

  /**
   * The node of a pipeline by a lane and a name that are safe. One for which there is
   * no room is not kept: it knows its name, and its series are the overflow's.
   */
  pipeline(lane: string, name: string): PipelineNode {
    return this.findPipeline(lane, name) ??
      (this.isFull
        ? new PipelineNode(this, lane, name)
        : this.declarePipeline(lane, name));
  }

  /** The same, whatever the limit. */
  declarePipeline(lane: string, name: string): PipelineNode {
    let node = this.findPipeline(lane, name);
    if (node === undefined) {
      node = new PipelineNode(this, copyText(lane), copyText(name));
      let pipelines = this.#lanes.get(lane);
      if (pipelines === undefined) {
        pipelines = new Map();
        this.#lanes.set(node.lane, pipelines);
      }
      pipelines.set(node.name, node);
    }
    return node;
  }

  /** Every pipeline that is known. */
  *pipelines(): Generator<PipelineNode> {
    for (const pipelines of this.#lanes.values()) yield* pipelines.values();
  }

  *pipelineSeries(): Generator<Series> {
    for (const { series } of this.pipelines()) {
      if (series !== undefined) yield series;
    }
  }

  *stageSeries(): Generator<Series> {
    for (const node of this.pipelines()) yield* node.stages().values();
  }
}

function emptyHistogram(bounds: Float64Array): Float64Array {
  return new Float64Array(bounds.length + 2);
}
