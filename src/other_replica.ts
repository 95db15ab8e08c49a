import {
  type PackedExemplar,
  packExemplar,
  unpackExemplar,
} from "./exemplar.ts";
import { mergeFamilies } from "./merge.ts";
import { type PackedNumber, packNumber } from "./numbers.ts";
import {
  type GatheredFamily,
  type GatheredSample,
  sampleKey,
} from "./samples.ts";

/** A metric, its samples and name aside. */
type Description = Omit<GatheredFamily, "name" | "samples">;

/** What changed in a metric of others, as it travels. */
export interface OtherTelling {
  readonly name: string;
  /** `null`: the registry has it no more. */
  readonly description: Description | null;
  readonly changed: readonly TravellingSample[];
  /** The keys of samples that are no more. */
  readonly removed: readonly string[];
}

interface TravellingSample extends Omit<GatheredSample, "value" | "exemplar"> {
  readonly value: PackedNumber;
  readonly exemplar?: PackedExemplar | undefined;
}

interface Entry {
  readonly description: Description;
  readonly samples: ReadonlyMap<string, GatheredSample>;
}

/** The metrics of others that a registry of a worker holds, as it last told. */
export class OtherReplica {
  readonly #entries = new Map<string, Entry>();

  /** What they hold that was not told yet. */
  changes(families: readonly GatheredFamily[]): OtherTelling[] {
    const names = new Set(families.map(({ name }) => name));
    const gone = [...this.#entries.keys()].filter((name) => !names.has(name));
    return [
      ...families.flatMap((family) => this.#changesOf(family)),
      ...gone.map((name) => ({
        name,
        description: null,
        changed: [],
        removed: [],
      })),
    ];
  }

  apply({ name, description, changed, removed }: OtherTelling): void {
    if (description === null) {
      this.#entries.delete(name);
      return;
    }
    const samples = new Map(this.#samplesOf(name, description));
    for (const key of removed) samples.delete(key);
    for (const each of changed) {
      const sample = unpack(each);
      samples.set(sampleKey(sample), sample);
    }
    this.#entries.set(name, { description, samples });
  }

  /** All of it, for those who know nothing. */
  everything(): OtherTelling[] {
    return [...this.#entries].map(([name, { description, samples }]) => ({
      name,
      description,
      changed: [...samples.values()].map(pack),
      removed: [],
    }));
  }

  families(): GatheredFamily[] {
    return [...this.#entries].map(([name, { description, samples }]) => ({
      name,
      ...description,
      samples: [...samples.values()],
    }));
  }

  /**
   * Makes one of several; gauges are those of who is alive.
   *
   * @param onConflict Told of a metric that they have as different types.
   */
  static merge(
    parts: readonly {
      readonly replica: OtherReplica;
      readonly isAlive: boolean;
    }[],
    onConflict: (left: GatheredFamily, type: string) => void,
  ): OtherReplica {
    const families = parts.flatMap(({ replica, isAlive }) =>
      replica.families().filter(({ type }) => isAlive || type !== "gauge")
    );
    const merged = new OtherReplica();
    for (const family of mergeFamilies(families, onConflict)) {
      const { name, samples, ...description } = family;
      merged.#entries.set(name, { description, samples: toMap(samples) });
    }
    return merged;
  }

  #changesOf(family: GatheredFamily): OtherTelling[] {
    const { name, help, type, aggregator } = family;
    const description = { help, type, aggregator };
    const before = this.#samplesOf(name, description);
    const now = toMap(family.samples);
    const changed = [...now].filter(([key, sample]) =>
      !isEqual(before?.get(key), sample)
    ).map(([, sample]) => pack(sample));
    const removed = [...before?.keys() ?? []].filter((key) => !now.has(key));
    const isSame = before !== undefined && changed.length === 0 &&
      removed.length === 0;
    return isSame ? [] : [{ name, description, changed, removed }];
  }

  /** What is known of a metric, unless it was another one of that name. */
  #samplesOf(
    name: string,
    description: Description,
  ): Entry["samples"] | undefined {
    const entry = this.#entries.get(name);
    return isEqual(entry?.description, description)
      ? entry?.samples
      : undefined;
  }
}

function toMap(
  samples: readonly GatheredSample[],
): Map<string, GatheredSample> {
  return new Map(samples.map((sample) => [sampleKey(sample), sample]));
}

function pack({ value, exemplar, ...rest }: GatheredSample): TravellingSample {
  return {
    ...rest,
    value: packNumber(value),
    exemplar: exemplar && packExemplar(exemplar),
  };
}

function unpack(
  { value, exemplar, ...rest }: TravellingSample,
): GatheredSample {
  return {
    ...rest,
    value: Number(value),
    exemplar: exemplar && unpackExemplar(exemplar),
  };
}

function isEqual(one: unknown, other: unknown): boolean {
  return JSON.stringify(one, keepNumbers) ===
    JSON.stringify(other, keepNumbers);
}

/** `NaN` and the infinities would all be `null`. */
function keepNumbers(_key: string, value: unknown): unknown {
  return typeof value === "number" ? String(value) : value;
}
