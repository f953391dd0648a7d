/**
 * The memory that an execution of a scenario begins with, and what is known of its words: their
 * names, the races that are meant to be, and the words that decide nothing.
 */
import { drive } from './parts.mjs'

export const noClock = { armed: true, arm: () => undefined }

const SMALL = {
  capacity: 2,
  laneCapacity: 4,
  maxWriters: 2,
  epochSlots: 3,
  maxKeysPerEpoch: 16,
  laneTextBytes: 64,
  maxStringsPerEpoch: 0,
  maxStringBytesPerEpoch: 64,
  maxConsumers: 0,
  batchSize: 64,
  flushIntervalMs: 0,
  onFull: 'wait',
  maxWaitMs: 1000,
}

/** A scenario with consumers has as many epoch slots as create() gives it. */
function forConsumers({ consumers = 0 }) {
  return consumers === 0 ? {} : { maxConsumers: consumers, epochSlots: 2 * consumers + 2 }
}

/**
 * The memory that each execution of a scenario begins with.
 *
 * @param {import('./types.js').Core} core
 * @param {import('./types.js').Scenario} scenario
 */
export function setUp(core, scenario) {
  /** @type {Record<string, any>} */
  const {
    smallestTable,
    smallestTextTable,
    textStart = 0,
    ...settings
  } = { ...SMALL, ...scenario.memory, ...forConsumers(scenario) }
  const made = core.createMemory(settings, core.secretsOf(7))
  const layout = {
    ...made.layout,
    smallestTable: smallestTable ?? Math.min(16, made.layout.largestTable),
    smallestTextTable: smallestTextTable ?? Math.min(8, made.layout.largestTextTable),
  }
  const memory = { words: made.words, layout }
  drive(core.startAt(memory, scenario.start ?? {}))
  for (let writer = 0; writer < layout.maxWriters; writer++)
    memory.words[core.laneAt(layout, writer) + core.LANE_TEXT_READ] = textStart
  const seeded = []
  /** Keys that were published and taken before anything begins. */
  const seed = (keys) => {
    const lane = drive(core.openLane(memory, 1, settings.batchSize, noClock))
    drive(
      core.stageMany(
        lane,
        keys.flatMap((key) => [key | 0, Math.floor(key / 2 ** 32)]),
        keys.length,
      ),
    )
    drive(core.publish(lane))
    drive(core.closeLane(lane))
    const a = drive(core.takeRole(memory, 1))
    drive(core.recover(a))
    while (drive(core.step(a)) === core.WORKED);
    drive(core.leaveRole(a))
    seeded.push(...keys)
  }
  scenario.setUp?.({ core, words: memory.words, memory, seed })
  return { memory, settings, seeded }
}

/** Every word of it: a tag may lie anywhere. */
const TEXT_RING = 'text ring'
/** Every word of the sealed ones. */
const EPOCH_SLOTS = 'epoch slots'

/**
 * The races that are meant to be, by name, with the reason; docs/memory-model.md says more. Any
 * other race fails.
 */
export const BENIGN = [
  {
    name: TEXT_RING,
    why: "the aggregator looks at the tag behind a batch's last text: it is NO_TEXT, or names a later key, and the rest of that entry is not read",
  },
  {
    name: EPOCH_SLOTS,
    why: 'a reader on another thread believes what it has read only if the stamp is still there after it; only scenarios with `readers` have one',
  },
  { name: 'LANE_ATTN', why: 'it only asks for a look; every publication looks again, atomically' },
  {
    name: 'LANE_STAGED_END',
    why: "a token's keys are ordered by its slot; a newer end is only larger, and the question is whether it is large enough",
  },
  {
    name: 'LANE_TEXT',
    why: 'the token of a batch with a text is ordered behind it; for a batch without, both answers do',
  },
  {
    name: 'LANE_PUBLISHED',
    why: 'the tracker asks whether a writer has something staged; it asks again until the grace is over',
  },
]

/** Says of a word whether a listed race is about it. */
export function racyWords(core, { layout }, { readers = false } = {}) {
  const racy = new Set()
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const lane = core.laneAt(layout, writer)
    for (const { name } of BENIGN) if (core[name] !== undefined) racy.add(lane + core[name])
    for (let i = 0; i < layout.laneTextWords; i++) racy.add(lane + layout.laneText + i)
  }
  // Its log and its table, its texts and theirs, and the stamp: never the words of its header.
  const isRead = (at) => at >= layout.log || at === core.SLOT_STAMP
  return (i) =>
    racy.has(i) ||
    (readers && i >= layout.epochs && isRead((i - layout.epochs) % layout.epochStride))
}

/** Statistics that decide nothing but themselves: two states that differ in them only are one. */
export function unimportantWords(core, { layout }) {
  const words = new Set([core.QUEUED_PEAK, core.PROGRESS])
  for (let writer = 0; writer < layout.maxWriters; writer++)
    words.add(core.laneAt(layout, writer) + core.LANE_BATCHES + 1)
  return (i) => words.has(i)
}

