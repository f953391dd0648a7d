/**
 * Durations in bins that grow by a sixteenth of an octave: a percentile is within 2.2 %, and the
 * memory is the same for a thousand and for a billion.
 */

const BINS_AN_OCTAVE = 16
/** Bin 0 begins at 2^-7 µs. */
const OCTAVES_BELOW_ONE = 7
const OCTAVES = 40

export class Histogram {
  #counts = new Float64Array(OCTAVES * BINS_AN_OCTAVE)
  #count = 0
  #max = 0

  add(us) {
    const bin = Math.floor((Math.log2(us) + OCTAVES_BELOW_ONE) * BINS_AN_OCTAVE)
    // a duration of 0 is -Infinity, and in bin 0
    this.#counts[bin > 0 ? Math.min(bin, this.#counts.length - 1) : 0]++
    this.#count++
    if (us > this.#max) this.#max = us
  }

  /**
   * { p50, p90, p95, p99, p999, p9999, max, count, bins: [[from, count], ...] }, in µs; the bins that
   * are not empty. What travels between threads and lies in the results.
   */
  summary() {
    const bins = []
    for (let bin = 0; bin < this.#counts.length; bin++) {
      if (this.#counts[bin] > 0) bins.push([Number(edgeOf(bin).toPrecision(4)), this.#counts[bin]])
    }
    return {
      p50: this.#percentile(0.5),
      p90: this.#percentile(0.9),
      p95: this.#percentile(0.95),
      p99: this.#percentile(0.99),
      p999: this.#percentile(0.999),
      p9999: this.#percentile(0.9999),
      max: this.#max,
      count: this.#count,
      bins,
    }
  }

  #percentile(share) {
    let left = Math.ceil(this.#count * share)
    if (left === 0) return 0
    let bin = 0
    while ((left -= this.#counts[bin]) > 0) bin++
    return Math.min(edgeOf(bin + 0.5), this.#max)
  }

  /** One of several summaries. */
  static merged(summaries) {
    const all = new Histogram()
    for (const { bins, max } of summaries) {
      for (const [from, count] of bins) {
        // The middle of the bin: its edge was rounded.
        all.#counts[Math.floor((Math.log2(from) + OCTAVES_BELOW_ONE) * BINS_AN_OCTAVE + 0.5)] +=
          count
        all.#count += count
      }
      all.#max = Math.max(all.#max, max)
    }
    return all.summary()
  }
}

function edgeOf(bin) {
  return 2 ** (bin / BINS_AN_OCTAVE - OCTAVES_BELOW_ONE)
}
