/** Which words are corrupted, and into what. */
import * as map from '../../../dist/memory/map.js'
import * as token from '../../../dist/ring/token.js'
import { UNDETECTABLE } from './undetectable.mjs'

const CONTROL =
  `TAIL HEAD CUR STOPPED STOP_POSITION FINISHED PROGRESS QUEUED_PEAK FAILED PARKED OWNER ROLE_OF
ROLE_ANCESTORS WAITERS LISTENING STARTING DIRTY_WANTED SIGNAL THREADS PANICS ITERATIONS RETRYING FAILED_AT
FAILURES ERROR_LENGTH ERROR_TEXT`.split(/\s+/)
const LANE =
  `LANE_ATTN LANE_OWNER LANE_THREAD LANE_ANCESTORS LANE_STAGED_END LANE_PUBLISHED LANE_EVERYTHING
LANE_WAITING LANE_WAKE_AT LANE_READ_END LANE_HARVESTED LANE_WAKE LANE_IN_FLIGHT_PEAK LANE_TEXT
LANE_TEXT_READ LANE_TEXT_BROKEN`.split(/\s+/)
const LANE_TOTALS = [
  'LANE_REJECTED',
  'LANE_SUPPRESSED',
  'LANE_BATCHES',
  'LANE_WAITS',
  'LANE_WAIT_US',
  'LANE_DELIVERED',
]
const SLOT = `SLOT_COUNT SLOT_GROWTH SLOT_ZERO SLOT_FLAGS SLOT_RESTORED SLOT_CHECK SLOT_TEXT_END
SLOT_TEXT_GROWTH SLOT_TEXT_COUNT SLOT_TEXT_BYTES SLOT_FORM SLOT_FILL SLOT_EPOCH SLOT_DIRTY
SLOT_NAMESPACES SLOT_STAMP`.split(/\s+/)

/** For each kind of word, a function that draws one: its index, and what it belongs to. */
const PLACES = {
  identity: (memory, draw) => ({ at: draw(map.IDENTITY_CHECK + 1) }),
  control: (memory, draw) => named(draw, CONTROL, 0),
  intents: (memory, draw) => ({
    at: map.INTENT_POSITION + draw(map.INTENT_TEXT_END - map.INTENT_POSITION + 1),
  }),
  totals: (memory, draw) =>
    draw(2) === 0
      ? { at: map.EVENTS + draw(12) }
      : ((word) => ({ ...word, at: word.at + draw(3) }))(
          named(draw, LANE_TOTALS, map.laneAt(memory.layout, draw(memory.layout.maxWriters))),
        ),
  'ring words': (memory, draw) => {
    const { ring, capacity } = memory.layout
    return {
      at:
        ring +
        (draw(2) === 0 ? (memory.words[map.HEAD] + draw(3)) & (capacity - 1) : draw(capacity)),
    }
  },
  'lane headers': (memory, draw) => {
    const lane = map.laneAt(memory.layout, draw(memory.layout.maxWriters))
    return { ...named(draw, LANE, lane), lane }
  },
  'lane keys': (memory, draw) => ({
    at:
      map.laneAt(memory.layout, draw(memory.layout.maxWriters)) +
      map.LANE_KEYS +
      draw(memory.layout.laneCapacity * 2),
  }),
  'lane texts': ({ layout, words }, draw) => {
    const lane = map.laneAt(layout, draw(layout.maxWriters))
    const near = words[lane + map.LANE_TEXT_READ] + draw(16)
    const at = draw(4) === 0 ? draw(layout.laneTextWords) : near & (layout.laneTextWords - 1)
    return { at: lane + layout.laneText + at }
  },
  'slot headers': (memory, draw) => {
    const slot = draw(memory.layout.epochSlots)
    return { ...named(draw, SLOT, map.epochAt(memory.layout, slot)), slot }
  },
  logs: (memory, draw) => {
    const slot = draw(memory.layout.epochSlots)
    return {
      at:
        map.epochAt(memory.layout, slot) +
        memory.layout.log +
        draw(Math.min(64, memory.layout.maxKeysPerEpoch) * 2),
      slot,
    }
  },
  tables: (memory, draw) => {
    const slot = draw(memory.layout.epochSlots)
    return {
      at:
        map.epochAt(memory.layout, slot) +
        memory.layout.table +
        draw(memory.layout.smallestTable * 2),
      slot,
    }
  },
}

/** Of named consumers: the kinds of words that only they use. */
export const OF_CONSUMERS = ['jobs', 'plans', 'choices']
Object.assign(PLACES, {
  namespaces: ({ layout }, draw) => {
    const slot = draw(layout.epochSlots)
    const at = map.epochAt(layout, slot)
    return draw(3) === 0
      ? { at: at + map.SLOT_FLAGS, slot }
      : { at: at + map.SLOT_NAMESPACES + draw(6), slot }
  },
  jobs: (memory, draw) => named(draw, ['JOB', 'JOB', 'JOB_FAILURES'], 0),
  plans: ({ words }, draw) => {
    const epoch = token.epochOfCur(words[map.CUR]) - draw(3)
    return { at: map.planAt(epoch) + draw(map.PLAN_MERGES + 4) }
  },
  choices: (memory, draw) => ({ at: map.choiceAt(draw(3)) + draw(5) }),
})

/** Of the texts of an epoch. */
for (const [kind, first] of [
  ['arenas', 'arena'],
  ['tables of texts', 'textTable'],
]) {
  PLACES[kind] = ({ layout }, draw) => {
    const slot = draw(layout.epochSlots)
    const words = kind === 'arenas' ? layout.arenaWords : layout.smallestTextTable * 2
    return { at: map.epochAt(layout, slot) + layout[first] + draw(Math.min(words, 256)), slot }
  }
}

/** The kinds of words that are corrupted. */
export const KINDS = Object.keys(PLACES)

function named(draw, names, base) {
  const field = names[draw(names.length)]
  if (map[field] === undefined) throw new Error(`the memory map has no ${field}`)
  return { at: base + map[field], field }
}

/** Functions from the old value to the new one; `other` reads another word of the same kind. */
const VALUES = [
  () => 0,
  () => 1,
  () => -1,
  (old) => old + 1,
  (old) => old - 1,
  (old) => -old,
  (old, draw) => old ^ (1 << draw(32)),
  (old, draw) => old ^ (1 << draw(12)),
  (old, draw) => old + draw(64),
  (old, draw) => old - draw(64),
  () => 2 ** 30,
  () => 2 ** 31 - 1,
  () => -(2 ** 31),
  (old, draw) => draw(2 ** 32),
  (old, draw, other) => other(),
  (old, draw, other) => other(),
]

/** Corrupts one to three words of a kind. Returns what was changed, each with its excuse if any. */
export function corrupt(memory, kind, draw, log) {
  const { words } = memory
  const count = 1 + (draw(4) === 0 ? draw(3) : 0)
  return Array.from({ length: count }, () => {
    const place = PLACES[kind](memory, draw)
    const old = words[place.at]
    const other = () => words[PLACES[kind](memory, draw).at]
    let now = VALUES[draw(VALUES.length)](old, draw, other) | 0
    if (now === old) now = old ^ 1
    const change = { kind, memory, ...place, old, now }
    change.excuse = UNDETECTABLE.find(({ is }) => is(change))
    words[place.at] = now
    const excuse = change.excuse === undefined ? '' : ` (${change.excuse.what})`
    log(`${kind} ${place.field ?? ''} word ${place.at}: ${old} -> ${now}${excuse}`)
    return change
  })
}