/** Names words, for people. */
export function namer(core, { layout }) {
  const control = new Map()
  const names = [
    'TAIL',
    'HEAD',
    'CUR',
    'STOPPED',
    'STOP_POSITION',
    'FINISHED',
    'PROGRESS',
    'QUEUED_PEAK',
    'FAILED',
    'INTENT_POSITION',
    'INTENT_START',
  ]
  names.push(
    'EVENTS',
    'BATCHES',
    'KEYS',
    'HARVESTED',
    'PARKED',
    'OWNER',
    'WAITERS',
    'LISTENING',
    'DIRTY_WANTED',
    'SIGNAL',
    'JOB',
    'JOB_FAILURES',
  )
  for (const name of names) if (core[name] !== undefined) control.set(core[name], name)
  const lane = new Map(
    Object.entries(core)
      .filter(
        ([name, at]) =>
          /^LANE_[A-Z_]+$/.test(name) && typeof at === 'number' && name !== 'LANE_CAPACITY',
      )
      .map(([name, at]) => [at, name.slice(5)]),
  )
  const header = new Map(
    [
      'COUNT',
      'GROWTH',
      'ZERO',
      'FLAGS',
      'RESTORED',
      'TEXT_END',
      'TEXT_GROWTH',
      'TEXT_COUNT',
      'TEXT_BYTES',
      'FORM',
      'FILL',
      'EPOCH',
      'DIRTY',
      'NAMESPACES',
      'STAMP',
    ].map((name) => [core[`SLOT_${name}`], name]),
  )
  return (i) => {
    if (i < layout.ring) {
      if (control.has(i)) return control.get(i)
      for (let back = 1; back < 12; back++)
        if (control.has(i - back)) return `${control.get(i - back)}+${back}`
      return `word ${i}`
    }
    if (i < layout.lanes) return `slot[${i - layout.ring}]`
    if (i < layout.epochs) {
      const writer = Math.floor((i - layout.lanes) / layout.laneStride)
      const at = (i - layout.lanes) % layout.laneStride
      if (at >= layout.laneText) return `lane${writer}.text[${at - layout.laneText}]`
      if (at >= core.LANE_KEYS)
        return `lane${writer}.key[${(at - core.LANE_KEYS) >> 1}].${at & 1 ? 'hi' : 'lo'}`
      return `lane${writer}.${lane.get(at) ?? `header+${at}`}`
    }
    const slot = Math.floor((i - layout.epochs) / layout.epochStride)
    const at = (i - layout.epochs) % layout.epochStride
    if (layout.arenaWords > 0 && at >= layout.textTable)
      return `epoch${slot}.textCell[${(at - layout.textTable) >> 1}]`
    if (layout.arenaWords > 0 && at >= layout.arena)
      return `epoch${slot}.arena[${at - layout.arena}]`
    if (at >= layout.table) return `epoch${slot}.cell[${(at - layout.table) >> 1}]`
    if (at >= layout.log) return `epoch${slot}.log[${(at - layout.log) >> 1}]`
    return `epoch${slot}.${header.get(at) ?? `header+${at}`}`
  }
}

/**
 * A text of at most 16 ASCII characters as stageText() takes it. All texts have one hash, so that
 * nothing depends on it; it is that of the number 7, too.
 */
export const HASH = [7, 0]
export function textOf(name) {
  const source = new Int32Array(Math.ceil(name.length / 4))
  new Uint8Array(source.buffer).set([...name].map((char) => char.charCodeAt(0)))
  return { source, head: name.length << 1 }
}

/** The pair of a key, as a filter takes it. */
export function pairOf(core, name) {
  if (!name.startsWith("'")) {
    const [lo, hi = 0] = name.split(':').map(Number).reverse()
    return [lo | 0, hi | 0]
  }
  const { source, head } = textOf(name.slice(1, -1))
  core.hashWords(source, head >>> 1, 0)
  return [core.digest[0], core.digest[1]]
}

/** The filter of an epoch slot. */
export function filterIn(core, { words, layout }, slot) {
  const at = core.epochAt(layout, slot) + layout.table
  return { words, at, shift: core.filterShift(layout.filterCells), fill: 0, native: undefined }
}

/** What the scenarios call a text. */
export const textName = (name) => `'${name}'`

/**
 * The names of the texts in the records at [at .. end). `get` reads a word.
 *
 * @param {(i: number) => Generator<any, number>} get
 */
export function* textsIn(core, get, at, end) {
  const names = []
  while (at < end) {
    const head = yield* get(at + core.HEAD_AT)
    let name = ''
    for (let k = 0; k < core.textBytesOf(head); k++)
      name += String.fromCharCode(((yield* get(at + 2 + (k >> 2))) >>> (8 * (k & 3))) & 255)
    names.push(textName(name))
    at += 2 + ((core.textBytesOf(head) + 3) >> 2)
  }
  return names
}

export const keyName = (lo, hi) => (hi === 0 ? `${lo >>> 0}` : `${hi >>> 0}:${lo >>> 0}`)
