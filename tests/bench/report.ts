/**
 * Formats figures as tables.
 *
 * @module
 */
import type { Figures } from "./suite.ts";

/** The figures of a runtime. */
export interface Report {
  /** Such as "Deno 2.9.6". */
  readonly name: string;
  readonly figures: Figures;
}

type Row = readonly string[];

/** Returns the line that names the machine and the compared versions. */
export function versionLine(
  cores: number,
  versions: readonly string[],
): string {
  return `Measured on ${cores} cores, against ${versions.join(", ")}.`;
}

/** Compares the library with prom-client by hand in each runtime, in five rows. */
export function summaryTable(reports: readonly Report[]): string {
  const pair = (show: (figure: number) => string, own: number, hand: number) =>
    `${show(own)} (${show(hand)})`;
  const rows: readonly [string, (figures: Figures) => string][] = [
    [
      "a pipeline of five stages, µs",
      ({ pipelines }) => pair(micro, pipelines.own, pipelines.promClient),
    ],
    [
      "a scrape of 10,000 stages, ms",
      ({ largeScrape: { text, promClient } }) =>
        pair(milli, text.duration, promClient.duration),
    ],
    [
      "… its longest pause of the event loop, ms",
      ({ largeScrape: { text, promClient } }) =>
        pair(milli, text.stall, promClient.stall),
    ],
    [
      "a scrape of 100 stages, ms",
      ({ smallScrape: { text, promClient } }) =>
        pair(milli, text.duration, promClient.duration),
    ],
    [
      "memory for each stage, bytes",
      ({ memory }) => pair(whole, memory.own, memory.promClient),
    ],
  ];
  return table([
    ["ours (prom-client by hand)", ...reports.map(({ name }) => name)],
    ...rows.map(([label, cell]) => [
      label,
      ...reports.map(({ figures }) => cell(figures)),
    ]),
  ]);
}

const CONTENDERS = [
  "ours",
  "prom-client",
  "@prometheus-io/client",
  "OpenTelemetry",
];

/** Returns the full table of a runtime, including the rows where this library is not the best. */
export function runtimeTable({ name, figures }: Report): string {
  const { pipelines, largeScrape, smallScrape, memory } = figures;
  return table([
    [name, ...CONTENDERS],
    row(
      "a pipeline of five stages, µs",
      micro,
      pipelines.own,
      pipelines.promClient,
      pipelines.successor,
      pipelines.openTelemetry,
    ),
    row("… each with a deadline", micro, pipelines.ownLimited),
    row("… by wrapped functions", micro, pipelines.ownWrapped),
    row(
      "… all of which fail",
      micro,
      pipelines.ownFailing,
      pipelines.promClientFailing,
    ),
    row(
      "… of 1,000 in flight",
      micro,
      pipelines.ownInFlight,
      pipelines.promClientInFlight,
    ),
    row(
      "a scrape of 10,000 stages, ms",
      milli,
      largeScrape.text.duration,
      largeScrape.promClient.duration,
      largeScrape.successor.duration,
    ),
    row(
      "… its longest pause of the event loop, ms",
      milli,
      largeScrape.text.stall,
      largeScrape.promClient.stall,
      largeScrape.successor.stall,
    ),
    row(
      "… its size, MB",
      mega,
      largeScrape.text.bytes,
      largeScrape.promClient.bytes,
      largeScrape.successor.bytes,
    ),
    row("… as OpenMetrics, ms", milli, largeScrape.openMetrics.duration),
    row("… with gzip, ms", milli, largeScrape.textGzip.duration),
    row(
      "… its longest pause of the event loop, ms",
      milli,
      largeScrape.textGzip.stall,
    ),
    row(
      "… as OpenMetrics with gzip, ms",
      milli,
      largeScrape.openMetricsGzip.duration,
    ),
    row(
      "a scrape of 100 stages, ms",
      milli,
      smallScrape.text.duration,
      smallScrape.promClient.duration,
      smallScrape.successor.duration,
    ),
    row("… as OpenMetrics, ms", milli, smallScrape.openMetrics.duration),
    row("… with gzip, ms", milli, smallScrape.textGzip.duration),
    row(
      "… as OpenMetrics with gzip, ms",
      milli,
      smallScrape.openMetricsGzip.duration,
    ),
    row("memory for each stage, bytes", whole, memory.own, memory.promClient),
  ]);
}

/** Returns a row; the last contenders may be left out. */
function row(
  label: string,
  show: (figure: number) => string,
  ...figures: number[]
): Row {
  return [
    label,
    ...CONTENDERS.map((_, i) => i in figures ? show(figures[i]!) : ""),
  ];
}

/** The limits that each runtime must keep. */
const LIMITS: readonly {
  readonly label: string;
  of(figures: Figures): number;
  /** For Deno, Node and Bun. */
  readonly most: readonly [number, number, number];
}[] = [
  {
    label: "a pipeline of five stages, over two clock readings for each scope",
    of: ({ pipelines }) => pipelines.ownOverFloor,
    most: [1.5, 1.75, 3.5],
  },
  {
    label: "the same, over prom-client by hand",
    of: ({ pipelines }) => pipelines.ownOverPromClient,
    most: [0.45, 0.32, 0.28],
  },
  {
    label: "the cost of a deadline, over that of a timer",
    of: ({ pipelines }) => pipelines.limitsOverTimers,
    most: [1.5, 1.5, 3],
  },
  {
    label: "a scrape of 10,000 stages, over prom-client's",
    of: ({ largeScrape }) => largeScrape.durationOverPromClient,
    most: [0.2, 0.2, 0.2],
  },
  {
    label: "its longest pause of the event loop, over prom-client's",
    of: ({ largeScrape }) => largeScrape.stallOverPromClient,
    most: [0.1, 0.1, 0.1],
  },
  {
    label: "memory for each stage, over prom-client's",
    of: ({ memory }) => memory.ownOverPromClient,
    most: [0.75, 0.75, 0.75],
  },
  {
    label: "the heap after ten million stages, over that after one",
    of: ({ memory }) => memory.growth,
    most: [1.05, 1.05, 1.05],
  },
  {
    label:
      "the longest pause of a thread in a scrape of four, each with 1,500 label sets of a histogram, ms",
    of: ({ threads: { changed } }) =>
      Math.max(changed.scrapedStall, changed.otherStall),
    most: [25, 25, 25],
  },
];

/** Returns the table of the limits, and of how each runtime keeps them. */
export function limitsTable(reports: readonly Report[]): string {
  return table([
    ["figure ≤ limit", ...reports.map(({ name }) => name)],
    ...LIMITS.map(({ label, of, most }) => [
      label,
      ...reports.map(({ figures }, i) => {
        const [ratio, limit] = [of(figures), most[i]!];
        const verdict = ratio <= limit ? "" : " (!)";
        return `${ratio.toFixed(3)} ≤ ${limit}${verdict}`;
      }),
    ]),
  ]);
}

function table([head, ...rows]: readonly [Row, ...Row[]]): string {
  const line = (cells: Row) => `| ${cells.join(" | ")} |`;
  const rule = head.map((_, i) => i === 0 ? "---" : "--:");
  return [head, rule, ...rows].map(line).join("\n");
}

function whole(figure: number): string {
  return figure.toFixed();
}

function micro(nanoseconds: number): string {
  return (nanoseconds / 1e3).toFixed(1);
}

function milli(milliseconds: number): string {
  return milliseconds.toFixed(1);
}

function mega(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
