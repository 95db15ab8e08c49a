/**
 * The HELP texts of the default metrics of prom-client and of its successor that
 * describe the process, by name. All threads and registries have them.
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

const NAME = new RegExp(`(?:${[...PROCESS_METRICS.keys()].join("|")})$`);

/** How a metric of the process is merged, beside prom-client's aggregators. */
export type ProcessAggregator = "max" | "earliest" | "freshest";

/**
 * Returns how a metric is merged that describes the process, and so is never summed:
 *
 * - `max`: a counter. Each thread counts from the time at which it began to collect, so
 *   the highest value covers the most of the process.
 * - `earliest`: the start time. It is rounded, and some runtimes give the thread's.
 * - `freshest`: a reading, best taken in the thread that is scraped.
 *
 * A prefixed name must also have the HELP of the clients: a user may have a counter
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
