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

/** The most changes in one telling, so that none takes long to handle. */
const TELLING_SIZE = 200;

/** A metric, its samples and name aside. */
type Description = Omit<MetricFamily, "name" | "samples">;

/** Changes of a foreign metric, or a part of them, as they are sent. */
export interface OtherTelling {
  readonly name: string;
  /** `null` if the registry does not have the metric any more. */
  readonly description: Description | null;
  readonly changes: readonly SampleChange[];
}

/**
 * A sample that changed, by its place among the samples of its metric. Its name and
 * labels are sent once, when the place gets it. A place without a value is empty now.
 */
type SampleChange = readonly [
  place: number,
  value?: PackedNumber,
  exemplar?: PackedExemplar | null,
  /** `null` if it is that of the new sample before it in the same part. */
  name?: string | null,
  /** All labels, or as pairs those that the new sample before it has otherwise. */
  labels?: SampleLabels | readonly (readonly [string, string | number])[],
];

/** The samples of a metric, by place. The array is replaced, never changed. */
type Places = readonly (Sample | undefined)[];

interface Entry {
  readonly description: Description;
  readonly places: Places;
}

interface MutableEntry extends Entry {
  readonly places: (Sample | undefined)[];
}

/** A replica that is merged with others. */
export interface OtherPart {
  readonly replica: OtherReplica;
  readonly isAlive: boolean;
  /** Readings of the process are taken from the replica with the lowest age. */
  readonly age: number;
}

/** The metrics of others that a registry of a worker holds, as it last told. */
export class OtherReplica {
  readonly #entries = new Map<string, Entry>();

  /** Returns the changes since the last telling. */
  async changes(families: readonly MetricFamily[]): Promise<OtherTelling[]> {
    const tellings: OtherTelling[] = [];
    for (const family of families) {
      tellings.push(...await this.#diff(family));
    }
    const names = new Set(families.map(({ name }) => name));
    for (const name of this.#entries.keys()) {
      if (names.has(name)) continue;
      tellings.push({ name, description: null, changes: [] });
    }
    return tellings;
  }

  /**
   * Reads tellings, in slices.
   *
   * @returns A function that applies all of their changes at once.
   * @throws {InvalidMessage} If a sample has a place that no worker would give it.
   */
  async prepare(tellings: readonly OtherTelling[]): Promise<() => void> {
    const entries = new Map<string, MutableEntry | undefined>();
    for (const { name, description, changes } of tellings) {
      if (description === null) {
        entries.set(name, undefined);
        continue;
      }
      const known = this.#find(name, description)?.places ?? [];
      const { places } = entries.get(name) ?? { places: [...known] };
      entries.set(name, { description, places });
      let last: Sample | undefined;
      await forEachInSlices(changes, (change) => {
        last = applyChange(description.type, places, change, last);
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
  everything(): Iterable<OtherTelling> {
    return packAll([...this.#entries]);
  }

  /**
   * Merges replicas as they are now. Gauges of workers that have ended are left out,
   * except the start time of the process, which all of its threads share.
   *
   * @param onConflict Called with a metric that they have as different types.
   */
  static merge(
    parts: readonly OtherPart[],
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
  static of(families: readonly MetricFamily[]): OtherReplica {
    const replica = new OtherReplica();
    for (const { name, samples, ...description } of families) {
      replica.#entries.set(name, { description, places: samples });
    }
    return replica;
  }

  families(): MetricFamily[] {
    return [...this.#entries].map(([name, { description, places }]) => ({
      name,
      ...description,
      samples: places.filter((sample) => sample !== undefined),
    }));
  }

  async #diff(family: MetricFamily): Promise<OtherTelling[]> {
    const { name, help, type, aggregator } = family;
    const description = { help, type, aggregator };
    const known = this.#find(name, description);
    const before = known?.places ?? [];
    const find = createFinder(before);
    const isTaken = new Uint8Array(before.length);
    const changes: SampleChange[] = [];
    const added: Sample[] = [];
    await forEachInSlices(family.samples.entries(), ([index, sample]) => {
      const place = find(sample.key, index);
      if (place === undefined) {
        added.push(sample);
        return;
      }
      isTaken[place] = 1;
      if (!isSame(before[place]!, sample)) {
        changes.push(packValue(place, sample));
      }
    });
    const free = [...before.keys()].filter((place) => !isTaken[place]);
    await forEachInSlices(added.entries(), ([index, sample]) => {
      const place = free[index] ?? before.length + index - free.length;
      const isFirst = changes.length % TELLING_SIZE === 0;
      changes.push(
        packNew(place, sample, isFirst ? undefined : added[index - 1]),
      );
    });
    for (const place of free.slice(added.length)) {
      if (before[place] !== undefined) changes.push([place]);
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
 * worker can have a metric of the scraped one aggregated in another way.
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

/** Returns a function that finds the place of a sample, at its index first. */
function createFinder(
  places: Places,
): (key: string, index: number) => number | undefined {
  let byKey: Map<string, number> | undefined;
  return (key, index) => {
    if (places[index]?.key === key) return index;
    byKey ??= new Map(
      places.flatMap((sample, place) =>
        sample === undefined ? [] : [[sample.key, place]]
      ),
    );
    return byKey.get(key);
  };
}

/** Splits items into parts, one at least: a metric may have no samples. */
function* partsOf<T>(
  items: readonly T[],
): Iterable<readonly [at: number, part: T[]]> {
  for (let at = 0; at === 0 || at < items.length; at += TELLING_SIZE) {
    yield [at, items.slice(at, at + TELLING_SIZE)];
  }
}

function* packAll(
  entries: readonly (readonly [name: string, entry: Entry])[],
): Iterable<OtherTelling> {
  for (const [name, { description, places }] of entries) {
    for (const [at, part] of partsOf(places)) {
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
  place: number,
  { value, exemplar }: Sample,
): SampleChange {
  return exemplar === undefined
    ? [place, packNumber(value)]
    : [place, packNumber(value), packExemplar(exemplar)];
}

/** @param last The new sample before it in the same part. */
function packNew(
  place: number,
  { name, labels, value, exemplar }: Sample,
  last: Sample | undefined,
): SampleChange {
  return [
    place,
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
  places: (Sample | undefined)[],
  [place, packed, packedExemplar, name, packedLabels]: SampleChange,
  last: Sample | undefined,
): Sample | undefined {
  // Places are given one after the other: none may make room for millions.
  if (place > places.length) {
    throw new InvalidMessage(`there is no place ${place} in a metric`);
  }
  if (packed === undefined) {
    places[place] = undefined;
    return last;
  }
  const value = Number(packed);
  const exemplar = packedExemplar ? unpackExemplar(packedExemplar) : undefined;
  if (packedLabels === undefined) {
    const before = places[place];
    if (before === undefined || mayHold(type, before.name, value)) {
      places[place] = before?.with(value, exemplar);
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
  places[place] = mayHold(type, sample.name, value) ? sample : undefined;
  return sample;
}

/** Returns whether a sample may have this value: counts are never negative. */
function mayHold(type: string, name: string, value: number): boolean {
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
