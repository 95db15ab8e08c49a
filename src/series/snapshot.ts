import { LabelSet } from "../exposition/label_set.ts";
import { OutcomeStats } from "./outcome_stats.ts";
import type { SeriesSource, SeriesView } from "./series.ts";

/**
 * Copies all that series hold in one go, so that it can be read bit by bit while they
 * go on counting.
 *
 * @param now The time for the age of what is running, in seconds.
 */
export function takeSnapshot(source: SeriesSource, now: number): SeriesSource {
  const copier = new Copier(now);
  const copy = (series: SeriesView) => copier.copySeries(series);
  const pipelines = Array.from(source.pipelineSeries(), copy);
  const stages = Array.from(source.stageSeries(), copy);
  return {
    pipelineBounds: source.pipelineBounds,
    stageBounds: source.stageBounds,
    pipelineSeries: () => pipelines,
    stageSeries: () => stages,
  };
}

/** What most outcomes hold: nothing yet. */
const NOTHING: OutcomeStats = Object.freeze(new OutcomeStats());

/** How many numbers are allotted at a time. */
const CHUNK_LENGTH = 4096;

/**
 * Copies histograms to memory that many share: it takes longer to get some for each
 * of them than to fill it, and everything else waits meanwhile.
 */
class Copier {
  readonly #now: number;
  #chunk = new Float64Array();
  #used = 0;

  constructor(now: number) {
    this.#now = now;
  }

  copySeries(series: SeriesView): SeriesView {
    const { labels, success, failure, timeout, unknown } = series;
    const age = series.ageAt(this.#now);
    return {
      // One of its own, which is gone with the scrape, and its text with it.
      labels: new LabelSet(labels.values),
      success: this.#copyStats(success),
      failure: this.#copyStats(failure),
      timeout: this.#copyStats(timeout),
      unknown: unknown && this.#copyStats(unknown),
      running: series.running,
      ageAt: () => age,
    };
  }

  #copyStats(
    { total, cancelled, lastEnd, histogram, exemplars }: OutcomeStats,
  ): OutcomeStats {
    if (histogram === undefined) return NOTHING;
    return {
      total,
      cancelled,
      lastEnd,
      histogram: this.#copyHistogram(histogram),
      exemplars: exemplars && new Map(exemplars),
    };
  }

  #copyHistogram(histogram: Float64Array): Float64Array {
    const { length } = histogram;
    if (this.#used + length > this.#chunk.length) {
      this.#chunk = new Float64Array(Math.max(CHUNK_LENGTH, length));
      this.#used = 0;
    }
    const copy = this.#chunk.subarray(this.#used, this.#used += length);
    copy.set(histogram);
    return copy;
  }
}
