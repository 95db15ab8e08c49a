import type { IssueReporter } from "./issues.ts";
import type { OutcomeLabel } from "./outcome.ts";
import { typeName } from "./validate.ts";

/** The value of a label for a missing or invalid name, lane or outcome. */
export const UNKNOWN = "unknown";

/** The value of all labels above the cardinality limit. */
export const OVERFLOW = "overflow";

const DEFAULT_LANE = "production";
const LANE_VARIABLE = "LUKHAS_LANE";

/** The maximum length of a name, in UTF-16 code units. Longer names are cut. */
const MAX_NAME_LENGTH = 128;

const ENCODER = new TextEncoder();
// Without the option, it would remove a leading U+FEFF.
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** The kind of a name, for the message of an issue. */
type NameKind = "pipeline" | "stage" | "lane";

/** Returns a valid label value for a name. Reports an issue if the name is invalid. */
export function sanitizeName(
  value: unknown,
  kind: NameKind,
  issues: IssueReporter,
): string {
  if (typeof value !== "string") {
    issues.report(
      "invalid_name",
      `A ${kind} name must be a string, got ${
        typeName(value)
      }: recorded as "${UNKNOWN}"`,
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

/** Returns the label value of a valid name: cut, and well-formed Unicode. */
export function toLabelValue(name: string): string {
  // UTF-8 has no lone surrogates. Names that are encoded alike must be one series.
  return truncate(name).toWellFormed();
}

/** Copies a text, because a substring may keep the whole text in memory. */
export function copyText(text: string): string {
  return DECODER.decode(ENCODER.encode(text));
}

/** Returns the label value of a lane: trimmed and lower-cased. */
export function normalizeLane(value: unknown, issues: IssueReporter): string {
  if (typeof value !== "string") return sanitizeName(value, "lane", issues);
  const lane = value.trim().toLowerCase();
  return lane === "" ? UNKNOWN : sanitizeName(lane, "lane", issues);
}

/** Returns the label value of a status or outcome. Reports an issue if it is invalid. */
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

/** Returns a duration, or 0 with an issue if it is invalid. */
export function normalizeDuration(
  value: unknown,
  issues: IssueReporter,
): number {
  if (typeof value === "number" && value >= 0) return value;
  issues.report(
    "invalid_value",
    "A duration must be a non-negative number of seconds: recorded as 0",
  );
  return 0;
}

/** Returns the lane that `LUKHAS_LANE` sets, or `production` if it is not set. */
export function laneFromEnv(issues: IssueReporter): string {
  const lane = readEnv(LANE_VARIABLE);
  return lane === undefined ? DEFAULT_LANE : normalizeLane(lane, issues);
}

/** Cuts a name to the maximum length, never inside a surrogate pair. */
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
    // Reading the variable without the permission would prompt the user.
    const permission = Deno?.permissions.querySync({ name: "env", variable });
    const isGranted = permission === undefined ||
      permission.state === "granted";
    return isGranted ? process?.env[variable] : undefined;
  } catch {
    // A runtime that only resembles Deno. The environment is optional.
    return undefined;
  }
}
