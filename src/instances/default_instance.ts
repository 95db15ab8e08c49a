import { register } from "prom-client";
import { captureStack, findCallSite } from "../common/call_site.ts";
import { isObject } from "../common/is_object.ts";
import type { IssueReporter } from "../common/issues.ts";
import { hasIncompatibleCopies, perProcess } from "../common/per_process.ts";
import {
  findRegistration,
  keepRegistration,
  Registration,
} from "../registry/registration.ts";
import {
  type CurrentContext,
  currentContext,
  type InstanceSource,
} from "../scopes/context.ts";
import type { Instance } from "../scopes/scope.ts";
import { createDraftInstance, createInstance } from "./instance.ts";
import {
  checkStageMetricsOptions,
  copyStageMetricsOptions,
  type StageMetricsOptions,
} from "./stage_metrics_options.ts";
import { hasUnservedMetrics } from "./unserved_metrics.ts";

/** The state of the default instance, which all copies of this module share. */
interface DefaultInstance {
  /** The options that `configure` has set. */
  options: StageMetricsOptions;
  /** The places in the code from which `configure` was called. */
  readonly callSites: Set<string | undefined>;
  /** The instance that shows declarations before the first scope, record or scrape. */
  draft: Instance | undefined;
  /** The context of scopes without an enclosing scope, once the instance is in use. */
  root: CurrentContext | undefined;
  /** The declarations that were made before the instance was in use. */
  declarations: ((instance: Instance) => void)[];
  /** The functions to call once the instance is in use. */
  listeners: ((instance: Instance) => void)[];
  /** Whether metrics that the default handler does not serve have been reported. */
  hasReportedUnserved: boolean;
}

const state = perProcess<DefaultInstance>("default instance", () => ({
  options: {},
  callSites: new Set(),
  draft: undefined,
  root: undefined,
  declarations: [],
  listeners: [],
  hasReportedUnserved: false,
}));

/** Whether this copy of the module has started a scope, record or scrape. */
let isUsedHere = false;

/**
 * Sets options of the default instance.
 *
 * Once the instance is in use, only a hot reload may set them again. A call counts as a
 * hot reload if this copy of the module is unused, if it comes from the same place in the
 * code as an earlier call, or if it changes no values but functions and objects.
 *
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or contradicts another option.
 * @throws {Error} If the instance is in use, and the call would change it.
 */
export function configureDefault(options: StageMetricsOptions): void {
  const added = copyStageMetricsOptions(options);
  const merged: StageMetricsOptions = { ...state.options, ...added };
  checkStageMetricsOptions(merged);
  const callSite = findCallSite(captureStack(""), "");
  const isReloaded = !isUsedHere || state.callSites.has(callSite);
  if (!isReloaded && !isUnchanged(added, state.options)) {
    throw new Error(
      "Cannot configure the default instance: it is already in use, call configure() before the first scope, record or scrape",
    );
  }
  if (callSite !== undefined) state.callSites.add(callSite);
  state.options = merged;
  if (state.root === undefined) state.draft = createDraft();
  else state.root = recreateRoot(state.root.instance.registration);
}

/**
 * Returns whether options already have these values. Functions and objects may differ, as
 * a module that is evaluated again creates them again.
 */
function isUnchanged(
  added: StageMetricsOptions,
  options: StageMetricsOptions,
): boolean {
  const values: Readonly<Record<string, unknown>> = { ...options };
  return Object.entries(added).every(([name, value]) =>
    Array.isArray(value) || !isObject(value)
      ? String(value) === String(values[name])
      : isObject(values[name])
  );
}

/** The source of the imported functions. */
export const defaultSource: InstanceSource = {
  context: () => currentContext() ?? useRoot(),
  instance() {
    const context = currentContext();
    return context === undefined || context.isDone
      ? rootInstance()
      : context.instance;
  },
  rootInstance,
  registries() {
    const instance = defaultSource.instance();
    const { registry } = instance.registration;
    const isChosen = instance !== state.root?.instance ||
      state.options.registry !== undefined;
    if (isChosen) return [registry];
    reportUnservedMetrics(instance.issues);
    return [...new Set([registry, register])];
  },
  onInstance(fn) {
    const context = currentContext() ?? state.root;
    if (context === undefined) state.listeners.push(fn);
    else fn(context.instance);
  },
  declare(fn) {
    const context = currentContext() ?? state.root;
    if (context !== undefined) return fn(context.instance);
    state.declarations.push(fn);
    if (state.draft === undefined) state.draft = createDraft();
    else fn(state.draft);
  },
};

function rootInstance(): Instance {
  return currentContext()?.captured ?? useRoot().instance;
}

function useRoot(): CurrentContext {
  isUsedHere = true;
  return state.root ??= createRoot();
}

/** Creates the instance that records. It takes over the registration of a fitting draft. */
function createRoot(): CurrentContext {
  prepareDraft();
  const instance = createInstance(state.options, { onConflict: "report" });
  state.draft = undefined;
  for (const fn of state.declarations.splice(0)) fn(instance);
  for (const fn of state.listeners.splice(0)) fn(instance);
  reportIncompatibleCopies(instance.issues);
  if (state.options.registry === undefined) {
    reportUnservedMetrics(instance.issues);
  }
  return {
    instance,
    pipeline: undefined,
    captured: undefined,
    isDone: false,
  };
}

/** Creates the instance that shows the declarations. */
function createDraft(): Instance {
  prepareDraft();
  const instance = createDraftInstance(state.options);
  for (const fn of state.declarations) fn(instance);
  return instance;
}

/** Recreates the instance with other options. Its counts continue in any registry. */
function recreateRoot(before: Registration): CurrentContext {
  const { registry, prefix } = configuredPlace(before);
  const canContinue = prefix === before.options.prefix &&
    findRegistration(registry, prefix) === undefined &&
    before.findConflict(state.options) === undefined;
  if (canContinue) {
    keepRegistration(new Registration(registry, before.options, before));
  }
  const after = createRoot();
  before.issues = after.instance.issues;
  return after;
}

/** Empties the registration of the last draft, or removes it if it no longer fits. */
function prepareDraft(): void {
  const registration = state.draft?.registration;
  if (registration === undefined || registration.isInUse) return;
  const { registry, prefix } = configuredPlace(registration);
  const isSame = registry === registration.registry &&
    prefix === registration.options.prefix;
  if (isSame) registration.reset();
  else registration.remove();
}

/** Returns the configured registry and prefix, or else the ones of `before`. */
function configuredPlace(before: Registration) {
  const { registry = before.registry, prefix = before.options.prefix } =
    state.options;
  return { registry, prefix };
}

function reportIncompatibleCopies(issues: IssueReporter): void {
  if (!hasIncompatibleCopies()) return;
  issues.report(
    "registry_conflict",
    "Incompatible versions of this library are loaded: a stage of one version does not find the pipeline of another, and each version has its own metrics. Install one version",
  );
}

function reportUnservedMetrics(issues: IssueReporter): void {
  if (state.hasReportedUnserved || !hasUnservedMetrics()) return;
  // First, as `onIssue` may scrape.
  state.hasReportedUnserved = true;
  issues.report(
    "registry_conflict",
    "Several copies of prom-client are loaded, and metrics are split among their registries: install one version, or pass the registry to serve to configure()",
  );
}
