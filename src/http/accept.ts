import { type Format, FORMATS } from "../exposition/format.ts";

/** A media range or coding in a header, with its parameters. */
interface Preference {
  readonly value: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** The weight, from 0, not acceptable, to 1. */
  readonly quality: number;
}

/** How well a format matches a header: the weight decides, then how specific it is. */
interface Match {
  readonly quality: number;
  readonly specificity: number;
}

const NO_MATCH: Match = { quality: 0, specificity: -1 };

/**
 * Returns the format that a client prefers, or the first one if the client has no
 * preference or accepts no format.
 *
 * @param accept The `Accept` header of the request.
 * @param formats The formats to choose from, at least one.
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
    match: match(preferences, format),
  }));
  let best = first!;
  for (const other of others) {
    if (isBetter(other.match, best.match)) best = other;
  }
  return best.format;
}

function isBetter(match: Match, other: Match): boolean {
  if (match.quality !== other.quality) return match.quality > other.quality;
  return match.quality > 0 && match.specificity > other.specificity;
}

/**
 * Returns whether a client accepts a compressed response.
 *
 * @param acceptEncoding The `Accept-Encoding` header of the request.
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

function match(preferences: readonly Preference[], format: Format): Match {
  const [offer] = parsePreferences(format.contentType);
  const { value: mediaType, parameters: offered } = offer!;
  const ranges = ["*/*", `${mediaType.split("/")[0]}/*`, mediaType];
  let best = NO_MATCH;
  for (const { value, parameters, quality } of preferences) {
    const specificity = ranges.indexOf(value);
    // The more specific range counts, even if its weight is lower.
    if (specificity <= best.specificity) continue;
    const isOffered = [...offered].every(([name, text]) =>
      (parameters.get(name) ?? text) === text
    );
    if (isOffered) best = { quality, specificity };
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
