import { register } from "prom-client";
import { captureStack, findCallSite } from "../common/call_site.ts";
import { isObject } from "../common/is_object.ts";
import { hasIncompatibleCopies, perProcess } from "../common/per_process.ts";
import { findGlobalRegistries } from "../registry/clients.ts";
import { isOwnMetric } from "../registry/own_metric.ts";
import {
  findRegistration,
  keepRegistration,
  Registration,
} from "../registry/registration.ts";
import { defaultRegistry, type MetricsRegistry } from "../registry/registry.ts";
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

/** The default instance of the process, for all copies of this module. */
interface DefaultInstance {
  /** The options that `configure` has set. */
  options: StageMetricsOptions;
  /** The places in the code that it was called from. */
  readonly places: Set<string | undefined>;
  /** Shows declarations until a scope, record or scrape uses the instance. */
  draft: Instance | undefined;
  /** The context of scopes with nothing around them, once it is in use. */
  root: CurrentContext | undefined;
  /** Declarations that were made before it was in use. */
  declarations: ((instance: Instance) => void)[];
  /** Called with the instance as soon as it is in use. */
  waiting: ((instance: Instance) => void)[];
  hasReportedClients: boolean;
}

const state = perProcess<DefaultInstance>("default instance", () => ({
  options: {},
  places: new Set(),
  draft: undefined,
  root: undefined,
  declarations: [],
  waiting: [],
  hasReportedClients: false,
}));

/** Whether a scope, record or scrape came through this copy of the module. */
let isUsedHere = false;

/**
 * Sets options of the default instance.
 *
 * While it is in use, only a hot reload may set them again. If that evaluates the
 * caller's module but not this one, the call comes from the same place in the code, or
 * repeats the values of before.
 *
 * @throws {TypeError} If an option has the wrong type, or is unknown.
 * @throws {RangeError} If an option is out of range, or does not go with the others.
 * @throws {Error} If the instance is in use, and the call would change it.
 */
export function configureDefault(options: StageMetricsOptions): void {
  const added = copyStageMetricsOptions(options);
  const merged: StageMetricsOptions = { ...state.options, ...added };
  checkStageMetricsOptions(merged);
  const place = findCallSite(captureStack(""), "");
  const isReloaded = !isUsedHere || state.places.has(place);
  if (!isReloaded && !isSet(added, state.options)) {
    throw new Error(
      "Cannot configure the default instance: it is in use already, call configure() before the first scope, record or scrape",
    );
  }
  if (place !== undefined) state.places.add(place);
  state.options = merged;
  if (state.root === undefined) state.draft = createDraft();
  else state.root = recreateRoot(state.root.instance.registration);
}

/**
 * Returns whether options have these values already. Functions and objects may be new
 * ones, as a module that is evaluated again creates them again.
 */
function isSet(
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
    const ambient = currentContext();
    return ambient === undefined || ambient.isDone
      ? rootInstance()
      : ambient.instance;
  },
  rootInstance,
  registries() {
    const instance = defaultSource.instance();
    const { registry } = instance.registration;
    const isChosen = instance !== state.root?.instance ||
      state.options.registry !== undefined;
    if (isChosen) return [registry];
    reportClients(instance);
    return [...new Set([registry, register])];
  },
  onInstance(fn) {
    const ambient = currentContext() ?? state.root;
    if (ambient === undefined) state.waiting.push(fn);
    else fn(ambient.instance);
  },
  declare(fn) {
    const ambient = currentContext() ?? state.root;
    if (ambient !== undefined) return fn(ambient.instance);
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

/** Creates the instance that records, with the families of a draft that fits. */
function createRoot(): CurrentContext {
  prepareDraft();
  const instance = createInstance(state.options, { onConflict: "report" });
  state.draft = undefined;
  for (const fn of state.declarations.splice(0)) fn(instance);
  for (const fn of state.waiting.splice(0)) fn(instance);
  reportCopies(instance);
  if (state.options.registry === undefined) reportClients(instance);
  return {
    instance,
    pipeline: undefined,
    captured: undefined,
    isDone: false,
  };
}

function createDraft(): Instance {
  prepareDraft();
  const instance = createDraftInstance(state.options);
  for (const fn of state.declarations) fn(instance);
  return instance;
}

/** Creates the instance anew with other options. Its counts go on in any registry. */
function recreateRoot(before: Registration): CurrentContext {
  const { registry, prefix } = chosenPlace(before);
  const mayGoOn = prefix === before.options.prefix &&
    findRegistration(registry, prefix) === undefined &&
    before.findConflict(state.options) === undefined;
  if (mayGoOn) {
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
  const { registry, prefix } = chosenPlace(registration);
  const isSame = registry === registration.registry &&
    prefix === registration.options.prefix;
  if (isSame) registration.reset();
  else registration.remove();
}

/** Returns the configured registry and prefix, by default those of before. */
function chosenPlace(before: Registration) {
  const { registry = before.registry, prefix = before.options.prefix } =
    state.options;
  return { registry, prefix };
}

function reportCopies({ issues }: Instance): void {
  if (!hasIncompatibleCopies()) return;
  issues.report(
    "registry_conflict",
    "Several versions of this library are loaded that do not work together: a stage of one does not find the pipeline of another, and each has metrics of its own, so make all depend on one version",
  );
}

/** Reports metrics that the default handler does not show, once. */
function reportClients({ issues }: Instance): void {
  if (state.hasReportedClients) return;
  const shown: unknown[] = [defaultRegistry, register];
  const hasOthers = [...findGlobalRegistries()].some((registry) =>
    !shown.includes(registry) && hasForeignMetrics(registry)
  );
  if (!hasOthers) return;
  state.hasReportedClients = true;
  issues.report(
    "registry_conflict",
    "Several copies of prom-client are loaded, and metrics are split among their registries: install one version for all, or pass the registry to serve to configure()",
  );
}

function hasForeignMetrics(registry: MetricsRegistry): boolean {
  try {
    return registry.getMetricsAsArray().some((metric) => !isOwnMetric(metric));
  } catch {
    return false;
  }
}
