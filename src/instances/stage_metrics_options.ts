import type { IssueReport } from "../common/issues.ts";
import type { ErrorClassifier, ResultClassifier } from "../common/outcome.ts";
import { quote } from "../common/quote.ts";
import {
  checkBoolean,
  checkObject,
  checkOptionalFunction,
  checkOptionNames,
  checkOptions,
  checkString,
  copyOptions,
  type OptionChecks,
} from "../common/validate.ts";
import {
  checkBuckets,
  checkExtends,
  DEFAULT_PREFIX,
  PIPELINE_BUCKETS,
  STAGE_BUCKETS,
} from "../registry/buckets.ts";
import { checkRegistry, type MetricsRegistry } from "../registry/registry.ts";
import type { TracerProvider } from "../tracing/tracer.ts";

/** @see {@link https://prometheus.io/docs/concepts/data_model/#metric-names-and-labels | Prometheus, Metric names} */
const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** The options of {@linkcode createStageMetrics} and {@linkcode configure}. */
export interface StageMetricsOptions {
  /**
   * The registry in which the metrics are registered, of prom-client or its successor.
   *
   * @default {the global `register` of the first prom-client that the process loads}
   */
  registry?: MetricsRegistry | undefined;
  /**
   * The prefix of the names of the metrics. Other services, their dashboards and their
   * alerts share the default.
   *
   * @default {"lukhas_orchestration_"}
   */
  prefix?: string | undefined;
  /**
   * The label `lane` of pipelines that neither set one nor run inside another pipeline.
   * It separates traffic or deployments, such as `production`, `canary` and `batch`. It is
   * trimmed and lower-cased. An empty lane becomes `unknown`.
   *
   * @default {the environment variable `LUKHAS_LANE`, or else "production"}
   */
  lane?: string | undefined;
  /**
   * The upper bounds of the duration buckets of pipelines, in seconds. Under the default
   * prefix they must begin with {@linkcode PIPELINE_BUCKETS}.
   *
   * @default {the buckets that are already in the registry, or else `PIPELINE_BUCKETS`}
   */
  pipelineBuckets?: readonly number[] | undefined;
  /**
   * The upper bounds of the duration buckets of stages, in seconds. Under the default
   * prefix they must begin with {@linkcode STAGE_BUCKETS}.
   *
   * @default {the buckets that are already in the registry, or else `STAGE_BUCKETS`}
   */
  stageBuckets?: readonly number[] | undefined;
  /**
   * The maximum number of label sets of pipelines and stages, without outcomes. Further
   * label sets are recorded with `overflow` as `lane`, `pipeline_name` and `stage_name`,
   * and count as the issue `label_overflow`. Declared pipelines and their stages are always
   * recorded under their own names.
   *
   * @default {the limit of the metrics that are already in the registry, or else 2000}
   */
  cardinalityLimit?: number | undefined;
  /**
   * Returns the outcome of an error, or `undefined` to leave it to the default.
   *
   * @default {the exported `classifyError`}
   */
  classifyError?: ErrorClassifier | undefined;
  /**
   * Returns the outcome of a result, or `undefined` for `success`.
   *
   * @default {none: every result is a success}
   */
  classifyResult?: ResultClassifier | undefined;
  /**
   * Receives a report of each instrumentation issue, at most ten of each kind a second.
   * Every issue is also counted in `instrumentation_issues_total`.
   *
   * @default {one warning on the console for each kind, with the place in your code}
   */
  onIssue?: ((report: IssueReport) => void) | undefined;
  /**
   * Whether misuse throws where it happens. For tests. It is misuse to start a stage
   * without a pipeline, after its pipeline has ended, or undeclared in a pipeline that
   * declares its stages, and to start a pipeline in the context of an ended one.
   *
   * @default {false: it is recorded, and counts as an issue}
   */
  strict?: boolean | undefined;
  /**
   * The tracer provider for the spans of pipelines and stages. With `"auto"` it is the
   * provider that is registered with `@opentelemetry/api` when a pipeline starts, if any.
   * With `false` there are neither spans nor exemplars.
   *
   * @default {"auto"}
   */
  tracing?: "auto" | false | TracerProvider | undefined;
  /**
   * Returns the time, in seconds, from which durations are computed. It must be monotonic.
   *
   * @default {`performance.now() / 1000`, or the clock of fake timers while they are installed}
   */
  clock?: (() => number) | undefined;
}

