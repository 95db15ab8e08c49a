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

/** The most changes in one delta, so that none takes long to handle. */
const DELTA_SIZE = 200;

/** A metric, its samples and name aside. */
type Description = Omit<MetricFamily, "name" | "samples">;

/** Changes of a foreign metric, or a part of them, as they are sent. */
export interface ForeignDelta {
  readonly name: string;
  /** `null` if the registry does not have the metric any more. */
  readonly description: Description | null;
  readonly changes: readonly SampleChange[];
}

/**
 * A sample that changed, by its slot among the samples of its metric. Its name and
 * labels are sent once, when the slot gets it. A slot without a value is empty now.
 */
type SampleChange = readonly [
  slot: number,
  value?: PackedNumber,
  exemplar?: PackedExemplar | null,
  /** `null` if it is that of the new sample before it in the same part. */
  name?: string | null,
  /** All labels, or as pairs those that the new sample before it has otherwise. */
  labels?: SampleLabels | readonly (readonly [string, string | number])[],
];

/** The samples of a metric, by slot. The array is replaced, never changed. */
type Slots = readonly (Sample | undefined)[];

interface Entry {
  readonly description: Description;
  readonly slots: Slots;
}

interface MutableEntry extends Entry {
  readonly slots: (Sample | undefined)[];
}

/** A replica that is merged with others. */
export interface ForeignPart {
  readonly replica: ForeignReplica;
  readonly isAlive: boolean;
  /** Readings of the process are taken from the replica with the lowest age. */
  readonly age: number;
}

/** The metrics of others that a registry of a worker holds, as it last told. */
export class ForeignReplica {
  readonly #entries = new Map<string, Entry>();

  /** Returns the changes since the last delta. */
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
   * Reads deltas, in slices.
   *
   * @returns A function that applies all of their changes at once.
   * @throws {InvalidMessage} If a sample has a slot that no worker would give it.
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

  /** Returns all metrics as they are now, for a worker that has none of them. */
  fullState(): Iterable<ForeignDelta> {
    return packAll([...this.#entries]);
  }

  /**
   * Merges replicas as they are now. Gauges of workers that have ended are left out,
   * except the start time of the process, which all of its threads share.
   *
   * @param onConflict Called with a metric that they have as different types.
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

  /** Makes a replica that holds families. */
  static of(families: readonly MetricFamily[]): ForeignReplica {
    const replica = new ForeignReplica();
    for (const { name, samples, ...description } of families) {
      replica.#entries.set(name, { description, slots: samples });
    }
    return replica;
  }

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
    const changes: SampleChange[] = [];
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

  /** What is known of a metric, unless it was another one of that name. */
  #find(name: string, { help, type, aggregator }: Description) {
    const entry = this.#entries.get(name);
    const isOther = entry?.description.help !== help ||
      entry.description.type !== type ||
      entry.description.aggregator !== aggregator;
    return isOther ? undefined : entry;
  }
}

/**
 * Returns the description of each metric, by name: the first one, so that no other
 * worker can change how a metric of the scraped one is aggregated.
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

/** Returns a function that finds the slot of a sample, at its index first. */
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

/** Splits items into parts, one at least: a metric may have no samples. */
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
      const changes: SampleChange[] = [];
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
): SampleChange {
  return exemplar === undefined
    ? [slot, packNumber(value)]
    : [slot, packNumber(value), packExemplar(exemplar)];
}

/** @param last The new sample before it in the same part. */
function packNew(
  slot: number,
  { name, labels, value, exemplar }: Sample,
  last: Sample | undefined,
): SampleChange {
  return [
    slot,
    packNumber(value),
    exemplar === undefined ? null : packExemplar(exemplar),
    name === last?.name ? null : name,
    last === undefined ? labels : packLabels(labels, last.labels),
  ];
}

/** Most samples of a histogram differ in nothing but their bucket. */
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
  [slot, packed, packedExemplar, name, packedLabels]: SampleChange,
  last: Sample | undefined,
): Sample | undefined {
  // Slots are given one after the other: none may make room for millions.
  if (slot > slots.length) {
    throw new InvalidMessage(`there is no slot ${slot} in a metric`);
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

/** Returns whether a sample may have this value: counts are never negative. */
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
