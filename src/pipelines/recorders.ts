import { describeError } from "../common/describe_error.ts";
import type { Issue, IssueReporter } from "../common/issues.ts";
import {
  normalizeDuration,
  normalizeLane,
  normalizeOutcome,
  sanitizeName,
  UNKNOWN,
} from "../common/labels.ts";
import type { Outcome } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import { currentContext, type InstanceSource } from "../scopes/context.ts";
import type { Instance } from "../scopes/scope.ts";
import {
  getOrCreatePipelineSeries,
  getOrCreateStageSeries,
} from "../series/series_tree.ts";
import { currentLane } from "./pipeline.ts";

/** A run of a pipeline that was measured elsewhere. */
export interface PipelineRecord {
  /** The name of the pipeline, the label `pipeline_name`. */
  readonly pipelineName: string;
  /** The duration of the run, in seconds. */
  readonly durationSec: number;
  /** The label `status`. `error` is recorded as `failure`. */
  readonly status: Outcome | "error";
  /**
   * The label `lane`, trimmed and lower-cased.
   *
   * @default {the lane of the enclosing pipeline, or else of the instance}
   */
  readonly lane?: string | undefined;
}

/** A run of a stage that was measured elsewhere. */
export interface StageRecord {
  /**
   * The name of the pipeline, the label `pipeline_name`.
   *
   * @default {the name of the enclosing pipeline}
   */
  readonly pipelineName?: string | undefined;
  /** The name of the stage, the label `stage_name`. */
  readonly stageName: string;
  /** The duration of the run, in seconds. */
  readonly durationSec: number;
  /** The label `outcome`. `error` is recorded as `failure`. */
  readonly outcome: Outcome | "error";
  /**
   * The label `lane`, trimmed and lower-cased.
   *
   * @default {the lane of the enclosing pipeline, or else of the instance}
   */
  readonly lane?: string | undefined;
}

/** The functions that record runs that were measured elsewhere. */
interface Recorders {
  recordPipelineMetrics(record: PipelineRecord): void;
  recordStageMetrics(record: StageRecord): void;
}

/** Creates the functions that record runs that were measured elsewhere. */
export function createRecorders(source: InstanceSource): Recorders {
  return {
    recordPipelineMetrics: (record) => recordPipeline(source, record),
    recordStageMetrics: (record) => recordStage(source, record),
  };
}

function recordPipeline(source: InstanceSource, record: PipelineRecord): void {
  const instance = source.instance();
  const { registration, tree, issues, now, tracing } = instance;
  registration.ensure(issues);
  const read = readRecord(record, copyPipelineRecord);
  if (typeof read === "string") return issues.report(INVALID, read);
  const name = sanitizeName(read.pipelineName, "pipeline", issues);
  const lane = laneOf(read, currentLane(instance), issues);
  const node = tree.getOrCreatePipeline(lane, name);
  getOrCreatePipelineSeries(instance, node).record(
    normalizeOutcome(read.status, issues),
    normalizeDuration(read.durationSec, issues),
    now(),
    tracing.activeLabels(),
  );
}

function recordStage(source: InstanceSource, record: StageRecord): void {
  const read = readRecord(record, copyStageRecord);
  const isNamed = typeof read !== "string" && read.pipelineName !== undefined;
  const instance = isNamed ? source.instance() : source.context().instance;
  const { registration, tree, issues, now, tracing } = instance;
  registration.ensure(issues);
  if (typeof read === "string") return issues.report(INVALID, read);
  const stageName = sanitizeName(read.stageName, "stage", issues);
  const pipelineName = isNamed
    ? sanitizeName(read.pipelineName, "pipeline", issues)
    : currentPipelineName(stageName, issues);
  const fallback = isNamed ? currentLane(instance) : stageLane(instance);
  const lane = laneOf(read, fallback, issues);
  const node = tree.getOrCreatePipeline(lane, pipelineName);
  getOrCreateStageSeries(instance, node, stageName).record(
    normalizeOutcome(read.outcome, issues),
    normalizeDuration(read.durationSec, issues),
    now(),
    tracing.activeLabels(),
  );
}

const INVALID: Issue = "invalid_value";

/**
 * Reads a record, whose getters may throw.
 *
 * @returns The record, or a message with the reason why it is invalid.
 */
function readRecord<R extends object>(
  record: R,
  copy: (record: R) => R,
): R | string {
  if (typeof record !== "object" || record === null) {
    return `Cannot record metrics: a record must be an object, got ${typeof record}`;
  }
  try {
    return copy(record);
  } catch (error) {
    return `Cannot record metrics: reading the record threw ${
      describeError(error)
    }`;
  }
}

function copyPipelineRecord(
  { pipelineName, durationSec, status, lane }: PipelineRecord,
): PipelineRecord {
  return { pipelineName, durationSec, status, lane };
}

function copyStageRecord(
  { pipelineName, stageName, durationSec, outcome, lane }: StageRecord,
): StageRecord {
  return { pipelineName, stageName, durationSec, outcome, lane };
}

/** Returns the lane of a record, or else `fallback`. */
function laneOf(
  { lane }: { readonly lane?: string | undefined },
  fallback: string,
  issues: IssueReporter,
): string {
  return lane === undefined ? fallback : normalizeLane(lane, issues);
}

/** Returns the lane of the enclosing pipeline, open or ended, or else of the instance. */
function stageLane(instance: Instance): string {
  return currentContext()?.pipeline?.node.lane ?? instance.lane;
}

function currentPipelineName(stageName: string, issues: IssueReporter): string {
  const pipeline = currentContext()?.pipeline;
  if (pipeline !== undefined) return pipeline.node.name;
  issues.reportMisuse(
    "orphan_stage",
    `Stage ${
      quote(stageName)
    } was recorded outside a pipeline: pass its pipelineName, or record it inside pipeline()`,
  );
  return UNKNOWN;
}
