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
import { ambientLane } from "./pipeline.ts";

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
    recordPipelineMetrics(record) {
      const instance = source.instance();
      const { registration, tree, issues, now, tracing } = instance;
      registration.ensure(issues);
      const read = readRecord(record, copyPipelineRecord);
      if (typeof read === "string") return issues.report(INVALID, read);
      const name = sanitizeName(read.pipelineName, "pipeline", issues);
      const lane = toRecordLane(read, ambientLane(instance), issues);
      const node = tree.pipeline(lane, name);
      getOrCreatePipelineSeries(instance, node).record(
        normalizeOutcome(read.status, issues),
        normalizeDuration(read.durationSec, issues),
        now(),
        tracing.activeLabels(),
      );
    },
    recordStageMetrics(record) {
      const read = readRecord(record, copyStageRecord);
      const named = typeof read !== "string" &&
        read.pipelineName !== undefined;
      const instance = named ? source.instance() : source.context().instance;
      const { registration, tree, issues, now, tracing } = instance;
      registration.ensure(issues);
      if (typeof read === "string") return issues.report(INVALID, read);
      const stageName = sanitizeName(read.stageName, "stage", issues);
      const pipelineName = named
        ? sanitizeName(read.pipelineName, "pipeline", issues)
        : ambientName(stageName, issues);
      const fallback = named ? ambientLane(instance) : stageLane(instance);
      const lane = toRecordLane(read, fallback, issues);
      const node = tree.pipeline(lane, pipelineName);
      getOrCreateStageSeries(instance, node, stageName).record(
        normalizeOutcome(read.outcome, issues),
        normalizeDuration(read.durationSec, issues),
        now(),
        tracing.activeLabels(),
      );
    },
  };
}

const INVALID: Issue = "invalid_value";

/**
 * Reads a record, whose getters may throw.
 *
 * @returns The record, or a message that says why there is none.
 */
function readRecord<R extends object>(
  record: R,
  copy: (record: R) => R,
): R | string {
  if (typeof record !== "object" || record === null) {
    return `A record must be an object, got ${typeof record}: nothing was recorded`;
  }
  try {
    return copy(record);
  } catch (error) {
    return `A record could not be read, it threw ${
      describeError(error)
    }: nothing was recorded`;
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

/** @param fallback The lane where the record has none. */
function toRecordLane(
  { lane }: { readonly lane?: string | undefined },
  fallback: string,
  issues: IssueReporter,
): string {
  return lane === undefined ? fallback : normalizeLane(lane, issues);
}

/** Returns the lane of the ambient pipeline's stages, also if that has ended. */
function stageLane(instance: Instance): string {
  return currentContext()?.pipeline?.node.lane ?? instance.lane;
}

function ambientName(stageName: string, issues: IssueReporter): string {
  const pipeline = currentContext()?.pipeline;
  if (pipeline !== undefined) return pipeline.node.name;
  issues.reportMisuse(
    "orphan_stage",
    `Stage ${
      quote(stageName)
    } was recorded with no pipeline around it: give its pipelineName, or record it inside of pipeline()`,
  );
  return UNKNOWN;
}
