/**
 * npm run corrupt: corrupts the shared memory of trackers in the middle of random histories,
 * 100,000 times, and holds what follows against what was marked. Allowed are right answers, an
 * error with a code of the library, and an epoch with `exact: false`. Not allowed are a wrong
 * answer in an exact epoch, an error without a code, a wait without an end, a call of more than 1
 * s, and a store outside of the structure.
 *
 * Arguments: --cases N (100000), --seed N (replays one case, with all that happens in it), --from N
 * (the first seed, 1), --json.
 */
import { leaveRole } from '../../dist/aggregator/state.js'
import { Supervisor } from '../../dist/aggregator/supervisor.js'
import * as map from '../../dist/memory/map.js'
import { attachMemory } from '../../dist/memory/memory.js'
import { threadIdFor } from '../../dist/memory/thread.js'
import { openLane, publish, stage } from '../../dist/ring/lane.js'
import * as token from '../../dist/ring/token.js'
import { DirtyTracker } from '../../dist/tracker/tracker.js'

/**
 * A call may take 1 s. close() waits that long on purpose where the ring stays full, so a little
 * more is allowed.
 */
const CALL_MS_MAX = 1200
const WAIT_MS_MAX = 5000
const AT_A_TIME = 64

/**
 * What no part of the library can tell from what it wrote, with the reason; `is` looks at one
 * changed word.
 */
const UNDETECTABLE = [
  {
    what: "a key's own bits, in a lane or in a log",
    why: 'every value is a key',
    is: ({ kind }) => kind === 'lane keys' || kind === 'logs',
  },
  {
    what: 'a cell of a table',
    why: 'a cell that changed hides its key from has() and from the next mark of it, or makes a key look like one that is in',
    is: ({ kind }) => kind === 'tables',
  },
  {
    what: 'a ring word that becomes another word which could stand there',
    why: 'a token is the only record of its batch, cut, restore or harvest',
    is: ({ kind, at, now, memory }) => kind === 'ring words' && isToken(memory, at, now),
  },
  {
    what: "the end of a lane's staged keys, within the lane, until the writer stores it again",
    why: 'it is all that is known of a dead writer; and a writer is asked for nothing else at the end',
    is: ({ field, now, memory, lane }) =>
      field === 'LANE_STAGED_END' && isWithin(memory, now, memory.words[lane + map.LANE_READ_END]),
  },
  {
    what: 'the end of the keys read, less than a lane away from those staged, until the aggregator stores it again',
    why: 'the writer has no other measure of its room, and soon has staged as much',
    is: ({ field, now, memory, lane }) =>
      field === 'LANE_READ_END' && isNear(memory, memory.words[lane + map.LANE_STAGED_END], now),
  },
  {
    what: "a lane's owner or its generation",
    why: 'the lane then belongs to another thread, or to none',
    is: ({ field }) => field === 'LANE_OWNER',
  },
  {
    what: "the thread that has the aggregator's role",
    why: 'a thread that is said to have it is waited for',
    is: ({ field }) => field === 'OWNER',
  },
  {
    what: 'the bit in a lane that says that the tracker has stopped, or that everything is dirty',
    why: 'both values are right at some time',
    is: ({ field }) => field === 'LANE_ATTN' || field === 'LANE_EVERYTHING',
  },
  {
    what: 'SLOT_RESTORED of an epoch that becomes the number of that very epoch',
    why: 'it says that the keys are back already',
    is: ({ field }) => field === 'SLOT_RESTORED',
  },
  {
    what: "the open epoch's count, flags or hash, when its aggregator dies before it stores them again",
    why: 'the successor knows nothing else; the hash is that of the next seal from then on',
    is: ({ kind, slot, memory }) =>
      kind === 'slot headers' && slot === (memory.words[map.CUR] & 15),
  },
]

function isWithin(memory, end, readEnd) {
  const unread = (end - readEnd) | 0
  return unread >= 0 && unread <= memory.layout.laneCapacity
}

