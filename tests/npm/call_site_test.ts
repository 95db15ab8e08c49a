/** Tests the place in the default warning when users bundle the npm package. */
import { assert, assertEquals } from "@std/assert";
import { build, type BuildOptions, stop } from "esbuild";
import { REQUIRE_BANNER } from "./bundle.ts";
import { fetched, installOnce } from "./install.ts";
import { installPackage, pack } from "./package.ts";
import { installBun, installNode } from "./runtimes.ts";

/** A program that runs a stage without a pipeline, in its line 5. */
const PROGRAM = `
import { stage } from "@lukhas/stage-metrics";

function work() {
  stage("s", () => {});
  return 1;
}

work();
`;

/** How users run it, and the place that the warning then names. */
const SETUPS: readonly {
  readonly name: string;
  readonly options?: BuildOptions;
  readonly args?: readonly string[];
  readonly place: string | undefined;
}[] = [
  { name: "as it is", place: "program.mjs:5:3" },
  {
    name: "bundled into one ES module",
    options: { format: "esm", outExtension: { ".js": ".mjs" } },
    place: undefined,
  },
  {
    name: "bundled into one CommonJS file",
    options: { format: "cjs", outExtension: { ".js": ".cjs" } },
    place: undefined,
  },
  {
    name: "bundled and minified",
    options: {
      format: "esm",
      minify: true,
      outExtension: { ".js": ".mjs" },
    },
    place: undefined,
  },
  {
    name: "bundled with a source map",
    options: {
      format: "esm",
      sourcemap: true,
      outExtension: { ".js": ".mjs" },
    },
    args: ["--enable-source-maps"],
    place: "program.mjs:5:3",
  },
];

/** A project that has the program, also as bundles. */
interface Project {
  readonly folder: string;
  /** The paths of the programs, by the names of the setups. */
  readonly files: ReadonlyMap<string, string>;
}

async function installProject(): Promise<Project> {
  const folder = await installOnce("call-site", ["prom-client@15"]);
  await installPackage(folder, await pack());
  await Deno.writeTextFile(`${folder}/program.mjs`, PROGRAM);
  const files = new Map<string, string>();
  for (const { name, options } of SETUPS) {
    const file = options === undefined
      ? "program.mjs"
      : await bundleProgram(folder, options);
    files.set(name, `${folder}/${file}`);
  }
  await stop();
  return { folder, files };
}

/** Bundles the program, and returns its path in the project. */
async function bundleProgram(
  folder: string,
  options: BuildOptions,
): Promise<string> {
  const { metafile, warnings } = await build({
    ...options,
    absWorkingDir: folder,
    entryPoints: ["program.mjs"],
    outdir: `bundled/${options.format}${options.minify ? "-minified" : ""}${
      options.sourcemap ? "-mapped" : ""
    }`,
    bundle: true,
    platform: "node",
    ...(options.format === "esm" && { banner: { js: REQUIRE_BANNER } }),
    metafile: true,
    logLevel: "silent",
  });
  assertEquals(warnings, []);
  return Object.keys(metafile.outputs).find((each) => !each.endsWith(".map"))!;
}

const project = await fetched("the place in a warning", installProject());
const RUNTIMES = {
  Node: await fetched("the place in a warning in Node", installNode(24)),
  Bun: await fetched("the place in a warning in Bun", installBun()),
};

for (const [runtimeName, runtime] of Object.entries(RUNTIMES)) {
  for (const { name, args = [], place } of SETUPS) {
    // Bun has no such flag. It applies the source maps of its own bundles.
    const isMapped = runtimeName === "Node" || args.length === 0;
    Deno.test({
      name:
        `stage() warns with the right line or none in ${runtimeName}, ${name}`,
      ignore: project === undefined || runtime === undefined || !isMapped,
      async fn() {
        const { success, stderr } = await new Deno.Command(runtime!.binary, {
          args: [...args, project!.files.get(name)!],
          env: { NO_COLOR: "1" },
        }).output();
        const warning = new TextDecoder().decode(stderr);
        assertEquals(success, true, warning);
        const found = /[(]orphan_stage(?:, at \S*[\\/](\S+))?; later/
          .exec(warning);
        assert(found !== null, warning);
        assertEquals(found[1], place, warning);
      },
    });
  }
}
