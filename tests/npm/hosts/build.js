/** Bundles `worker.js` for Cloudflare's runtime, as its users do. */
import { build } from "esbuild";

await build({
  entryPoints: ["worker.js"],
  outfile: "worker.bundle.js",
  bundle: true,
  format: "esm",
  platform: "node",
  // prom-client's default metrics need it, and old compatibility dates lack it.
  alias: { v8: "./empty.js" },
  banner: {
    js:
      'import { createRequire } from "node:module"; const require = createRequire("/");',
  },
});
