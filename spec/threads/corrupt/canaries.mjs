/** Words that belong to nothing: a store into one of them is a store outside of the structure. */
import * as map from '../../../dist/memory/map.js'

const CANARY = 0x5ca1ab1e

/** Fills the words that belong to nothing. Returns their ranges. */
export function plantCanaries(memory) {
  const ranges = padding(memory)
  for (const [from, to] of ranges) memory.words.fill(CANARY, from, to)
  return ranges
}

/** The first of these words that was stored, those apart that were corrupted on purpose. */
export function storedCanary({ words }, ranges, corrupted) {
  for (const [from, to] of ranges) {
    for (let at = from; at < to; at++) if (words[at] !== CANARY && !corrupted.has(at)) return at
  }
  return undefined
}

function padding({ layout, words }) {
  const ranges = []
  const lanesEnd = layout.lanes + layout.laneStride * layout.maxWriters
  ranges.push([layout.ring + layout.capacity, layout.lanes], [lanesEnd, layout.epochs])
  ranges.push([map.JOB_FAILURES + 1, map.PLAN], [map.choiceAt(map.CHOICES_MAX), layout.ring])
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const lane = map.laneAt(layout, writer)
    const text = lane + layout.laneText
    ranges.push([lane + map.LANE_KEYS + layout.laneCapacity * 2, text])
    ranges.push([text + layout.laneTextWords, lane + layout.laneStride])
  }
  for (let slot = 0; slot < layout.epochSlots; slot++) {
    const at = map.epochAt(layout, slot)
    ranges.push([at + map.SLOT_NAMESPACES + map.NAMESPACES_MAX + 1, at + map.SLOT_STAMP])
    ranges.push([at + map.SLOT_STAMP + 1, at + layout.log])
    ranges.push([at + layout.log + layout.maxKeysPerEpoch * 2, at + layout.table])
    ranges.push([at + layout.table + layout.largestTable * 2, at + layout.arena])
    ranges.push([at + layout.arena + layout.arenaWords, at + layout.textTable])
    ranges.push([at + layout.textTable + layout.largestTextTable * 2, at + layout.epochStride])
  }
  ranges.push([layout.epochs + layout.epochStride * layout.epochSlots, words.length])
  return ranges.filter(([from, to]) => to > from)
}
