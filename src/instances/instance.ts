import { monotonicSeconds } from "../common/clock.ts";
import { IssueReporter } from "../common/issues.ts";
import { laneFromEnv, normalizeLane } from "../common/labels.ts";
import {
  DEFAULT_PREFIX,
  PIPELINE_BUCKETS,
  STAGE_BUCKETS,
} from "../registry/buckets.ts";
import {
  DEFAULT_CARDINALITY_LIMIT,
  findRegistration,
  keepRegistration,
  Registration,
} from "../registry/registration.ts";
import { defaultRegistry, type MetricsRegistry } from "../registry/registry.ts";
import type { Instance } from "../scopes/scope.ts";
import { ScopeTracer } from "../tracing/tracer.ts";
import {
  checkStageMetricsOptions,
  type StageMetricsOptions,
} from "./stage_metrics_options.ts";

/** The options of {@linkcode createInstance}. */
interface CreateInstanceOptions {
  /**
   * Whether a conflict with the registry throws or is reported as an issue. `"report"` is
   * for the first use of the default instance, which must not break the measured code. It
   * expects options that were checked before.
   *
   * @default {"throw"}
   */
  readonly onConflict?: "throw" | "report" | undefined;
}

/**
 * Creates an instance, and registers its metrics.
 *
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or contradicts the metrics that are
 * already in the registry.
 * @throws {Error} If the registry has a foreign metric with the name of one of the metrics.
 */
export function createInstance(
  options: StageMetricsOptions,
  { onConflict = "throw" }: CreateInstanceOptions = {},
): Instance {
  if (onConflict === "throw") checkStageMetricsOptions(options);
  const registration = findOrCreateRegistration(options);
  const conflict = registration.findConflict(options);
  if (onConflict === "throw") {
    if (conflict !== undefined) throw new RangeError(conflict);
    registration.register();
  }
  registration.use(options);
  const instance = buildInstance(registration, options);
  if (onConflict === "report") {
    const { issues } = instance;
    if (conflict !== undefined) issues.report("registry_conflict", conflict);
    registration.ensure(issues);
  }
  return instance;
}

/**
 * Creates an instance that declares pipelines and records nothing. An instance with other
 * options replaces its registration. It reports no issues.
 */
export function createDraftInstance(options: StageMetricsOptions): Instance {
  const registration = findOrCreateRegistration(options);
  const instance = buildInstance(registration, { ...options, onIssue() {} });
  registration.ensure(instance.issues);
  return instance;
}

function findOrCreateRegistration(options: StageMetricsOptions): Registration {
  const { registry = defaultRegistry, prefix = DEFAULT_PREFIX } = options;
  const existing = findRegistration(registry, prefix);
  if (existing !== undefined) {
    const isKept = existing.isInUse ||
      existing.findConflict(options) === undefined;
    if (isKept) return existing;
    existing.remove();
  }
  return createRegistration(registry, prefix, options);
}

function createRegistration(
  registry: MetricsRegistry,
  prefix: string,
  options: StageMetricsOptions,
): Registration {
  const {
    pipelineBuckets = PIPELINE_BUCKETS,
    stageBuckets = STAGE_BUCKETS,
    cardinalityLimit = DEFAULT_CARDINALITY_LIMIT,
    clock = monotonicSeconds,
  } = options;
  return new Registration(
    registry,
    { prefix, pipelineBuckets, stageBuckets, cardinalityLimit, clock },
  );
}

function buildInstance(
  registration: Registration,
  options: StageMetricsOptions,
): Instance {
  keepRegistration(registration);
  const { issueCounts, tree, now } = registration;
  const issues = new IssueReporter(issueCounts, options);
  return {
    registration,
    tree,
    issues,
    lane: options.lane === undefined
      ? laneFromEnv(issues)
      : normalizeLane(options.lane, issues),
    now,
    classifyError: options.classifyError,
    classifyResult: options.classifyResult,
    tracing: new ScopeTracer(options.tracing ?? "auto", issues),
  };
}
