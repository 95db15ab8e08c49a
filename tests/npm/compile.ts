/**
 * Compiles TypeScript that uses the package.
 *
 * @module
 */
import { createProject, installOnce } from "./install.ts";
import { installPackage } from "./package.ts";

/** A way to compile. */
export interface Setup {
  /** Whether the types of Node are installed. */
  readonly hasNodeTypes: boolean;
  /** Whether `experimentalDecorators` is on. */
  readonly hasLegacyDecorators: boolean;
  readonly target: string;
  readonly module: string;
  readonly moduleResolution: string;
}

/** The combinations of settings that are tested. */
export const SETUPS: readonly Setup[] = [false, true].flatMap((hasNodeTypes) =>
  ["es2022", "esnext"].flatMap((target) =>
    [
      ["nodenext", "nodenext", false],
      ["nodenext", "nodenext", true],
      ["esnext", "bundler", false],
      ["preserve", "bundler", false],
    ].map(([module, moduleResolution, hasLegacyDecorators]) => ({
      hasNodeTypes,
      hasLegacyDecorators,
      target,
      module,
      moduleResolution,
    } as Setup))
  )
);

/** The options of NestJS's own projects. */
const LEGACY_DECORATORS = [
  "--experimentalDecorators",
  "--emitDecoratorMetadata",
];

/** The compiler, and a project with the package for each kind of setup. */
export interface Compiler {
  /** Returns the compiler's errors, or "". */
  compile(setup: Setup): Promise<string>;
}

const CONSUMERS = new URL("consumers/", import.meta.url);

function installTypeScript(): Promise<string> {
  return installOnce("typescript", ["typescript@7"]);
}

/** Runs the compiler, and returns its errors, or "". */
async function runCompiler(
  tools: string,
  cwd: string,
  args: readonly string[],
): Promise<string> {
  const { stdout, stderr } = await new Deno.Command("node", {
    args: [`${tools}/node_modules/typescript/bin/tsc`, "--strict", ...args],
    cwd,
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout) + decoder.decode(stderr);
}

/**
 * Compiles the NestJS server, which needs `experimentalDecorators`.
 *
 * @returns The path of the script.
 */
export async function compileNest(tarball: string): Promise<string> {
  const tools = await installTypeScript();
  const folder = await installOnce("nest", [
    "@nestjs/common@11",
    "@nestjs/core@11",
    "@nestjs/platform-express@11",
    "@types/node@24",
    "reflect-metadata@0.2",
    "rxjs@7",
  ]);
  await installPackage(folder, tarball);
  await Deno.copyFile(new URL("nest.ts", CONSUMERS), `${folder}/nest.ts`);
  const errors = await runCompiler(tools, folder, [
    ...LEGACY_DECORATORS,
    // The types of NestJS have errors.
    "--skipLibCheck",
    ...["--target", "es2022", "--module", "nodenext", "--types", "node"],
    ...["--outDir", "compiled", "nest.ts"],
  ]);
  if (errors !== "") throw new Error(errors);
  return `${folder}/compiled/nest.js`;
}

/** Installs the compiler, and projects with the package. */
export async function installCompiler(tarball: string): Promise<Compiler> {
  const tools = await installTypeScript();
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
    async compile(
      { hasNodeTypes, hasLegacyDecorators, target, module, moduleResolution },
    ) {
      // Only `es2022` without the types of Node lacks `Disposable`.
      const hasDisposable = hasNodeTypes || target !== "es2022";
      return await runCompiler(tools, hasNodeTypes ? withNode : plain, [
        ...["--noEmit", "--skipLibCheck", "false"],
        ...["--target", target, "--module", module],
        ...["--moduleResolution", moduleResolution],
        ...["--types", hasNodeTypes ? "node" : ""],
        ...(hasLegacyDecorators ? LEGACY_DECORATORS : []),
        "all.ts",
        ...(hasDisposable ? ["using.ts"] : []),
      ]);
    },
  };
}
