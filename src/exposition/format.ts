import type { MetricFamily } from "./model.ts";
import { encodeOpenMetrics, encodeText } from "./text.ts";

/** An exposition format of Prometheus. */
export interface Format {
  /** The name that selects the format in options. */
  readonly name: string;
  /** The media type with its parameters, which content negotiation compares. */
  readonly contentType: string;
  /**
   * Encodes metric families in slices, between which other work can run. Without
   * families, there is one slice.
   */
  readonly encode: (
    families: readonly MetricFamily[],
  ) => Generator<Uint8Array<ArrayBuffer>, undefined>;
}

/** All formats. Clients that accept no format get the first one. */
export const FORMATS = [
  {
    name: "text",
    contentType: "text/plain; version=0.0.4; charset=utf-8",
    encode: encodeText,
  },
  {
    name: "openmetrics",
    contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
    encode: encodeOpenMetrics,
  },
] as const satisfies readonly Format[];
