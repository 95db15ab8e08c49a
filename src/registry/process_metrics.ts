/**
 * The HELP texts, by name, of the default metrics of prom-client and its successor that
 * describe the process, not a thread or registry.
 */
const PROCESS_METRICS: ReadonlyMap<string, string> = new Map([
  ["process_cpu_user_seconds_total", "Total user CPU time spent in seconds."],
  [
    "process_cpu_system_seconds_total",
    "Total system CPU time spent in seconds.",
  ],
  [
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
  ],
  [
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
  ],
  ["process_resident_memory_bytes", "Resident memory size in bytes."],
  ["process_virtual_memory_bytes", "Virtual memory size in bytes."],
  ["process_heap_bytes", "Process heap size in bytes."],
  ["process_open_fds", "Number of open file descriptors."],
  ["process_max_fds", "Maximum number of open file descriptors."],
]);

/** Matches the names, under any prefix. */
const NAME = new RegExp(`(?:${[...PROCESS_METRICS.keys()].join("|")})$`);

/** The way to merge a metric of the process, in addition to prom-client's aggregators. */
type ProcessAggregator = "max" | "earliest" | "freshest";

/**
 * Returns the way to merge a metric of the process, which must not be summed, or
 * `undefined` for other metrics:
 *
 * - `max` for counters: threads begin to collect at different times, and the highest
 *   value covers the longest time.
 * - `earliest` for the start time, which is rounded. In some runtimes it is the start of
 *   the thread.
 * - `freshest` for readings, preferably from the scraped thread.
 *
 * With a prefix, the HELP text must match as well, because a user may have a counter
 * `image_process_cpu_seconds_total`.
 */
export function processAggregator(
  name: string,
  help: string,
): ProcessAggregator | undefined {
  const known = NAME.exec(name)?.[0];
  if (known === undefined) return undefined;
  if (name !== known && help !== PROCESS_METRICS.get(known)) return undefined;
  if (known.endsWith("_total")) return "max";
  return known === "process_start_time_seconds" ? "earliest" : "freshest";
}
