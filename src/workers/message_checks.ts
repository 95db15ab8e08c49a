import { zeroIssues } from "../common/issues.ts";
import { OUTCOME_LABELS } from "../common/outcome.ts";
import { SUFFIXES } from "../exposition/open_metrics_names.ts";
import {
  beginsWith,
  DEFAULT_PREFIX,
  PIPELINE_BUCKETS,
  STAGE_BUCKETS,
} from "../registry/buckets.ts";
import type { ForeignDelta } from "./foreign_replica.ts";
import type { Item, Message } from "./message.ts";
import type { OwnDelta } from "./own_replica.ts";
import {
  arrayOf,
  type Check,
  either,
  fields,
  isBoolean,
  isFiniteNumber,
  matching,
  oneOf,
  optional,
  recordOf,
  text,
  tuple,
  whole,
} from "./shape.ts";

/** The maximum number of registries of a worker. */
const MAX_REGISTRIES = 64;

/** The maximum number of ids in a message. */
const MAX_IDS = 10_000;

/** The maximum length of a label value or HELP text, in UTF-16 code units. */
const MAX_TEXT = 64 * 1024;

/** The maximum length of a pipeline, stage or lane name, in UTF-16 code units. */
const MAX_NAME = 128;

const isId = matching(
  /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
);
const isMetricName = matching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,999}$/);
const isPrefix = matching(/^(?:[a-zA-Z_:][a-zA-Z0-9_:]{0,799})?$/);
const isLabelName = matching(/^[a-zA-Z_][a-zA-Z0-9_]{0,999}$/);
const isName = text(MAX_NAME);
const isText = text(MAX_TEXT);
const isCount = whole();
const isDuration: Check = (value) => isFiniteNumber(value) && value >= 0;
const isUnixTime = isDuration;
const isNull = oneOf(null);
/** Checks a number as `packNumber` returns it. */
const isPackedNumber = either(
  isFiniteNumber,
  oneOf("NaN", "Infinity", "-Infinity"),
);
const isPackedSum = either(isDuration, oneOf("Infinity"));
/** The labels of a registry: one named `le` would break all histograms. */
const isLabels = recordOf(
  (name) => isLabelName(name) && name !== "le",
  isText,
);

const isExemplar = fields({
  labelSet: recordOf(isLabelName, text(MAX_NAME)),
  value: isPackedNumber,
  timestamp: isFiniteNumber,
});

/** Checks a `StatsDelta`. */
const isStats = tuple(
  [
    whole(OUTCOME_LABELS.length),
    isCount,
    isCount,
    isUnixTime,
    arrayOf(tuple([isCount, either(isNull, isExemplar)])),
  ],
  isPackedSum,
);

/** Checks a `SeriesDelta`. */
const isSeries = tuple([
  isName,
  isName,
  either(isNull, isName),
  isCount,
  isFiniteNumber,
  arrayOf(isStats),
]);

const isOwnDelta = fields({
  prefix: isPrefix,
  labels: isLabels,
  pipelineBuckets: areBounds,
  stageBuckets: areBounds,
  now: isFiniteNumber,
  issues: recordOf(oneOf(...Object.keys(zeroIssues())), isCount),
  series: arrayOf(isSeries),
});

const isDescription = fields({
  help: isText,
  type: oneOf(
    "counter",
    "gauge",
    "histogram",
    "summary",
    "untyped",
    "unknown",
    "info",
    "stateset",
    "gaugehistogram",
  ),
  aggregator: oneOf(
    "sum",
    "first",
    "min",
    "max",
    "average",
    "omit",
    "earliest",
    "freshest",
  ),
});

const isLabelValue = either(isText, isFiniteNumber);

/** Checks a `SampleDelta`. */
const isSample = tuple([
  isCount,
  optional(isPackedNumber),
  optional(either(isNull, isExemplar)),
  optional(either(isNull, isMetricName)),
  optional(either(
    arrayOf(tuple([isLabelName, isLabelValue])),
    recordOf(isLabelName, isLabelValue),
  )),
]);

