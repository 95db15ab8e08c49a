import type { IssueReporter } from "./issues.ts";
import type { OutcomeLabel } from "./outcome.ts";

/** The value of a label about which nothing usable is known. */
export const UNKNOWN = "unknown";

/** The value of all labels of what exceeds the cardinality limit. */
export const OVERFLOW = "overflow";

const DEFAULT_LANE = "production";
const LANE_VARIABLE = "LUKHAS_LANE";

/** In UTF-16 code units; what is longer is cut. */
const MAX_NAME_LENGTH = 128;

const ENCODER = new TextEncoder();
// Without this, it would leave out a U+FEFF at the beginning.
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** Whose name is being read, for the message of an issue. */
export type NameKind = "pipeline" | "stage" | "lane";

/** Makes the name of a pipeline or a stage safe to be a label's value. */
export function sanitizeName(
  value: unknown,
  kind: NameKind,
  issues: IssueReporter,
): string {
  if (typeof value !== "string") {
    issues.report(
      "invalid_name",
      `A ${kind} name must be a string, got ${typeof value}: recorded as "${UNKNOWN}"`,
    );
    return UNKNOWN;
  }
  if (value === "") {
    issues.report(
      "invalid_name",
      `A ${kind} name must not be empty: recorded as "${UNKNOWN}"`,
    );
    return UNKNOWN;
  }
  if (value.length > MAX_NAME_LENGTH) {
    issues.report(
      "invalid_name",
      `A ${kind} name must not exceed ${MAX_NAME_LENGTH} characters, got ${value.length}: cut`,
    );
  }
  return toLabelValue(value);
}

/** Makes text safe to be a label's value: what a name is recorded as. */
export function toLabelValue(name: string): string {
  // Two lone surrogates would both be encoded as U+FFFD: one series, not two.
  return truncate(name).toWellFormed();
}

/** Copies text: what was cut out of a longer one may keep all of that in memory. */
export function copyText(text: string): string {
  return DECODER.decode(ENCODER.encode(text));
}

/** Makes a lane safe to be a label's value. */
export function normalizeLane(value: unknown, issues: IssueReporter): string {
  if (typeof value !== "string") return sanitizeName(value, "lane", issues);
  const lane = value.trim().toLowerCase();
  return lane === "" ? UNKNOWN : sanitizeName(lane, "lane", issues);
}

/** Makes a status or an outcome safe to be a label's value. */
export function normalizeOutcome(
  value: unknown,
  issues: IssueReporter,
): OutcomeLabel {
  switch (value) {
    case "success":
    case "failure":
    case "timeout":
      return value;
    case "error":
      return "failure";
  }
  issues.report(
    "invalid_value",
    `An outcome must be "success", "failure" or "timeout": recorded as "${UNKNOWN}"`,
  );
  return UNKNOWN;
}

/** Makes a duration in seconds safe to be observed. */
export function normalizeDuration(
  value: unknown,
  issues: IssueReporter,
): number {
  if (typeof value === "number" && value >= 0) return value;
  issues.report(
    "invalid_value",
    "A duration must be a number of seconds that is not negative: recorded as 0",
  );
  return 0;
}

/** The lane of the environment, `production` where it names none. */
export function laneFromEnv(issues: IssueReporter): string {
  const lane = readEnv(LANE_VARIABLE);
  return lane === undefined ? DEFAULT_LANE : normalizeLane(lane, issues);
}

/** Ends at a whole code point: half a surrogate pair is no text. */
function truncate(name: string): string {
  if (name.length <= MAX_NAME_LENGTH) return name;
  const last = name.charCodeAt(MAX_NAME_LENGTH - 1);
  const isHighSurrogate = last >= 0xd800 && last <= 0xdbff;
  return name.slice(0, MAX_NAME_LENGTH - (isHighSurrogate ? 1 : 0));
}

function readEnv(variable: string): string | undefined {
  const { Deno, process } = globalThis as {
    Deno?: {
      permissions: {
        querySync(descriptor: object): { readonly state: string };
      };
    };
    process?: { readonly env: Record<string, string | undefined> };
  };
  try {
    // Reading without the permission would prompt for it.
    const permission = Deno?.permissions.querySync({ name: "env", variable });
    const isGranted = permission === undefined ||
      permission.state === "granted";
    return isGranted ? process?.env[variable] : undefined;
  } catch {
    // A runtime that only looks like Deno: no environment is no reason to fail.
    return undefined;
  }
}
