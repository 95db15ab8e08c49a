import { UnixTime } from "../common/clock.ts";
import type { IssueReporter } from "../common/issues.ts";
import { copyText, OVERFLOW } from "../common/labels.ts";
import { quote } from "../common/quote.ts";
import { LabelSet } from "../exposition/label_set.ts";
import { Series, type SeriesSource } from "./series.ts";

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
  getOrCreateSeries(): Series {
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
  getOrCreateStage(name: string): Series {
    const series = this.#stages.get(name);
    if (series !== undefined) return series;
    if (this.#tree.isFull) return this.#tree.overflow.declareStage(OVERFLOW);
    return this.#addStage(name);
  }

  /** The same, whatever the limit. */
  declareStage(name: string): Series {
    return this.#stages.get(name) ?? this.#addStage(name);
  }

  #addStage(name: string): Series {
    name = copyText(name);
    const series = this.#tree.add(
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
  getOrCreatePipeline(lane: string, name: string): PipelineNode {
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

/** A tree, and the reporter of label sets for which it has no room. */
interface LimitedTree {
  readonly tree: SeriesTree;
  readonly issues: IssueReporter;
}

/** Where the runs of a pipeline are counted: with the overflow, if there is no room. */
export function getOrCreatePipelineSeries(
  { tree, issues }: LimitedTree,
  node: PipelineNode,
): Series {
  if (node.series !== undefined) return node.series;
  if (tree.isFull) reportOverflow(issues, `Pipeline ${quote(node.name)}`);
  return node.getOrCreateSeries();
}

/**
 * Where the runs of a stage are counted: with the overflow, if there is no room.
 *
 * @param name A name that is safe.
 */
export function getOrCreateStageSeries(
  { tree, issues }: LimitedTree,
  node: PipelineNode,
  name: string,
): Series {
  if (tree.isFull && node.findStage(name) === undefined) {
    reportOverflow(
      issues,
      `Stage ${quote(name)} of pipeline ${quote(node.name)}`,
    );
  }
  return node.getOrCreateStage(name);
}

function reportOverflow(issues: IssueReporter, what: string): void {
  issues.report(
    "label_overflow",
    `${what} was recorded as "${OVERFLOW}", as there are more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`,
  );
}
