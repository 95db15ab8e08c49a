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
 * - `max`: a counter. prom-client counts from the moment at which a thread began to;
 *   the highest one has seen the most of the process.
 * - `earliest`: the start. It is rounded, and some runtimes take that of the thread.
 * - `freshest`: a reading, best taken in the thread that is scraped.
 *
 * With a prefix, a name could be anybody's, as that of a counter
 * `image_process_cpu_seconds_total` is: only with the clients' own HELP is it theirs.
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
