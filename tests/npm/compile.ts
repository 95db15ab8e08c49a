/**
 * Compiles what users of TypeScript write.
 *
 * @module
 */
import { createProject, installOnce } from "./install.ts";
import { installPackage } from "./package.ts";

/** A way to compile. */
export interface Setup {
  /** Whether the types of Node are installed. */
  readonly hasNodeTypes: boolean;
  readonly target: string;
  readonly module: string;
  readonly moduleResolution: string;
}

/** Every combination that is worth one. */
export const SETUPS: readonly Setup[] = [false, true].flatMap((hasNodeTypes) =>
  ["es2022", "esnext"].flatMap((target) =>
    [["nodenext", "nodenext"], ["esnext", "bundler"], ["preserve", "bundler"]]
      .map(([module, moduleResolution]) => (
        { hasNodeTypes, target, module, moduleResolution } as Setup
      ))
  )
);

/** The compiler, and a project with the package for each kind of setup. */
export interface Compiler {
  /** What the compiler complains about, or "". */
  compile(setup: Setup): Promise<string>;
}

const CONSUMERS = new URL("consumers/", import.meta.url);

/** Installs the compiler, and the package where it is to be used. */
export async function installCompiler(tarball: string): Promise<Compiler> {
  const tools = await installOnce("typescript", ["typescript@7"]);
  const [plain, withNode] = [
    await createProject("consumer"),
    await installOnce("consumer-node", ["@types/node@24"]),
  ];
  for (const folder of [plain, withNode]) {
    await installPackage(folder, tarball);
    for (const name of ["all.ts", "using.ts"]) {
      await Deno.copyFile(new URL(name, CONSUMERS), `${folder}/${name}`);
    }
  }

  return {
    async compile({ hasNodeTypes, target, module, moduleResolution }) {
      // Of these, `Disposable` is known to all but the first.
      const knowsDisposable = hasNodeTypes || target !== "es2022";
      const { stdout, stderr } = await new Deno.Command("node", {
        args: [
          `${tools}/node_modules/typescript/bin/tsc`,
          ...["--noEmit", "--strict", "--skipLibCheck", "false"],
          ...["--target", target, "--module", module],
          ...["--moduleResolution", moduleResolution],
          ...["--types", hasNodeTypes ? "node" : ""],
          "all.ts",
          ...(knowsDisposable ? ["using.ts"] : []),
        ],
        cwd: hasNodeTypes ? withNode : plain,
      }).output();
      const decoder = new TextDecoder();
      return decoder.decode(stdout) + decoder.decode(stderr);
    },
  };
}
