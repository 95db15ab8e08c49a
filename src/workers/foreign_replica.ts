import { forEachInSlices } from "../common/slices.ts";
import {
  type Exemplar,
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "../exposition/exemplar.ts";
import { mergeFamilies } from "../exposition/merge.ts";
import {
  type MetricFamily,
  Sample,
  type SampleLabels,
} from "../exposition/model.ts";
import { type PackedNumber, packNumber } from "../exposition/numbers.ts";
import { InvalidMessage } from "./invalid_message.ts";

/** The maximum number of samples in a delta, so that reading one is quick. */
const DELTA_SIZE = 200;

/** A metric family without its name and samples. */
type Description = Omit<MetricFamily, "name" | "samples">;

/** Changes of a foreign metric family, or a part of them, as they are sent. */
export interface ForeignDelta {
  readonly name: string;
  /** `null` if the metric was removed from the registry. */
  readonly description: Description | null;
  readonly changes: readonly SampleDelta[];
}

/**
 * A changed sample. Later changes refer to a sample by its slot, so that its name and
 * labels are sent only once. A slot without a value is empty.
 */
type SampleDelta = readonly [
  slot: number,
  value?: PackedNumber,
  exemplar?: PackedExemplar | null,
  /** `null` if it equals the name of the previous new sample in the delta. */
  name?: string | null,
  /** All labels, or, as pairs, the labels that differ from the previous new sample. */
  labels?: SampleLabels | readonly (readonly [string, string | number])[],
];

/** The samples of a metric, by slot. The array is replaced, never modified. */
type Slots = readonly (Sample | undefined)[];

interface Entry {
  readonly description: Description;
  readonly slots: Slots;
}

interface MutableEntry extends Entry {
  readonly slots: (Sample | undefined)[];
}

/** A worker's replica, as input to a merge. */
export interface ForeignPart {
  readonly replica: ForeignReplica;
  readonly isAlive: boolean;
  /** Process metrics are taken from the replica with the lowest age. */
  readonly age: number;
}

/** The foreign metrics of a worker's registry, as last sent. */
export class ForeignReplica {
  readonly #entries = new Map<string, Entry>();

  /** Returns the changes that have not been sent yet. */
  async diff(families: readonly MetricFamily[]): Promise<ForeignDelta[]> {
    const deltas: ForeignDelta[] = [];
    for (const family of families) {
      deltas.push(...await this.#diff(family));
    }
    const names = new Set(families.map(({ name }) => name));
    for (const name of this.#entries.keys()) {
      if (names.has(name)) continue;
      deltas.push({ name, description: null, changes: [] });
    }
    return deltas;
  }

  /**
   * Reads deltas in slices.
   *
   * @returns A function that applies all changes at once.
   * @throws {InvalidMessage} If the slot of a sample is out of range.
   */
  async prepare(deltas: readonly ForeignDelta[]): Promise<() => void> {
    const entries = new Map<string, MutableEntry | undefined>();
    for (const { name, description, changes } of deltas) {
      if (description === null) {
        entries.set(name, undefined);
        continue;
      }
      const known = this.#find(name, description)?.slots ?? [];
      const { slots } = entries.get(name) ?? { slots: [...known] };
      entries.set(name, { description, slots });
      let last: Sample | undefined;
      await forEachInSlices(changes, (change) => {
        last = applyChange(description.type, slots, change, last);
      });
    }
    return () => {
      for (const [name, entry] of entries) {
        if (entry === undefined) this.#entries.delete(name);
        else this.#entries.set(name, entry);
      }
    };
  }

  /** Returns the full state, as deltas for a new worker. */
  fullState(): Iterable<ForeignDelta> {
    return packAll([...this.#entries]);
  }

  /**
   * Merges the current state of replicas. Gauges of exited workers are dropped, except for
   * the start time of the process, which all threads share.
   *
   * @param onConflict Called with each metric that the workers have as different types.
   */
  static merge(
    parts: readonly ForeignPart[],
    onConflict: (left: MetricFamily, type: string) => void,
  ): Promise<MetricFamily[]> {
    const all = parts.map(({ replica, ...part }) => ({
      ...part,
      families: replica.families(),
    }));
    const byAge = [...all].sort((a, b) => a.age - b.age);
    const descriptions = describeAll(byAge.flatMap(({ families }) => families));
    const gather = (parts: typeof all, isFresh: boolean) =>
      parts.flatMap(({ families, isAlive }) =>
        families.flatMap((family) => {
          const description = descriptions.get(family.name)!;
          const { type, aggregator } = description;
          const isShown = isFresh === (aggregator === "freshest") &&
            (isAlive || type !== "gauge" || aggregator === "earliest");
          if (!isShown) return [];
          if (family.type === type) return [{ ...family, ...description }];
          onConflict(family, type);
          return [];
        })
      );
    return mergeFamilies(
      [...gather(all, false), ...gather(byAge, true)],
      onConflict,
    );
  }

  /** Creates a replica that contains the given families. */
  static of(families: readonly MetricFamily[]): ForeignReplica {
    const replica = new ForeignReplica();
    for (const { name, samples, ...description } of families) {
      replica.#entries.set(name, { description, slots: samples });
    }
    return replica;
  }

  /** Returns the current metric families. */
  families(): MetricFamily[] {
    return [...this.#entries].map(([name, { description, slots }]) => ({
      name,
      ...description,
      samples: slots.filter((sample) => sample !== undefined),
    }));
  }

  async #diff(family: MetricFamily): Promise<ForeignDelta[]> {
    const { name, help, type, aggregator } = family;
    const description = { help, type, aggregator };
    const known = this.#find(name, description);
    const before = known?.slots ?? [];
    const find = createFinder(before);
    const isTaken = new Uint8Array(before.length);
    const changes: SampleDelta[] = [];
    const added: Sample[] = [];
    await forEachInSlices(family.samples.entries(), ([index, sample]) => {
      const slot = find(sample.key, index);
      if (slot === undefined) {
        added.push(sample);
        return;
      }
      isTaken[slot] = 1;
      if (!isSame(before[slot]!, sample)) {
        changes.push(packValue(slot, sample));
      }
    });
    const free = [...before.keys()].filter((slot) => !isTaken[slot]);
    await forEachInSlices(added.entries(), ([index, sample]) => {
      const slot = free[index] ?? before.length + index - free.length;
      const isFirst = changes.length % DELTA_SIZE === 0;
      changes.push(
        packNew(slot, sample, isFirst ? undefined : added[index - 1]),
      );
    });
    for (const slot of free.slice(added.length)) {
      if (before[slot] !== undefined) changes.push([slot]);
    }
    if (changes.length === 0 && known !== undefined) return [];
    return Array.from(
      partsOf(changes),
      ([, part]) => ({ name, description, changes: part }),
    );
  }

  /** Returns the entry of a metric, if its description is the same. */
  #find(name: string, { help, type, aggregator }: Description) {
    const entry = this.#entries.get(name);
    const isDifferent = entry?.description.help !== help ||
      entry.description.type !== type ||
      entry.description.aggregator !== aggregator;
    return isDifferent ? undefined : entry;
  }
}

