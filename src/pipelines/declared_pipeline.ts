import { normalizeLane, sanitizeName, toLabelValue } from "../common/labels.ts";
import { quote } from "../common/quote.ts";
import {
  checkFunction,
  checkName,
  checkObject,
  checkOptionNames,
  copyOptions,
} from "../common/validate.ts";
import { type InstanceSource, runInContext } from "../scopes/context.ts";
import { checkPipelineOptions, checkScopeOptions } from "../scopes/options.ts";
import type { ScopeFunction } from "../scopes/overloads.ts";
import { runScope } from "../scopes/run.ts";
import type { Instance } from "../scopes/scope.ts";
import {
  type DeclaredStages,
  type PipelineOptions,
  type PipelineRun,
  type PipelineScope,
  startPipeline,
} from "./pipeline.ts";
import { openRun, type PipelineHandle } from "./pipeline_handle.ts";
import type { StageOptions, StageRunner } from "./stage.ts";

/**
 * The declaration of a pipeline: its options and its stages.
 *
 * @typeParam N The names of the stages.
 */
export interface PipelineDeclaration<N extends string = string>
  extends PipelineOptions {
  /** The options of the stages, by name. The options of a call override them. */
  stages: { readonly [name in N]: StageOptions };
}

/**
 * A declared pipeline. Its methods work destructured.
 *
 * `stage` is the plain `stage`, restricted to the declared names.
 *
 * @typeParam N The names of the stages.
 */
export interface DeclaredPipeline<N extends string = string>
  extends StageRunner<N> {
  /** The name of the pipeline, the label `pipeline_name`. */
  readonly name: string;
  /**
   * Runs an async function as the pipeline.
   *
   * @typeParam T The type of the resolved value.
   * @param fn The function to run.
   * @returns A native promise for the value of `fn`.
   * @throws The error that `fn` throws.
   */
  run<T>(fn: (scope: PipelineScope<N>) => PromiseLike<T>): Promise<T>;
  /**
   * Runs a function as the pipeline.
   *
   * @typeParam T The type of the returned value.
   * @param fn The function to run.
   * @returns The value of `fn`.
   * @throws The error that `fn` throws.
   */
  run<T>(fn: (scope: PipelineScope<N>) => T): T;
  /**
   * Opens the pipeline, for a flow that no callback can enclose.
   *
   * @returns The handle to close.
   */
  open(): PipelineHandle<N>;
}

/** The names of the options of stages. The compiler checks that none is missing. */
const STAGE_OPTIONS: { readonly [K in keyof Required<StageOptions>]: true } = {
  timeout: true,
  signal: true,
  classifyError: true,
  classifyResult: true,
};

/** The names of the options of pipelines. The compiler checks that none is missing. */
const PIPELINE_OPTIONS: {
  readonly [K in keyof Required<PipelineOptions>]: true;
} = { ...STAGE_OPTIONS, lane: true, detached: true };

const DECLARATION_OPTIONS = { ...PIPELINE_OPTIONS, stages: true };

/**
 * Creates a `definePipeline` function.
 *
 * @param stage The plain `stage` of the same instance.
 */
export function createDefineFunction(
  source: InstanceSource,
  stage: ScopeFunction,
): <N extends string>(
  name: string,
  declaration: PipelineDeclaration<N>,
) => DeclaredPipeline<N> {
  return (name, declaration) => {
    checkDeclaration(name, declaration);
    const options: PipelineOptions = copyOptions(declaration, PIPELINE_OPTIONS);
    const { stages } = declaration;
    const declaredStages = readStages(stages);
    source.declare((instance) =>
      declareSeries(instance, name, options.lane, Object.keys(stages))
    );
    const start = () => startPipeline(source, name, options, declaredStages);
    return {
      name,
      stage: stage as StageRunner["stage"],
      open: () => openRun(start()),
      run<T>(fn: (scope: PipelineScope) => T): T {
        checkFunction("run a pipeline", fn);
        const run = start();
        return runInContext(run, runScope<PipelineRun, T>, run, fn);
      },
    };
  };
}

const ACTION = "declare a pipeline";

/** Checks the name and the options of a pipeline. */
function checkDeclaration(
  name: string,
  declaration: PipelineDeclaration,
): void {
  checkName(ACTION, "name", name);
  checkObject(ACTION, declaration);
  checkOptionNames(ACTION, declaration, DECLARATION_OPTIONS);
  checkPipelineOptions(ACTION, declaration);
}

/** Checks the declared stages, and returns their options by name. */
function readStages(stages: PipelineDeclaration["stages"]): DeclaredStages {
  checkObject(ACTION, stages, "stages");
  const options = new Map<string, StageOptions>();
  for (const [name, stageOptions] of Object.entries(stages)) {
    checkName(ACTION, "the name of a stage", name);
    const action = `declare the stage ${quote(name)}`;
    checkObject(action, stageOptions);
    checkOptionNames(action, stageOptions, STAGE_OPTIONS);
    checkScopeOptions(action, stageOptions);
    options.set(toLabelValue(name), stageOptions);
  }
  return options;
}

/** Creates the series of a pipeline and its stages, at 0. */
function declareSeries(
  instance: Instance,
  name: string,
  lane: string | undefined,
  stageNames: readonly string[],
): void {
  const { tree, issues } = instance;
  const node = tree.declarePipeline(
    lane === undefined ? instance.lane : normalizeLane(lane, issues),
    sanitizeName(name, "pipeline", issues),
  );
  node.declareSeries();
  for (const stageName of stageNames) {
    node.declareStage(sanitizeName(stageName, "stage", issues));
  }
}