function isNear({ layout }, end, readEnd) {
  return Math.abs((end - readEnd) | 0) <= layout.laneCapacity
}

/** Whether a word could stand in that slot of the ring at some time. */
function isToken({ layout }, at, word) {
  if (word >>> 30 !== 0) return false
  if ((word & 1) === 0) return true
  const value = token.tokenOf(word)
  if ((value & token.BATCH) !== 0)
    return (value & (token.BATCH - 1)) >>> layout.laneBits < layout.maxWriters
  return value >>> token.KIND_SHIFT <= token.NOP
}

// --------------------------------------------------------------------------------- what is changed

const CONTROL =
  `TAIL HEAD CUR STOPPED STOP_POSITION FINISHED PROGRESS QUEUED_PEAK FAILED PARKED OWNER ROLE_OF ROLE_ANCESTORS WAITERS LISTENING STARTING SIGNAL THREADS PANICS
ITERATIONS RETRYING FAILED_AT FAILURES ERROR_LENGTH ERROR_TEXT`.split(/\s+/)
const LANE =
  `LANE_ATTN LANE_OWNER LANE_THREAD LANE_ANCESTORS LANE_STAGED_END LANE_PUBLISHED LANE_EVERYTHING LANE_WAITING LANE_WAKE_AT LANE_READ_END
LANE_HARVESTED LANE_WAKE LANE_IN_FLIGHT_PEAK`.split(/\s+/)
const LANE_TOTALS = [
  'LANE_REJECTED',
  'LANE_SUPPRESSED',
  'LANE_BATCHES',
  'LANE_WAITS',
  'LANE_WAIT_US',
  'LANE_DELIVERED',
]
const SLOT = ['SLOT_COUNT', 'SLOT_GROWTH', 'SLOT_ZERO', 'SLOT_FLAGS', 'SLOT_RESTORED', 'SLOT_CHECK']

