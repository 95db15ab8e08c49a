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
   * Where the metrics are registered.
   *
   * @default {prom-client's global `register`, the first one that the process loads}
   */
  registry?: MetricsRegistry | undefined;
  /**
   * What the names of the metrics begin with. Dashboards of other services share
   * the default.
   *
   * @default {"lukhas_orchestration_"}
   */
  prefix?: string | undefined;
  /**
   * The label `lane` where no pipeline says one, trimmed and lower-cased.
   *
   * @default {the environment variable `LUKHAS_LANE`, or else `"production"`}
   */
  lane?: string | undefined;
  /**
   * Upper bounds of the duration buckets of pipelines, in seconds. Under the
   * default prefix they may only go on from the standard ones.
   *
   * @default {those the registry has already, or else PIPELINE_BUCKETS}
   */
  pipelineBuckets?: readonly number[] | undefined;
  /**
   * Upper bounds of the duration buckets of stages, in seconds. Under the default
   * prefix they may only go on from the standard ones.
   *
   * @default {those the registry has already, or else STAGE_BUCKETS}
   */
  stageBuckets?: readonly number[] | undefined;
  /**
   * How many label sets there may be, of pipelines and of stages together, their
   * outcomes aside. What is new beyond is recorded under `overflow` in all three of
   * `lane`, `pipeline_name` and `stage_name`, with the issue `label_overflow`. Declared
   * pipelines and their stages always have their place.
   *
   * @default {that of the metrics that the registry has already, or else 2000}
   */
  cardinalityLimit?: number | undefined;
  /**
   * Reads an error as an outcome; what it leaves open by `undefined` is read by
   * the default.
   *
   * @default {the exported `classifyError`}
   */
  classifyError?: ErrorClassifier | undefined;
  /**
   * Reads a value as an outcome; `undefined` means `success`.
   *
   * @default {none: what returns is a success}
   */
  classifyResult?: ResultClassifier | undefined;
  /**
   * Gets a report of each instrumentation issue, which is also counted: of each kind
   * at most ten a second.
   *
   * @default {one warning on the console for each kind, with the place in your code}
   */
  onIssue?: ((report: IssueReport) => void) | undefined;
  /**
   * Throws at the place of a misuse: where a stage starts without a pipeline, after
   * its pipeline has ended, or undeclared in a pipeline that declares its stages, and
   * where a pipeline starts in the context of one that has ended. For tests.
   *
   * @default {false: it runs, is recorded, and counts as an issue}
   */
  strict?: boolean | undefined;
  /**
   * Where the spans of pipelines and stages go: to the provider that is given, or with
   * `"auto"` to the one that is registered with `@opentelemetry/api` when a pipeline
   * starts, if there is one. With `false` there are neither spans nor exemplars.
   *
   * @default {"auto"}
   */
  tracing?: "auto" | false | TracerProvider | undefined;
  /**
   * Measures durations, in seconds; must not run backwards.
   *
   * @default {performance.now() / 1000, or the clock of fake timers while there are some}
   */
  clock?: (() => number) | undefined;
}

/**
 * Checks options without touching anything.
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
 * Copies options that are to be merged with others. Those that are `undefined` are left
 * out.
 *
 * @throws {TypeError} If it is not an object, or if an option is unknown.
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
    `Cannot ${action}: ${name} must be a whole number from 1 on, or Infinity, got ${limit}`,
  );
}
