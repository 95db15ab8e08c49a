import { type Format, FORMATS } from "../exposition/text.ts";

/** What a client says of one media range or coding. */
interface Preference {
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** From 0, not acceptable, to 1. */
  readonly quality: number;
}

/** How well a client likes a format: by its own weight, then by how it named it. */
interface Match {
  readonly quality: number;
  readonly specificity: number;
}

const NO_MATCH: Match = { quality: 0, specificity: -1 };

/** The media range of each format: type, subtype and version. */
const MEDIA_RANGES: Readonly<
  Record<Format, readonly [string, string, string]>
> = {
  text: ["text", "plain", "0.0.4"],
  openmetrics: ["application", "openmetrics-text", "1.0.0"],
};

/**
 * Chooses the format of an answer: the one that the client prefers, or the first one
 * if it has no preference or accepts none of them.
 *
 * @param accept The header `Accept` of the request.
 * @param formats The formats to choose from, one at least.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1 | RFC 9110, Accept}
 */
export function negotiateFormat(
  accept: string | null,
  formats: readonly Format[] = FORMATS,
): Format {
  const preferences = parsePreferences(accept ?? "");
  const [first, ...others] = formats.map((format) => ({
    format,
    match: match(preferences, ...MEDIA_RANGES[format]),
  }));
  let best = first!;
  for (const other of others) {
    if (isBetter(other.match, best.match)) best = other;
  }
  return best.format;
}

function isBetter(one: Match, other: Match): boolean {
  if (one.quality !== other.quality) return one.quality > other.quality;
  return one.quality > 0 && one.specificity > other.specificity;
}

/**
 * Says whether an answer may be compressed.
 *
 * @param acceptEncoding The header `Accept-Encoding` of the request.
 *
 * @see {@link https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3 | RFC 9110, Accept-Encoding}
 */
export function acceptsGzip(acceptEncoding: string | null): boolean {
  const preferences = parsePreferences(acceptEncoding ?? "");
  const qualityOf = (coding: string) =>
    preferences.find(({ value }) => value === coding)?.quality;
  const gzip = qualityOf("gzip") ?? qualityOf("x-gzip") ?? qualityOf("*") ?? 0;
  return gzip > 0 && gzip >= (qualityOf("identity") ?? 0);
}

function match(
  preferences: readonly Preference[],
  type: string,
  subtype: string,
  version: string,
): Match {
  let best = NO_MATCH;
  for (const { value, parameters, quality } of preferences) {
    const specificity = ["*/*", `${type}/*`, `${type}/${subtype}`]
      .indexOf(value);
    // The more specific range counts, even where it weighs less.
    if (specificity <= best.specificity) continue;
    if ((parameters.get("version") ?? version) !== version) continue;
    if ((parameters.get("charset") ?? "utf-8") !== "utf-8") continue;
    best = { quality, specificity };
  }
  return best;
}

function parsePreferences(header: string): Preference[] {
  return header.toLowerCase().split(",").map((element) => {
    const [value = "", ...rest] = element.split(";").map((each) => each.trim());
    const parameters = new Map(rest.map(parseParameter));
    const quality = Number(parameters.get("q") ?? 1);
    return {
      value,
      parameters,
      quality: quality >= 0 && quality <= 1 ? quality : 0,
    };
  });
}

function parseParameter(parameter: string): [string, string] {
  const [name = "", value = ""] = parameter.split("=").map((each) =>
    each.trim()
  );
  return [name, value.replace(/^"(.*)"$/, "$1")];
}
