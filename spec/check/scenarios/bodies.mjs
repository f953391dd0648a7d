/** What the threads of several scenarios do, and what several begin with. */

/**
 * A writer that marks and publishes each of these, one batch after the other, waiting where it has
 * to; then its thread ends.
 */
export const publishes = (...keys) =>
  /** @param {import('../model.mjs').World} w */
  function* (w) {
    const lane = yield* w.open()
    for (const key of keys) {
      if (!(yield* w.markWaiting(lane, key))) return
      if (!(yield* w.flushWaiting(lane))) return
    }
  }

/** The same, and it does not wait: what finds the ring full stays staged. */
export const offers = (...keys) =>
  /** @param {import('../model.mjs').World} w */
  function* (w) {
    const lane = yield* w.open()
    for (const key of keys) {
      yield* w.mark(lane, key)
      yield* w.flush(lane)
    }
  }

/**
 * A writer that publishes these batches, however far the aggregator has come; what finds the ring
 * full stays staged.
 */
export const inBatches = (...batches) =>
  /** @param {import('../model.mjs').World} w */
  function* (w) {
    const lane = yield* w.open()
    for (const batch of batches) {
      yield* w.markMany(lane, batch)
      yield* w.flush(lane)
    }
  }

/**
 * A writer that publishes a batch in each of these epochs, which the tracker cuts and commits one
 * after the other.
 */
export const inRounds = (...batches) => ({
  /** @param {import('../model.mjs').World} w */
  *writerA(w) {
    const lane = yield* w.open()
    for (let round = 0; round < batches.length; round++) {
      if (batches[round].length > 0) yield* w.markMany(lane, batches[round])
      yield* w.flushWaiting(lane)
      w.results.published = round
      w.run.event()
      yield* w.untilSo(() => (w.results.sealed ?? -1) >= round)
    }
  },
  /** @param {import('../model.mjs').World} w */
  *tracker(w) {
    for (let round = 0; round < batches.length; round++) {
      yield* w.tracker.wait(() => (w.results.published ?? -1) >= round)
      yield* w.tracker.commit(yield* w.tracker.advance())
      w.results.sealed = round
      w.run.event()
    }
  },
})

/**
 * Two keys, 100 and 101, are in the open epoch already, as if an earlier batch had brought them.
 */
export function holdsBatch({ seed }) {
  seed([100, 101])
}