/**
 * Checks options without side effects.
 *
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range.
 */
export function checkStageMetricsOptions(options: StageMetricsOptions): void {
  checkOptions(ACTION, options, OPTION_CHECKS);
  const { prefix, pipelineBuckets, stageBuckets } = options;
  if (prefix !== undefined && prefix !== DEFAULT_PREFIX) return;
  if (pipelineBuckets !== undefined) {
    checkExtends("pipelineBuckets", pipelineBuckets, PIPELINE_BUCKETS);
  }
  if (stageBuckets !== undefined) {
    checkExtends("stageBuckets", stageBuckets, STAGE_BUCKETS);
  }
}

/**
 * Copies options to merge them with others. Options that are `undefined` are left out.
 *
 * @throws {TypeError} If `options` is not an object, or if an option is unknown.
 */
export function copyStageMetricsOptions(
  options: StageMetricsOptions,
): StageMetricsOptions {
  checkObject(ACTION, options);
  checkOptionNames(ACTION, options, OPTION_CHECKS);
  return copyOptions(options, OPTION_CHECKS);
}

const ACTION = "create stage metrics";

const OPTION_CHECKS: OptionChecks<StageMetricsOptions> = {
  registry: checkOptionalRegistry,
  prefix: checkPrefix,
  lane: checkString,
  pipelineBuckets: checkOptionalBuckets,
  stageBuckets: checkOptionalBuckets,
  cardinalityLimit: checkCardinalityLimit,
  classifyError: checkOptionalFunction,
  classifyResult: checkOptionalFunction,
  onIssue: checkOptionalFunction,
  strict: checkBoolean,
  tracing: checkTracing,
  clock: checkOptionalFunction,
};

function checkOptionalRegistry(
  action: string,
  _name: string,
  registry: unknown,
): void {
  if (registry !== undefined) {
    checkRegistry(action, registry as Partial<MetricsRegistry> | null);
  }
}

function checkPrefix(action: string, name: string, prefix: unknown): void {
  checkString(action, name, prefix);
  if (prefix === undefined || METRIC_NAME.test(`${prefix}pipeline_total`)) {
    return;
  }
  throw new RangeError(
    `Cannot ${action}: a metric name must match ${METRIC_NAME.source}, got the prefix ${
      quote(prefix)
    }`,
  );
}

function checkOptionalBuckets(
  _action: string,
  name: string,
  buckets: unknown,
): void {
  if (buckets !== undefined) checkBuckets(name, buckets as readonly number[]);
}

function checkTracing(action: string, name: string, tracing: unknown): void {
  if (tracing === undefined || tracing === "auto" || tracing === false) return;
  const { getTracer } = Object(tracing) as Partial<TracerProvider>;
  if (typeof getTracer === "function") return;
  throw new TypeError(
    `Cannot ${action}: ${name} must be "auto", false or a TracerProvider with a method getTracer(), got ${typeof tracing}`,
  );
}

function checkCardinalityLimit(
  action: string,
  name: string,
  limit: unknown,
): void {
  if (limit === undefined) return;
  if (typeof limit !== "number") {
    throw new TypeError(
      `Cannot ${action}: ${name} must be a number of label sets, got ${typeof limit}`,
    );
  }
  if (limit >= 1 && (Number.isInteger(limit) || limit === Infinity)) return;
  throw new RangeError(
    `Cannot ${action}: ${name} must be an integer of at least 1, or Infinity, got ${limit}`,
  );
}