/**
 * Returns the description of each metric by name. The first one counts, so that no other
 * worker can change how a metric of the scraped worker is aggregated.
 */
function describeAll(
  families: readonly MetricFamily[],
): ReadonlyMap<string, Description> {
  const descriptions = new Map<string, Description>();
  for (const { name, help, type, aggregator } of families) {
    if (descriptions.has(name)) continue;
    descriptions.set(name, { help, type, aggregator });
  }
  return descriptions;
}

/** Returns a function that finds the slot of a sample. It tries the sample's index first. */
function createFinder(
  slots: Slots,
): (key: string, index: number) => number | undefined {
  let byKey: Map<string, number> | undefined;
  return (key, index) => {
    if (slots[index]?.key === key) return index;
    byKey ??= new Map(
      slots.flatMap((sample, slot) =>
        sample === undefined ? [] : [[sample.key, slot]]
      ),
    );
    return byKey.get(key);
  };
}

/** Splits items into parts. Without items, it yields one empty part. */
function* partsOf<T>(
  items: readonly T[],
): Iterable<readonly [at: number, part: T[]]> {
  for (let at = 0; at === 0 || at < items.length; at += DELTA_SIZE) {
    yield [at, items.slice(at, at + DELTA_SIZE)];
  }
}

function* packAll(
  entries: readonly (readonly [name: string, entry: Entry])[],
): Iterable<ForeignDelta> {
  for (const [name, { description, slots }] of entries) {
    for (const [at, part] of partsOf(slots)) {
      let last: Sample | undefined;
      const changes: SampleDelta[] = [];
      for (const [index, sample] of part.entries()) {
        changes.push(
          sample === undefined
            ? [at + index]
            : packNew(at + index, sample, last),
        );
        last = sample ?? last;
      }
      yield { name, description, changes };
    }
  }
}