const KINDS = {
  identity: (memory, draw) => ({ at: draw(map.IDENTITY_CHECK + 1) }),
  control: (memory, draw) => named(draw, CONTROL, 0),
  intents: (memory, draw) => ({
    at: map.INTENT_POSITION + draw(map.INTENT_CHECK - map.INTENT_POSITION + 1),
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

function named(draw, names, base) {
  const field = names[draw(names.length)]
  if (map[field] === undefined) throw new Error(`the memory map has no ${field}`)
  return { at: base + map[field], field }
}

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

function corrupt(memory, kind, draw, log) {
  const { words } = memory
  const words_ = 1 + (draw(4) === 0 ? draw(3) : 0)
  return Array.from({ length: words_ }, () => {
    const place = KINDS[kind](memory, draw)
    const old = words[place.at]
    const other = () => words[KINDS[kind](memory, draw).at]
    let now = VALUES[draw(VALUES.length)](old, draw, other) | 0
    if (now === old) now = old ^ 1
    const change = { kind, memory, ...place, old, now }
    change.excuse = UNDETECTABLE.find(({ is }) => is(change))
    words[place.at] = now
    log(
      `${kind} ${place.field ?? ''} word ${place.at}: ${old} -> ${now}${change.excuse === undefined ? '' : ` (${change.excuse.what})`}`,
    )
    return change
  })
}

// ---------------------------------------------------------------------------------------- canaries

const CANARY = 0x5ca1ab1e

/** The ranges of words that belong to nothing. */
function padding({ layout, words }) {
  const ranges = []
  const lanesEnd = layout.lanes + layout.laneStride * layout.maxWriters
  ranges.push([layout.ring + layout.capacity, layout.lanes], [lanesEnd, layout.epochs])
  for (let writer = 0; writer < layout.maxWriters; writer++) {
    const lane = map.laneAt(layout, writer)
    ranges.push([lane + map.LANE_KEYS + layout.laneCapacity * 2, lane + layout.laneStride])
  }
  for (let slot = 0; slot < layout.epochSlots; slot++) {
    const at = map.epochAt(layout, slot)
    ranges.push([at + map.SLOT_CHECK + 1, at + layout.log])
    ranges.push([at + layout.log + layout.maxKeysPerEpoch * 2, at + layout.table])
    ranges.push([at + layout.table + layout.largestTable * 2, at + layout.epochStride])
  }
  ranges.push([layout.epochs + layout.epochStride * layout.epochSlots, words.length])
  return ranges.filter(([from, to]) => to > from)
}

// ---------------------------------------------------------------------------------------- one case

function seeded(seed) {
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x2545f491) >>> 0 || 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return Math.floor(((state >>> 0) / 2 ** 32) * below)
  }
}

const DEAD_THREAD = 777
const noClock = { armed: true, arm: () => undefined }

class Wrong extends Error {}

const isCoded = (error) =>
  typeof error?.code === 'string' && error.code.startsWith('ERR_DIRTYRING_')

const originals = { store: Atomics.store, compareExchange: Atomics.compareExchange }

/** Throws at the n-th atomic store of `body`, as whatever may strike a thread. */
function interrupted(n, body) {
  for (const [name, original] of Object.entries(originals)) {
    Atomics[name] = (...args) => {
      if (n-- === 0) throw new Error('planted')
      return original(...args)
    }
  }
  try {
    return body()
  } finally {
    Object.assign(Atomics, originals)
  }
}

class Case {
  constructor(seed, log) {
    this.seed = seed
    this.log = log
    this.draw = seeded(seed)
    this.kind = Object.keys(KINDS)[seed % Object.keys(KINDS).length]
    this.changes = []
    this.slowest = { ms: 0, what: '' }
    this.now = 0
    this.seq = 0
    this.pens = []
    this.owed = []
    this.marked = new Map()
    this.epochs = []
    this.sealing = []
    this.mustBeInexact = false
    this.inexact = 0
  }

  async run() {
    const { draw } = this
    const laneBits = 2 + draw(5)
    const big = draw(8) === 0
    const options = {
      capacity: 2 ** (1 + draw(5)),
      laneCapacity: 2 ** laneBits,
      maxWriters: 1 + draw(4),
      epochSlots: 2 + draw(3),
      maxKeysPerEpoch: big ? 1200 : 16 + draw(240),
      batchSize: 1 + draw(Math.min(12, 2 ** laneBits)),
      flushIntervalMs: 0,
      onFull: 'reject',
      maxWaitMs: 20,
      aggregator: 'none',
      kernel: 'js',
    }
    const start =
      draw(3) === 0
        ? {
            position: 2 ** 30 - 4,
            laneEnd: 2 ** 31 - 5,
            epoch: 2 ** 19 - 2,
            generation: 2 ** 13 - 1,
          }
        : {}
    this.log(JSON.stringify({ kind: this.kind, options, start }))
    this.keys = big ? 1000 : 60
    this.tracker = await DirtyTracker.createAt(options, start)
    this.memory = attachMemory(this.tracker.handle, 'tracker')
    this.canaries = padding(this.memory)
    for (const [from, to] of this.canaries) this.memory.words.fill(CANARY, from, to)
    this.takeRole()
    let outcome
    try {
      outcome = await this.live()
    } catch (error) {
      outcome = this.outcomeOf(error)
    }
    outcome = (await this.end()) ?? outcome
    const damage = this.damage()
    if (damage !== undefined) outcome = { is: 'wrong', why: damage }
    if (outcome.is === 'wrong') {
      const { excuse } = this.changes.find((change) => change.excuse !== undefined) ?? {}
      if (excuse !== undefined && damage === undefined)
        outcome = { is: 'undetected', why: outcome.why, excuse: excuse.what }
    }
    return outcome
  }

  outcomeOf(error) {
    if (error instanceof Wrong) return { is: 'wrong', why: error.message }
    if (isCoded(error)) return { is: 'coded', why: `${error.code}: ${error.message}` }
    return { is: 'wrong', why: `an error without a code: ${error?.stack ?? error}` }
  }

  async live() {
    const { draw } = this
    const steps = 8 + draw(30)
    const moments = new Set(
      Array.from({ length: draw(3) === 0 ? 2 : 1 }, () => 2 + draw(steps - 2)),
    )
    for (let step = 0; step < steps; step++) {
      if (moments.has(step)) this.changes.push(...corrupt(this.memory, this.kind, draw, this.log))
      const act = ACTS[draw(ACTS.length)]
      this.log(act)
      try {
        await this[act]()
      } catch (error) {
        if (!USUAL.has(error.code)) throw error
      }
    }
    this.log('stop')
    this.noteStaged()
    const cut = this.seq
    const stopping = this.call('stop', () => this.tracker.stop({ graceMs: 0 }))
    const last = await this.settled('stop', stopping)
    for (const sealing of this.sealing.splice(0)) await this.collect(sealing)
    this.look(
      last,
      cut,
      new Set(this.owed.filter(({ published }) => published)),
      cut,
      this.mustBeInexact,
    )
    const [left] = this.owed
    if (last.exact && left !== undefined)
      throw new Wrong(`key ${left.key} was marked, and is in no epoch`)
    if (this.inexact > 0 || !last.exact) return { is: 'inexact' }
    return { is: 'right' }
  }

  /** Whatever happened, nothing goes on. */
  async end() {
    try {
      await this.settled(
        'the last stop',
        this.call('stop', () => this.tracker.stop({ graceMs: 0 })),
      )
    } catch (error) {
      if (!isCoded(error)) return this.outcomeOf(error)
    } finally {
      leaveRole(this.supervisor.aggregator)
    }
    return undefined
  }

  /** Runs a synchronous call, and times it. */
  call(what, body) {
    const from = performance.now()
    try {
      return body()
    } finally {
      const ms = performance.now() - from
      if (ms > this.slowest.ms) this.slowest = { ms, what }
    }
  }

  takeRole() {
    this.supervisor = new Supervisor(this.memory, threadIdFor(this.memory), () => this.now)
    this.ended = false
  }

  /**
   * Starts another aggregator for one that ended, as the tracker's host does unless FAILED says
   * that none can continue.
   */
  restart() {
    const { words } = this.memory
    if (!this.ended || words[map.FAILED] !== 0 || words[map.FINISHED] !== 0) return
    leaveRole(this.supervisor.aggregator)
    this.takeRole()
  }

  pump(budget = 4096) {
    if (this.ended) return
    try {
      this.call('the aggregator', () => this.supervisor.run(budget))
      this.now = Math.max(this.now, this.supervisor.retryAt)
    } catch (error) {
      this.ended = true
      if (!isCoded(error)) throw error
      this.log(`the aggregator ends: ${error.message}`)
    }
  }

  async settled(what, promise) {
    let isOver = false
    const over = () => (isOver = true)
    promise.then(over, over)
    const until = performance.now() + WAIT_MS_MAX
    for (let turn = 0; ; turn++) {
      if (turn > 0) this.restart()
      this.pump()
      await Promise.resolve()
      if (isOver) return promise
      if (turn > 20) await new Promise((resolve) => setTimeout(resolve, 1))
      else await new Promise((resolve) => setImmediate(resolve))
      if (!isOver && performance.now() > until) throw new Wrong(`${what} does not settle`)
    }
  }

  // -------------------------------------------------------------------------------------- the acts

  pen() {
    const { draw, pens } = this
    if (pens.length < this.memory.layout.maxWriters && (pens.length === 0 || draw(4) === 0)) {
      const handle = draw(2) === 0 ? undefined : this.tracker.handle
      pens.push({
        writer: this.call('openWriter', () => this.tracker.openWriter(handle)),
        marks: [],
      })
    }
    return pens[draw(pens.length)]
  }

  key() {
    return this.draw(6) === 0 ? 0 : this.draw(this.keys)
  }

  note(pen, keys) {
    for (const key of keys) {
      const mark = { key, seq: ++this.seq, published: false }
      pen.marks.push(mark)
      this.owed.push(mark)
      if (!this.marked.has(key)) this.marked.set(key, mark.seq)
    }
    this.noteStaged()
  }

  /** All but the last so many marks of a writer are published. */
  noteStaged() {
    for (const { writer, marks } of this.pens) {
      const staged = Math.min(Math.max(writer.staged, 0), marks.length)
      for (const mark of marks.splice(0, marks.length - staged)) mark.published = true
    }
  }

  mark() {
    const pen = this.pen()
    const key = this.key()
    const is = this.call('mark', () => pen.writer.mark(key))
    this.log(`  ${key} by ${pen.writer.id}: ${is}`)
    if (is) this.note(pen, [key])
    else this.noteStaged()
  }

  markMany() {
    const pen = this.pen()
    const keys = Array.from(
      { length: 1 + this.draw(Math.min(20, this.memory.layout.laneCapacity)) },
      () => this.key(),
    )
    if (this.call('markMany', () => pen.writer.markMany(keys))) this.note(pen, keys)
    else this.noteStaged()
  }

  flush() {
    const pen = this.pen()
    this.call('flush', () => pen.writer.flush())
    this.noteStaged()
  }

  pumpSome() {
    this.pump(1 + this.draw(6))
  }

  pumpAll() {
    this.pump()
  }

  die() {
    leaveRole(this.supervisor.aggregator)
    this.takeRole()
  }

  interrupt() {
    const n = this.draw(16)
    if (this.ended) return
    try {
      interrupted(n, () => this.pump())
    } catch (error) {
      if (error.message !== 'planted') throw error
      this.die() // it struck where the supervisor was about to write an exception down
    }
  }

  async seal() {
    if (this.sealing.length > 0) return this.collect(this.sealing.shift())
    if (!this.tracker.stats().unsettled || this.epochs.length >= this.memory.layout.epochSlots - 1)
      return undefined
    this.noteStaged()
    const before = this.tracker.epoch
    const promise = this.call('advanceEpoch', () => this.tracker.advanceEpoch({ onBusy: 'reject' }))
    promise.catch(() => undefined)
    for (let turn = 0; turn < 50 && this.tracker.epoch === before; turn++) {
      this.pump()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const { mustBeInexact } = this
    this.mustBeInexact = false
    this.log(`  cut: ${this.tracker.epoch !== before}`)
    this.noteStaged() // advanceEpoch() publishes what this thread's writers have staged
    const strict = new Set(this.owed.filter(({ published }) => published))
    const sealing = {
      promise,
      strict,
      cut: this.seq,
      isCut: this.tracker.epoch !== before,
      mustBeInexact,
    }
    this.sealing.push(sealing)
    if (this.draw(3) !== 0) await this.collect(this.sealing.shift())
    return undefined
  }

  async collect({ promise, strict, cut, isCut, mustBeInexact }) {
    const epoch = await this.settled('advanceEpoch', promise).catch((error) => {
      if (USUAL.has(error.code)) this.mustBeInexact ||= mustBeInexact
      throw error
    })
    this.look(epoch, cut, isCut ? strict : new Set(), isCut ? cut : this.seq, mustBeInexact)
  }

  look(epoch, cut, strict, latest, mustBeInexact) {
    this.log(`epoch ${epoch.id}: ${epoch.size} keys, ${epoch.exact ? 'exact' : epoch.reason}`)
    if (!epoch.exact) {
      this.inexact++
      this.owed = this.owed.filter((mark) => !strict.has(mark) && mark.isHarvested !== true)
    } else {
      if (mustBeInexact)
        throw new Wrong(`epoch ${epoch.id} is exact, and one that was not was restored into it`)
      const keys = this.call('ids', () => [...epoch.ids()])
      const has = new Set(keys)
      if (has.size !== keys.length) throw new Wrong(`epoch ${epoch.id} has a key twice`)
      for (const key of keys) {
        if (!(this.marked.get(key) <= latest))
          throw new Wrong(`epoch ${epoch.id} has key ${key}, which was never marked`)
        if (!this.call('has', () => epoch.has(key)))
          throw new Wrong(`epoch ${epoch.id} lists key ${key}, and has it not`)
      }
      for (let key = 0; key < 20; key++) {
        if (epoch.has(key) !== has.has(key))
          throw new Wrong(`epoch ${epoch.id}: has(${key}) is not what its list says`)
      }
      for (const mark of this.owed) {
        if (strict.has(mark) && !has.has(mark.key))
          throw new Wrong(`epoch ${epoch.id} lost key ${mark.key}`)
      }
      this.owed = this.owed.filter(({ key, seq }) => seq > cut || !has.has(key))
    }
    if (epoch.state === 'sealed' && !(epoch.exact && epoch.size === 0)) {
      // Only what is handed out and not settled is anyone's: nothing may be stored there meanwhile.
      this.epochs.push({
        epoch,
        lanes: epoch.exact ? epoch.pairs : undefined,
        copy: epoch.exact ? epoch.pairs.slice() : undefined,
      })
    }
  }

  commit() {
    const { epoch } = this.epochs.shift() ?? {}
    if (epoch !== undefined) this.call('commit', () => epoch.commit())
  }

  async restore() {
    const { epoch } = this.epochs.shift() ?? {}
    if (epoch === undefined) return
    const keys = epoch.exact ? [...epoch.ids()] : []
    const restoring = this.call('restore', () => epoch.restore())
    restoring.catch(() => undefined)
    for (const key of keys) this.owed.push({ key, seq: ++this.seq, published: true })
    if (!epoch.exact) this.mustBeInexact = true
    await this.settled('restore', restoring)
  }

  /** A writer on a thread that dies with keys staged, and is reaped. */
  async reap() {
    const lane = openLane(this.memory, DEAD_THREAD, 8, noClock)
    if (typeof lane === 'string') return
    const marks = []
    for (let left = this.draw(6); left > 0; left--) {
      const key = this.key()
      if (!stage(lane, key, 0)) break
      marks.push({ key, seq: ++this.seq, published: false })
      if (!this.marked.has(key)) this.marked.set(key, this.seq)
      if (this.draw(4) === 0) publish(lane)
    }
    this.owed.push(...marks)
    if (this.draw(3) === 0)
      this.changes.push(...corrupt(this.memory, this.kind, this.draw, this.log))
    await this.settled(
      'reap',
      this.call('reap', () => this.tracker.reap(lane.id)),
    )
    for (const mark of marks) mark.published = true
  }

  close() {
    if (this.pens.length === 0) return
    this.noteStaged()
    this.pump()
    // Where the ring stays full, close() waits a second for an aggregator that this very thread is:
    // not a thousand times.
    const { words, layout } = this.memory
    if (
      (this.ended || token.distance(words[map.TAIL], words[map.HEAD]) >= layout.capacity) &&
      this.draw(100) !== 0
    )
      return
    const [{ writer, marks }] = this.pens.splice(this.draw(this.pens.length), 1)
    for (const mark of marks) mark.isHarvested = true
    this.call('close', () => writer.close())
  }

  observe() {
    this.call('dump', () => this.tracker.dump())
    this.call('health', () => this.tracker.health())
    this.call('stats', () => this.tracker.stats())
  }

  // -------------------------------------------------------------------------------------- after it

  damage() {
    const { words } = this.memory
    const changed = new Set(this.changes.map(({ at }) => at))
    for (const [from, to] of this.canaries) {
      for (let at = from; at < to; at++) {
        if (words[at] !== CANARY && !changed.has(at))
          return `word ${at}, which belongs to nothing, was stored: ${words[at]}`
      }
    }
    for (const { epoch, lanes, copy } of this.epochs) {
      if (lanes === undefined || epoch.state !== 'sealed') continue
      const first = lanes.byteOffset / 4
      const at = copy.findIndex((word, i) => word !== lanes[i] && !changed.has(first + i))
      if (at >= 0 && !this.changes.some(({ excuse }) => excuse !== undefined))
        return `word ${first + at}, in the log of epoch ${epoch.id}, was stored`
    }
    return undefined
  }
}

/** Errors of histories in which nothing is corrupt. */
const USUAL = new Set(['ERR_DIRTYRING_NO_WRITER_SLOT', 'ERR_DIRTYRING_NO_EPOCH_SLOT'])

const ACTS =
  `mark mark mark mark mark markMany markMany markMany flush flush flush pumpSome pumpSome pumpAll pumpAll die interrupt interrupt
seal seal seal seal commit commit restore restore reap close observe`.split(/\s+/)

// ------------------------------------------------------------------------------------- all of them

async function runCase(seed, log = () => undefined) {
  const one = new Case(seed, log)
  const outcome = await one.run()
  return { seed, kind: one.kind, ...outcome, words: one.changes.length, slowest: one.slowest }
}

/** Once more where the machine may have been slow. */
async function runTwice(seed) {
  const isSlow = ({ slowest, why }) => slowest.ms > CALL_MS_MAX || why?.endsWith('does not settle')
  const first = await runCase(seed)
  if (!isSlow(first)) return first
  const result = await runCase(seed)
  if (result.slowest.ms <= CALL_MS_MAX) return result
  return {
    ...result,
    is: 'wrong',
    why: `${result.slowest.what} took ${Math.round(result.slowest.ms)} ms`,
  }
}

export async function runCases({ cases, from = 1, onFailure = () => undefined }) {
  const figures = new Map(
    Object.keys(KINDS).map((kind) => [
      kind,
      { cases: 0, right: 0, coded: 0, inexact: 0, undetected: 0, wrong: 0, slowestMs: 0 },
    ]),
  )
  const undetected = new Map()
  let failures = 0
  let next = from
  // Several at a time: most of a case's time is its tracker's wait for a signal.
  const some = async () => {
    while (next < from + cases) count(await runTwice(next++))
  }
  const count = (result) => {
    const figure = figures.get(result.kind)
    figure.cases++
    figure[result.is]++
    figure.slowestMs = Math.max(figure.slowestMs, Math.round(result.slowest.ms))
    if (result.is === 'undetected')
      undetected.set(result.excuse, (undetected.get(result.excuse) ?? 0) + 1)
    if (result.is !== 'wrong') return
    failures++
    onFailure(result)
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, some))
  return {
    cases,
    failures,
    figures: Object.fromEntries(figures),
    undetected: Object.fromEntries(undetected),
  }
}

function argument(name, byDefault) {
  const at = process.argv.indexOf(`--${name}`)
  return at < 0 ? byDefault : Number(process.argv[at + 1])
}

process.on('unhandledRejection', (error) => {
  console.error('a rejection that nobody handles:', error)
  process.exitCode = 1
})
const replay = argument('seed', undefined)
if (replay !== undefined) {
  console.log(await runCase(replay, console.log))
} else {
  const json = process.argv.includes('--json')
  const from = performance.now()
  const result = await runCases({
    cases: argument('cases', 100_000),
    from: argument('from', 1),
    onFailure: ({ seed, kind, why }) => console.error(`FAILED --seed ${seed} (${kind}): ${why}`),
  })
  const seconds = Math.round((performance.now() - from) / 1000)
  if (json) {
    console.log(JSON.stringify(result))
  } else {
    console.table(result.figures)
    console.log(`${result.cases} corrupted memories in ${seconds} s: ${result.failures} failed`)
    console.log('\nWhat cannot be detected, and how often it gave a wrong answer:')
    for (const { what, why } of UNDETECTABLE)
      console.log(`- ${what}: ${why} (${result.undetected[what] ?? 0})`)
  }
  // the timers of trackers that cannot be stopped any more
  process.exit(result.failures > 0 ? 1 : (process.exitCode ?? 0))
}
