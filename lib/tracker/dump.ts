import {
  CUR,
  epochAt,
  FAILED,
  FINISHED,
  FLAG_EVERYTHING,
  FLAG_FAULT,
  FLAG_OVERFLOW,
  FLAG_UNPUBLISHED,
  HEAD,
  INTENT_COUNT,
  INTENT_POSITION,
  INTENT_TOKENS,
  LANE_OWNER,
  LANE_PUBLISHED,
  LANE_READ_END,
  LANE_STAGED_END,
  LANE_THREAD,
  LANE_WAITING,
  laneAt,
  OWNER,
  PANICS,
  PARKED,
  SLOT_COUNT,
  SLOT_FLAGS,
  SLOT_GROWTH,
  STOPPED,
  TAIL,
  VERSION,
  WAIT_FOR_ROOM,
} from '../memory/map.js'
import type { Memory } from '../memory/memory.js'
import {
  advance,
  BATCH,
  CLOSE,
  distance,
  EPOCH_BITS,
  EPOCH_MASK,
  EVERYTHING,
  GENERATION_BITS,
  KIND_SHIFT,
  NOP,
  PAYLOAD_MASK,
  POISON,
  REAP,
  RESTORE,
  SEAL,
  STOP,
  THREAD_BITS,
  THREAD_MASK,
  tokenOf,
} from '../ring/token.js'

/** Slots of the ring that are shown, from the head on. */
const SLOTS_SHOWN = 8

const KINDS: Record<number, string> = {
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
]

/** Shows the shared memory as text: numbers and states, no key. */
export function dump(memory: Memory): string {
  return [...control(memory), ...ring(memory), ...lanes(memory), ...epochs(memory)].join('\n')
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

function ring({ words, layout }: Memory): string[] {
  const head = Atomics.load(words, HEAD)
  const tail = Atomics.load(words, TAIL)
  const queued = distance(tail, head)
  const lines = [`ring        head ${head}, tail ${tail}: ${queued} of ${layout.capacity} slots`]
  for (let i = 0; i < Math.min(queued, SLOTS_SHOWN); i++) {
    const position = advance(head, i)
    const word = Atomics.load(words, layout.ring + (position & (layout.capacity - 1)))
    lines.push(
      `  ${position}  ${(word & 1) === 1 ? describe(tokenOf(word), layout.laneBits, layout.laneCapacity) : `EMPTY (${word})`}`,
    )
  }
  if (queued > SLOTS_SHOWN) lines.push(`  … ${queued - SLOTS_SHOWN} more`)
  return lines
}

function describe(token: number, laneBits: number, laneCapacity: number): string {
  if ((token & BATCH) !== 0)
    return `BATCH writer ${(token & (BATCH - 1)) >>> laneBits}, ${(token & (laneCapacity - 1)) + 1} keys`
  const kind = token >>> KIND_SHIFT
  const payload = token & PAYLOAD_MASK
  if (kind === SEAL || kind === RESTORE) {
    return `${kind === SEAL ? 'SEAL' : 'RESTORE'} slot ${payload >>> EPOCH_BITS}, epoch ${payload & EPOCH_MASK}`
  }
  if (kind === CLOSE || kind === REAP)
    return `${kind === CLOSE ? 'CLOSE' : 'REAP'} writer ${payload >>> GENERATION_BITS}`
  return KINDS[kind] ?? `unknown (${token})`
}

function lanes({ words, layout }: Memory): string[] {
  const lines: string[] = []
  for (let id = 0; id < layout.maxWriters; id++) {
    const lane = laneAt(layout, id)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if ((owner & THREAD_MASK) === 0) continue
    const readEnd = Atomics.load(words, lane + LANE_READ_END)
    const published = Atomics.load(words, lane + LANE_PUBLISHED)
    const staged = Atomics.load(words, lane + LANE_STAGED_END)
    const waiting = Atomics.load(words, lane + LANE_WAITING)
    const waits =
      waiting === 0 ? '' : `, waits for ${waiting === WAIT_FOR_ROOM ? 'room' : 'a slot'}`
    lines.push(
      `writer ${id}    thread ${words[lane + LANE_THREAD] - 1}, generation ${owner >>> THREAD_BITS}: ` +
        `${(published - readEnd) | 0} keys in flight, ${(staged - published) | 0} staged, of ${layout.laneCapacity}${waits}`,
    )
  }
  return lines.length === 0 ? ['writers     none'] : lines
}

function epochs({ words, layout }: Memory): string[] {
  const cur = Atomics.load(words, CUR)
  return Array.from({ length: layout.epochSlots }, (_, slot) => {
    const at = epochAt(layout, slot)
    const flags = FLAGS.filter(([bit]) => (words[at + SLOT_FLAGS] & bit) !== 0).map(
      ([, name]) => name,
    )
    // Not checked, because it is only shown.
    const cells = layout.smallestTable * 2 ** words[at + SLOT_GROWTH]
    const name =
      slot === (cur & 15) ? `open, epoch ${(cur >>> 4) & EPOCH_MASK} (mod 2^19)` : 'not open'
    return `epoch slot ${slot}  ${name}: ${Atomics.load(words, at + SLOT_COUNT)} keys, ${cells} cells${flags.length === 0 ? '' : `, ${flags.join(', ')}`}`
  })
}