function packValue(
  slot: number,
  { value, exemplar }: Sample,
): SampleDelta {
  return exemplar === undefined
    ? [slot, packNumber(value)]
    : [slot, packNumber(value), packExemplar(exemplar)];
}

/** @param last The previous new sample in the delta. */
function packNew(
  slot: number,
  { name, labels, value, exemplar }: Sample,
  last: Sample | undefined,
): SampleDelta {
  return [
    slot,
    packNumber(value),
    exemplar === undefined ? null : packExemplar(exemplar),
    name === last?.name ? null : name,
    last === undefined ? labels : packLabels(labels, last.labels),
  ];
}

/** Packs labels: most samples of a histogram differ only in their bucket. */
function packLabels(labels: SampleLabels, last: SampleLabels) {
  const names = Object.keys(labels);
  const lastNames = Object.keys(last);
  const areAlike = names.length === lastNames.length &&
    names.every((name, index) => name === lastNames[index]);
  return areAlike
    ? Object.entries(labels).filter(([name, value]) => value !== last[name])
    : labels;
}

/** Applies a change, and returns the last new sample. */
function applyChange(
  type: string,
  slots: (Sample | undefined)[],
  [slot, packed, packedExemplar, name, packedLabels]: SampleDelta,
  last: Sample | undefined,
): Sample | undefined {
  // Slots are assigned consecutively; a large one would allocate a huge array.
  if (slot > slots.length) {
    throw new InvalidMessage(`sample slot ${slot} is out of range`);
  }
  if (packed === undefined) {
    slots[slot] = undefined;
    return last;
  }
  const value = Number(packed);
  const exemplar = packedExemplar ? unpackExemplar(packedExemplar) : undefined;
  if (packedLabels === undefined) {
    const before = slots[slot];
    if (before === undefined || isValidValue(type, before.name, value)) {
      slots[slot] = before?.with(value, exemplar);
    }
    return last;
  }
  const labels = Array.isArray(packedLabels)
    ? { ...last?.labels, ...Object.fromEntries(packedLabels) }
    : packedLabels as SampleLabels;
  const sample = new Sample(
    name ?? last?.name ?? "",
    labels,
    value,
    exemplar,
  );
  slots[slot] = isValidValue(type, sample.name, value) ? sample : undefined;
  return sample;
}

/** Returns whether a sample can have a value: counts are never negative. */
function isValidValue(type: string, name: string, value: number): boolean {
  const isCount = type === "counter" ||
    type === "histogram" && !name.endsWith("_sum");
  return !isCount || value >= 0;
}

function isSame(one: Sample, other: Sample): boolean {
  return Object.is(one.value, other.value) &&
    isEqualExemplar(one.exemplar, other.exemplar);
}

function isEqualExemplar(
  one: Exemplar | undefined,
  other: Exemplar | undefined,
): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.timestamp === other.timestamp &&
    Object.is(one.value, other.value) &&
    JSON.stringify(one.labelSet) === JSON.stringify(other.labelSet);
}
