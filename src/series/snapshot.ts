import { LabelSet } from "../exposition/label_set.ts";
import { OutcomeStats } from "./outcome_stats.ts";
import type { SeriesSource, SeriesView } from "./series.ts";

/**
 * Copies all series at once. The copy can be read in slices while the original series
 * change.
 *
 * @param now The time by which the age of running scopes is measured, in seconds.
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

/** The stats of every outcome that was never observed. */
const NOTHING: OutcomeStats = Object.freeze(new OutcomeStats());

/** The number of cells that are allocated at a time. */
const CHUNK_LENGTH = 4096;

/**
 * Copies series, with histograms in shared chunks of memory: allocating one array per
 * histogram takes longer than filling it, and blocks the event loop.
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
      // A new label set, so that its text is released with the scrape.
      labels: new LabelSet(labels.values),
      success: this.#copyStats(success),
      failure: this.#copyStats(failure),
      timeout: this.#copyStats(timeout),
      unknown: unknown && this.#copyStats(unknown),
      running: series.running,
      ageAt: () => age,
    };
  }

  #copyStats(stats: OutcomeStats): OutcomeStats {
    const { histogram } = stats;
    if (histogram === undefined) return NOTHING;
    return stats.copy(this.#copyHistogram(histogram));
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
