import { UnixTime } from "../common/clock.ts";
import type { IssueReporter } from "../common/issues.ts";
import { copyText, OVERFLOW } from "../common/labels.ts";
import { quote } from "../common/quote.ts";
import { LabelSet } from "../exposition/label_set.ts";
import { Series, type SeriesSource } from "./series.ts";

/** The series of a pipeline and its stages. */
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

  /** The series of the pipeline itself, if it exists. */
  get series(): Series | undefined {
    return this.#series;
  }

  /**
   * Returns the series of the pipeline itself. The first run creates it: a pipeline has
   * none if only its stages are recorded.
   */
  getOrCreateSeries(): Series {
    if (this.#series !== undefined) return this.#series;
    if (this.#tree.isFull) return this.#tree.overflow.declareSeries();
    return this.declareSeries();
  }

  /** Returns the series of the pipeline itself, created regardless of the limit. */
  declareSeries(): Series {
    return this.#series ??= this.#tree.createPipelineSeries({
      lane: this.lane,
      pipeline_name: this.name,
    });
  }

  /** Returns the series of a stage, if it exists. */
  findStage(name: string): Series | undefined {
    return this.#stages.get(name);
  }

  /** Returns the series of a stage by its sanitized name. */
  getOrCreateStage(name: string): Series {
    const series = this.#stages.get(name);
    if (series !== undefined) return series;
    if (this.#tree.isFull) return this.#tree.overflow.declareStage(OVERFLOW);
    return this.#addStage(name);
  }

  /** Returns the series of a stage, created regardless of the limit. */
  declareStage(name: string): Series {
    return this.#stages.get(name) ?? this.#addStage(name);
  }

  #addStage(name: string): Series {
    name = copyText(name);
    const series = this.#tree.createStageSeries({
      lane: this.lane,
      pipeline_name: this.name,
      stage_name: name,
    });
    this.#stages.set(name, series);
    return series;
  }

  /** Returns the series of all stages by name. */
  stages(): ReadonlyMap<string, Series> {
    return this.#stages;
  }
}

/**
 * All series of one registry and prefix: lane → pipeline → stage → outcome.
 *
 * Lookups in nested maps are ten times as fast as joining labels to a key, and label sets
 * cannot clash.
 */
export class SeriesTree implements SeriesSource {
  readonly pipelineBounds: Float64Array;
  readonly stageBounds: Float64Array;
  readonly #unixTime = new UnixTime();
  readonly #lanes = new Map<string, Map<string, PipelineNode>>();
  readonly #limit: number;
  #size = 0;

  /** @param limit The maximum number of series of pipelines and stages. */
  constructor(
    pipelineBuckets: readonly number[],
    stageBuckets: readonly number[],
    limit: number = Infinity,
  ) {
    this.pipelineBounds = Float64Array.from(pipelineBuckets);
    this.stageBounds = Float64Array.from(stageBuckets);
    this.#limit = limit;
  }

  /** Whether the limit is reached: the overflow then replaces new series. */
  get isFull(): boolean {
    return this.#size >= this.#limit;
  }

  /** The number of series. */
  get size(): number {
    return this.#size;
  }

  /** The pipeline that replaces all pipelines above the limit. */
  get overflow(): PipelineNode {
    return this.declarePipeline(OVERFLOW, OVERFLOW);
  }

  /** Removes all series. */
  clear(): void {
    this.#lanes.clear();
    this.#size = 0;
  }

  /** Creates a series for the node of a pipeline, and counts it. */
  createPipelineSeries(labels: LabelSet["values"]): Series {
    this.#size++;
    return new Series(
      new LabelSet(labels),
      this.pipelineBounds,
      this.#unixTime,
    );
  }

  /** Creates a series for the node of a stage's pipeline, and counts it. */
  createStageSeries(labels: LabelSet["values"]): Series {
    this.#size++;
    return new Series(new LabelSet(labels), this.stageBounds, undefined);
  }

  /** Returns the node of a pipeline, if it exists. */
  findPipeline(lane: string, name: string): PipelineNode | undefined {
    return this.#lanes.get(lane)?.get(name);
  }

  /**
   * Returns the node of a pipeline by its sanitized lane and name. Above the limit, a new
   * node is not stored, and returns the series of the overflow.
   */
  getOrCreatePipeline(lane: string, name: string): PipelineNode {
    return this.findPipeline(lane, name) ??
      (this.isFull
        ? new PipelineNode(this, lane, name)
        : this.declarePipeline(lane, name));
  }

  /** Returns the node of a pipeline, created regardless of the limit. */
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

  /** Returns the nodes of all pipelines. */
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

/** A tree, and the reporter of overflows. */
interface LimitedTree {
  readonly tree: SeriesTree;
  readonly issues: IssueReporter;
}

/** Returns the series of a pipeline, or reports and returns the overflow. */
export function getOrCreatePipelineSeries(
  { tree, issues }: LimitedTree,
  node: PipelineNode,
): Series {
  if (node.series !== undefined) return node.series;
  if (tree.isFull) reportOverflow(issues, `Pipeline ${quote(node.name)}`);
  return node.getOrCreateSeries();
}

/**
 * Returns the series of a stage, or reports and returns the overflow.
 *
 * @param name The sanitized name of the stage.
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

function reportOverflow(issues: IssueReporter, subject: string): void {
  issues.report(
    "label_overflow",
    `${subject} was recorded as "${OVERFLOW}" because there are more label sets than the cardinalityLimit: take names and lanes from a fixed set, not from data`,
  );
}
