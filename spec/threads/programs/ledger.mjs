/**
 * Keys that are marked once each, and what became of them. A key tells who marked it, and with
 * which others:
 *
 *   lo  the marker's sequence number
 *   hi  marker (10 bits) | size of its group << 10 (8 bits, 0: marked by itself) | place in the group << 18
 *
 * So an epoch can be checked by itself (no key twice, no group in part), against the epochs before
 * (a key is in one place at a time, a marker's keys come in order), and at the end against what was
 * marked (nothing lost, nothing invented).
 */
const UNSEEN = 0
const HELD = 1
const GIVEN_BACK = 2
const COMMITTED = 3

const ERRORS_MAX = 10

export const MARKERS_MAX = 1024
export const GROUP_MAX = 255

export function hiOf(marker, groupSize = 0, place = 0) {
  return marker | (groupSize << 10) | (place << 18)
}

/** Lanes of a group of consecutive keys. */
export function groupLanes(marker, seq, size) {
  const lanes = new Int32Array(size * 2)
  for (let i = 0; i < size; i++) {
    lanes[2 * i] = seq + i
    lanes[2 * i + 1] = hiOf(marker, size, i)
  }
  return lanes
}

class Marks {
  state = new Uint8Array(1024)
  epochOf = new Float64Array(1024)
  /** Sequence numbers below it were all handed out at least once. */
  seenBelow = 0
  /** The largest that was. */
  last = -1
  lastBefore = -1

  reserve(seq) {
    if (seq < this.state.length) return
    const size = 2 ** Math.ceil(Math.log2(seq + 1))
    const { state, epochOf } = this
    this.state = new Uint8Array(size)
    this.state.set(state)
    this.epochOf = new Float64Array(size)
    this.epochOf.set(epochOf)
  }
}

export class Ledger {
  errors = []
  handedOut = 0
  committed = 0
  /** Keys of groups that were found whole. */
  grouped = 0
  #markers = new Map()
  /**
   * Restored epochs, whose keys the next cut must have, unless one that was waiting for a slot had
   * them.
   */
  #owed = new Set()
  #lastId = -1

