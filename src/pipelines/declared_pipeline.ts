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
import {
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
    const action = "declare a pipeline";
    checkName(action, "name", name);
    checkObject(action, declaration);
    checkOptionNames(action, declaration, DECLARATION_OPTIONS);
    checkPipelineOptions(action, declaration);
    const options: PipelineOptions = copyOptions(declaration, PIPELINE_OPTIONS);
    const { stages } = declaration;
    checkObject(action, stages, "stages");
    const declaredStages = new Map<string, StageOptions>();
    for (
      const [stageName, stageOptions] of Object.entries<StageOptions>(stages)
    ) {
      checkName(action, "the name of a stage", stageName);
      const stageAction = `declare the stage ${quote(stageName)}`;
      checkObject(stageAction, stageOptions);
      checkOptionNames(stageAction, stageOptions, STAGE_OPTIONS);
      checkScopeOptions(stageAction, stageOptions);
      declaredStages.set(toLabelValue(stageName), stageOptions);
    }
    source.declare(({ tree, lane, issues }) => {
      const ownLane = options.lane === undefined
        ? lane
        : normalizeLane(options.lane, issues);
      const node = tree.declarePipeline(
        ownLane,
        sanitizeName(name, "pipeline", issues),
      );
      node.declareSeries();
      for (const stageName of Object.keys(stages)) {
        node.declareStage(sanitizeName(stageName, "stage", issues));
      }
    });
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
