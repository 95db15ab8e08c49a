import type { Family } from "./family.ts";
import { LabelSet } from "./label_set.ts";
import { type GatheredFamily, GatheredSample, withCommon } from "./samples.ts";

/** Labels of ours: none that a registry adds may stand beside them. */
const OWN_LABELS: ReadonlySet<string> = new Set([
  "lane",
  "pipeline_name",
  "stage_name",
  "status",
  "outcome",
  "le",
  "issue",
]);

/** A family of ours as a scrape shows it. */
export class FamilyView implements GatheredFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly lines: GatheredFamily["lines"];
  readonly #family: Family;
  readonly #common: Readonly<Record<string, unknown>>;

  /** @param common The labels that the registry adds to every sample. */
  constructor(family: Family, common: Readonly<Record<string, unknown>>) {
    const { fullName, help, type, aggregator } = family;
    this.name = fullName;
    this.help = help;
    this.type = type;
    this.aggregator = aggregator;
    this.#family = family;
    this.#common = common;
    // Of one that is named like ours it depends on the sample whether it is added.
    if (!Object.keys(common).some((name) => OWN_LABELS.has(name))) {
      const { text } = new LabelSet(withCommon({}, common));
      this.lines = (withExemplars) => family.lines(text, withExemplars);
    }
  }

  get samples(): GatheredSample[] {
    return this.#family.samples().map((sample) =>
      new GatheredSample(
        sample.metricName ?? this.name,
        withCommon(sample.labels, this.#common),
        sample.value,
        sample.exemplar,
      )
    );
  }
}
