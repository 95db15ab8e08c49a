import Module from "node:module";
import type { MetricsRegistry } from "./registry.ts";

/** Matches the paths of prom-client and its successor, in any `node_modules`. */
const CLIENT_PATH = /[\\/](?:prom-client|@prometheus-io[\\/]client)[\\/]/;

/** The part of a loaded CommonJS module that is used here. */
interface LoadedModule {
  readonly exports?: {
    readonly Registry?: unknown;
    readonly register?: MetricsRegistry;
  };
}

/**
 * Returns the global registries of all loaded copies of prom-client. Node, Deno and Bun
 * load them as CommonJS. Copies inside bundles are not found.
 */
export function findGlobalRegistries(): Set<MetricsRegistry> {
  const { _cache: cache = {} } = Module as {
    _cache?: Readonly<Record<string, LoadedModule | undefined>>;
  };
  const registries = new Set<MetricsRegistry>();
  for (const path of Object.keys(cache)) {
    if (!CLIENT_PATH.test(path)) continue;
    const { Registry, register } = cache[path]?.exports ?? {};
    if (typeof Registry === "function" && register !== undefined) {
      registries.add(register);
    }
  }
  return registries;
}
