import {
  epochAt,
  FAILED,
  FINISHED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_SATURATED,
  FLAG_UNPUBLISHED,
  FORM_EXACT,
  FORM_FILTER,
  HEAD,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_TOKENS,
  JOB,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_TEXT,
  LANE_TEXT_BROKEN,
  LANE_THREAD,
  LANE_WAITING,
  laneAt,
  type Layout,
  OWNER,
  PANICS,
  PARKED,
  PLAN_COUNTS,
  planAt,
  type SharedWords,
  SLOT_COUNT,
  SLOT_FILL,
  SLOT_FLAGS,
  SLOT_FORM,
  SLOT_GROWTH,
  SLOT_TEXT_BYTES,
  SLOT_TEXT_COUNT,
  SLOT_TEXT_END,
  slotAt,
  STOPPED,
  TAIL,
  VERSION,
  WAIT_FOR_ROOM,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import { epochOfJob, indexOfJob } from '../memory/plan.js'
import { filterBits } from '../memory/slot.js'
import {
  advance,
  batchCount,
  batchWriter,
  CLOSE,
  type ControlKind,
  distance,
  epochOfCur,
  epochOfPayload,
  EVERYTHING,
  generationOf,
  isBatch,
  isFull,
  isOwned,
  kindOf,
  NO_KIND,
  NOP,
  payloadOf,
  POISON,
  readCur,
  REAP,
  RESTORE,
  SEAL,
  slotOfCur,
  slotOfPayload,
  STOP,
  tokenOf,
  writerOfPayload,
} from '../ring/token.js'

/** Slots of the ring that are shown, from the head on. */
const SLOTS_SHOWN = 8

const KINDS: Readonly<Record<ControlKind, string>> = {
  [SEAL]: 'SEAL',
  [RESTORE]: 'RESTORE',
  [CLOSE]: 'CLOSE',
  [REAP]: 'REAP',
  [EVERYTHING]: 'EVERYTHING',
  [STOP]: 'STOP',
  [POISON]: 'POISON',
  [NOP]: 'NOP',
}
const FLAGS: readonly [bit: number, name: string][] = [
  [FLAG_OVERFLOW, 'overflow'],
  [FLAG_EVERYTHING, 'everything'],
  [FLAG_UNPUBLISHED, 'unpublished'],
  [FLAG_FAULT, 'fault'],
  [FLAG_SATURATED, 'saturated'],
]

/** Shows the shared memory as text: numbers and states, no key. */
export function dump(memory: Memory): string {
  return [
    ...control(memory),
    ...merges(memory),
    ...ring(memory),
    ...lanes(memory),
    ...epochs(memory),
  ].join('\n')
}

function control({ words, layout }: Memory): string[] {
  const owner = Atomics.load(words, OWNER)
  const states = [
    owner === 0 ? 'no thread has the role' : `thread ${owner - 1}`,
    ...(Atomics.load(words, PARKED) === 1 ? ['asleep'] : []),
    ...(Atomics.load(words, STOPPED) === 1 ? ['stopped'] : []),
    ...(Atomics.load(words, FINISHED) === 1 ? ['finished'] : []),
    ...(Atomics.load(words, FAILED) !== 0 ? [`failed (${words[FAILED]})`] : []),
  ]
  const intent =
    words[INTENT_POSITION] === 0
      ? 'none'
      : `${words[INTENT_TOKENS]} at ${words[INTENT_POSITION] - 1}, ${words[INTENT_COUNT]} keys`
  return [
    `dirtyring memory, version ${words[VERSION]}, ${layout.size * 4} bytes`,
    `aggregator  ${states.join(', ')}; ${words[PANICS]} panics; tokens last in hand: ${intent}`,
  ]
}

/** What is left of the work behind the last cut, where there are named consumers. */
function merges({ words, layout }: Memory): string[] {
  if (layout.maxConsumers === 0) return []
  const word = Atomics.load(words, JOB)
  const epoch = epochOfJob(word)
  const job =
    word === 0
      ? 'no cut yet'
      : `behind epoch ${epoch} (mod 2^19): ${indexOfJob(word)} merges made, ` +
        `${words[planAt(epoch) + PLAN_COUNTS] & 0xff} planned`
  return [`consumers   at most ${layout.maxConsumers}; ${job}`]
}

function ring({ words, layout }: Memory): string[] {
  const head = Atomics.load(words, HEAD)
  const tail = Atomics.load(words, TAIL)
  const queued = distance(tail, head)
  const lines = [`ring        head ${head}, tail ${tail}: ${queued} of ${layout.capacity} slots`]
  for (let i = 0; i < Math.min(queued, SLOTS_SHOWN); i++) {
    const position = advance(head, i)
    const word = Atomics.load(words, slotAt(layout, position))
    lines.push(
      `  ${position}  ${isFull(word) ? describe(layout, tokenOf(word)) : `EMPTY (${word})`}`,
    )
  }
  if (queued > SLOTS_SHOWN) lines.push(`  … ${queued - SLOTS_SHOWN} more`)
  return lines
}

function describe(layout: Layout, token: number): string {
  if (isBatch(token))
    return `BATCH writer ${batchWriter(layout, token)}, ${batchCount(layout, token)} keys`
  const payload = payloadOf(token)
  const kind = kindOf(token)
  switch (kind) {
    case SEAL:
    case RESTORE:
      return `${KINDS[kind]} slot ${slotOfPayload(payload)}, epoch ${epochOfPayload(payload)}`
    case CLOSE:
    case REAP:
      return `${KINDS[kind]} writer ${writerOfPayload(payload)}`
    case EVERYTHING:
    case STOP:
    case POISON:
    case NOP:
      return KINDS[kind]
    case NO_KIND:
      return `unknown (${token})`
  }
}

function lanes({ words, layout }: Memory): string[] {
  const lines: string[] = []
  for (let id = 0; id < layout.maxWriters; id++) {
    const lane = laneAt(layout, id)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if (!isOwned(owner)) continue
    const readEnd = Atomics.load(words, lane + LANE_READ_END)
    const published = Atomics.load(words, lane + LANE_PUBLISHED)
    const staged = Atomics.load(words, lane + LANE_STAGED_END)
    const waiting = Atomics.load(words, lane + LANE_WAITING)
    const waits =
      waiting === 0 ? '' : `, waits for ${waiting === WAIT_FOR_ROOM ? 'room' : 'a slot'}`
    const texts = words[lane + LANE_TEXT] === 0 ? '' : ', has marked texts'
    const broken = words[lane + LANE_TEXT_BROKEN] === 0 ? '' : ' that do not hold together'
    lines.push(
      `writer ${id}    thread ${words[lane + LANE_THREAD] - 1}, ` +
        `generation ${generationOf(owner)}: ` +
        `${(published - readEnd) | 0} keys in flight, ${(staged - published) | 0} staged, ` +
        `of ${layout.laneCapacity}${texts}${broken}${waits}`,
    )
  }
  return lines.length === 0 ? ['writers     none'] : lines
}

/** The table of an epoch slot, or its filter. Not checked, because it is only shown. */
function formOf(layout: Layout, words: SharedWords, at: number): string {
  const form = Atomics.load(words, at + SLOT_FORM)
  if (form === FORM_EXACT) return `${layout.smallestTable * 2 ** words[at + SLOT_GROWTH]} cells`
  const part = (words[at + SLOT_FILL] >>> 0) / filterBits(layout)
  const turning = form === FORM_FILTER ? '' : ' (turning)'
  return `a filter with ${(100 * part).toFixed(1)} % of its bits set${turning}`
}

function epochs({ words, layout }: Memory): string[] {
  const cur = readCur(words)
  return Array.from({ length: layout.epochSlots }, (_, slot) => {
    const at = epochAt(layout, slot)
    const flags = FLAGS.filter(([bit]) => (words[at + SLOT_FLAGS] & bit) !== 0).map(
      ([, name]) => name,
    )
    const form = formOf(layout, words, at)
    const name = slot === slotOfCur(cur) ? `open, epoch ${epochOfCur(cur)} (mod 2^19)` : 'not open'
    // The count of texts may be left from an earlier epoch as long as no text is in this one.
    const texts =
      Atomics.load(words, at + SLOT_TEXT_END) === 0
        ? ''
        : `, ${words[at + SLOT_TEXT_COUNT]} texts of ${words[at + SLOT_TEXT_BYTES]} bytes`
    return (
      `epoch slot ${slot}  ${name}: ${Atomics.load(words, at + SLOT_COUNT)} keys, ` +
      `${form}${texts}${flags.length === 0 ? '' : `, ${flags.join(', ')}`}`
    )
  })
}