  /**
   * To be noted when advanceEpoch() is called: what its epoch must have. `published`: marker to the
   * number of keys known to be published.
   */
  expectation(published = new Map()) {
    return { published: new Map(published), owed: [...this.#owed] }
  }

  /** An epoch was handed out; epochs come in the order of their ids. */
  handOut(epoch, expected = this.expectation()) {
    const { id } = epoch
    const lanes = lanesOf(epoch)
    if (!epoch.exact) this.#error(`epoch ${id} is not exact: ${epoch.reason}`)
    if (id <= this.#lastId) this.#error(`epoch ${id} after epoch ${this.#lastId}`)
    this.#lastId = id
    this.handedOut += epoch.size
    for (const marks of this.#markers.values()) marks.lastBefore = marks.last
    for (let i = 0; i < lanes.length; i += 2) this.#take(id, lanes[i], lanes[i + 1])
    for (let i = 0; i < lanes.length; i += 2)
      if (lanes[i + 1] >>> 10 !== 0) this.#checkGroup(id, lanes[i], lanes[i + 1])
    for (const [marker, count] of expected.published) {
      const marks = this.#marks(marker)
      marks.reserve(count)
      while (marks.state[marks.seenBelow] !== UNSEEN) marks.reserve(++marks.seenBelow)
      if (marks.seenBelow < count) {
        this.#error(
          `epoch ${id}: key ${marks.seenBelow} of marker ${marker} was published before the cut (${count} were) and is in no epoch`,
        )
      }
    }
    for (const owed of expected.owed) {
      if (!this.#owed.delete(owed)) continue
      for (let i = 0; i < owed.lanes.length; i += 2) {
        const [seq, marker] = [owed.lanes[i], owed.lanes[i + 1] & 1023]
        if (this.#marks(marker).epochOf[seq] > owed.id) continue
        this.#error(
          `epoch ${id} lacks key ${seq} of marker ${marker}: epoch ${owed.id} was restored before its cut`,
        )
      }
    }
  }

  commit(epoch) {
    this.#settle(epoch, COMMITTED)
    this.committed += epoch.size
    epoch.commit()
  }

  restore(epoch) {
    this.#settle(epoch, GIVEN_BACK)
    this.#owed.add({ id: epoch.id, lanes: lanesOf(epoch).slice() })
    return epoch.restore()
  }

  /**
   * All is over: keys 0 to atLeast - 1 of the marker were committed, and none from atMost on
   * exists. Returns how many there were.
   */
  finish(marker, atLeast, atMost = atLeast) {
    const marks = this.#marks(marker)
    marks.reserve(Math.max(atLeast, marks.last + 1))
    for (let seq = 0; seq < atLeast; seq++) {
      if (marks.state[seq] === COMMITTED) continue
      this.#error(
        `key ${seq} of marker ${marker} (of ${atLeast}) was lost: state ${marks.state[seq]}`,
      )
      break
    }
    if (marks.last >= atMost)
      this.#error(`key ${marks.last} of marker ${marker} was invented: there are ${atMost}`)
    let count = 0
    for (let seq = 0; seq <= marks.last; seq++) {
      if (marks.state[seq] === COMMITTED) count++
      else if (seq >= atLeast && marks.state[seq] !== UNSEEN)
        this.#error(`key ${seq} of marker ${marker} was handed out and not settled`)
    }
    return count
  }

  #marks(marker) {
    let marks = this.#markers.get(marker)
    if (marks === undefined) this.#markers.set(marker, (marks = new Marks()))
    return marks
  }

  #take(id, seq, hi) {
    const marks = this.#marks(hi & 1023)
    if (seq >= marks.state.length) {
      if (seq > 1e8)
        return this.#error(`epoch ${id} has key (${seq}, ${hi}), which no writer marked`)
      marks.reserve(seq)
    }
    const state = marks.state[seq]
    if (state === HELD || state === COMMITTED) {
      const where =
        marks.epochOf[seq] === id
          ? 'twice'
          : `too, after epoch ${marks.epochOf[seq]} (state ${state})`
      this.#error(`epoch ${id} has key ${seq} of marker ${hi & 1023} ${where}`)
    }
    if (state === UNSEEN) {
      if (seq <= marks.lastBefore)
        this.#error(
          `epoch ${id} has key ${seq} of marker ${hi & 1023}, an earlier one had ${marks.lastBefore}`,
        )
      if (seq > marks.last) marks.last = seq
    }
    marks.state[seq] = HELD
    marks.epochOf[seq] = id
  }

  #checkGroup(id, seq, hi) {
    const { epochOf } = this.#marks(hi & 1023)
    const size = (hi >>> 10) & 255
    const place = hi >>> 18
    this.grouped++
    // The first looks at all the others, the others at the first.
    const from = seq - place
    const to = place === 0 ? from + size : from + 1
    for (let other = from; other < to; other++) {
      if (epochOf[other] === id) continue
      this.#error(
        `epoch ${id} has key ${seq} of marker ${hi & 1023} without key ${other} of the same batch`,
      )
      return
    }
  }

  #settle(epoch, state) {
    const lanes = lanesOf(epoch)
    for (let i = 0; i < lanes.length; i += 2) {
      const marks = this.#marks(lanes[i + 1] & 1023)
      if (lanes[i] < marks.state.length) marks.state[lanes[i]] = state
    }
  }

  #error(what) {
    if (this.errors.length < ERRORS_MAX) this.errors.push(what)
  }
}

/**
 * Of an epoch that is not exact: those that are listed, so that the other errors are found as well.
 */
function lanesOf(epoch) {
  return epoch.exact
    ? epoch.pairs
    : new Uint32Array(BigUint64Array.from(epoch.listed(), BigInt).buffer)
}