const isForeignDelta = fields({
  name: isMetricName,
  description: either(isNull, isDescription),
  changes: arrayOf(isSample),
});

const isItemShape = fields({
  delta: fields({
    registry: whole(MAX_REGISTRIES),
    own: optional(
      arrayOf((value) =>
        isOwnDelta(value) && hasStandardBuckets(value as OwnDelta) &&
        fitsBuckets(value as OwnDelta)
      ),
    ),
    foreign: optional(
      arrayOf((value) =>
        isForeignDelta(value) && hasOwnSamples(value as ForeignDelta)
      ),
    ),
  }),
  worker: optional(either(isNull, isId)),
});

const isWorkerState = fields({
  id: isId,
  version: isCount,
  hasLeft: isBoolean,
  unresponsiveForMs: either(isNull, isDuration),
});

/** The check of each kind of message. */
const MESSAGES: { readonly [K in Message["kind"]]: Check } = {
  join: fields({}),
  present: fields({ hasJoined: isBoolean }),
  syncRequest: fields({ target: isId }),
  fullState: fields({
    to: isId,
    workers: atMost(MAX_IDS, isWorkerState),
    retired: atMost(MAX_IDS, tuple([isId, isFiniteNumber])),
    hasDroppedIds: isBoolean,
  }),
  collect: fields({ round: isCount, timeoutMs: isDuration }),
  delta: fields({ version: isCount }),
  ack: fields({ to: isId, round: isCount, version: isCount }),
  suspect: fields({ ids: atMost(MAX_IDS, isId) }),
  leave: fields({}),
};

/** Returns whether a value is a well-formed worker id. */
export function isWorkerId(value: unknown): value is string {
  return isId(value);
}

/** Returns whether a value is a valid message. */
export function isMessage(value: unknown): value is Message {
  const kind = (value as Partial<Message> | null)?.kind;
  return typeof kind === "string" && Object.hasOwn(MESSAGES, kind) &&
    MESSAGES[kind](value);
}

/** Returns whether a value is a valid item of a message. */
export function isItem(value: unknown): value is Item {
  return isItemShape(value);
}

/** Returns whether each histogram and exemplar fits the declared buckets. */
function fitsBuckets(
  { pipelineBuckets, stageBuckets, series }: OwnDelta,
): boolean {
  return series.every(([, , stage, , , outcomes]) => {
    const { length } = stage === null ? pipelineBuckets : stageBuckets;
    return outcomes.every(([, , , , exemplars, ...histogram]) =>
      (histogram.length === 0 || histogram.length === length + 2) &&
      histogram.slice(0, -1).every(isCount) &&
      exemplars.every(([bucket]) => bucket <= length)
    );
  });
}

/** Returns whether it has the buckets that every worker has under the default prefix. */
function hasStandardBuckets(
  { prefix, pipelineBuckets, stageBuckets }: OwnDelta,
): boolean {
  return prefix !== DEFAULT_PREFIX ||
    beginsWith(pipelineBuckets, PIPELINE_BUCKETS) &&
      beginsWith(stageBuckets, STAGE_BUCKETS);
}

/** Returns whether no sample is named like one of another metric. */
function hasOwnSamples({ name, description, changes }: ForeignDelta): boolean {
  const suffixes = SUFFIXES[description?.type ?? ""] ?? [];
  const names = new Set([name, ...suffixes.map((suffix) => name + suffix)]);
  return changes.every(([, , , sample]) =>
    sample === undefined || sample === null || names.has(sample)
  );
}

function areBounds(value: unknown): boolean {
  return Array.isArray(value) && value.length > 0 &&
    value.every((bound, index) =>
      isFiniteNumber(bound) && bound >= 0 &&
      (index === 0 || bound > value[index - 1])
    );
}

function atMost(length: number, check: Check): Check {
  return (value) =>
    Array.isArray(value) && value.length <= length && value.every(check);
}
