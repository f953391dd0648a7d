/**
 * One case: a tracker, a random history of calls on it, and words that are corrupted in the middle
 * of that history. A seed decides all of it.
 */
import * as map from '../../../dist/memory/map.js'
import { attachMemory } from '../../../dist/memory/memory.js'
import { openLane, publish, stage, stageText } from '../../../dist/ring/lane.js'
import * as token from '../../../dist/ring/token.js'
import { encodeText, scratch } from '../../../dist/text/encode.js'
import { digest } from '../../../dist/text/murmur.js'
import { DirtyTracker } from '../../../dist/tracker/tracker.js'
import { Aggregator } from './aggregator.mjs'
import { plantCanaries, storedCanary } from './canaries.mjs'
import { corrupt, KINDS, OF_CONSUMERS } from './corruptions.mjs'
import { Expected, Marks, textKey } from './expected.mjs'
import { isCoded, isUsual, outcomeOf, Stopwatch, Wrong } from './outcomes.mjs'

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

/** What a named consumer may want. */
const WANTED = [undefined, undefined, [0], [1], [0, 2]]

/** Methods of History; an act that stands here twice is drawn twice as often. */
const ACTS =
  `mark mark mark mark mark markMany markMany markMany flush flush flush pumpSome pumpSome pumpAll
pumpAll die interrupt interrupt seal seal seal seal commit commit restore restore reap close
everything reopen observe`.split(/\s+/)

export class History {
  /** The words that were corrupted. */
  changes = []
  stopwatch = new Stopwatch()
  /** The open writers, each with its marks that are not published yet. */
  pens = []
  /**
   * Who reads epochs: the tracker's own reader, or named consumers. Each with what it must get, the
   * epochs that it has not settled, the oldest first, and the seals whose epochs were not looked at
   * yet.
   */
  seats = []
  marks = new Marks()

  constructor(seed, log) {
    this.log = log
    this.draw = seeded(seed)
    this.kind = KINDS[seed % KINDS.length]
    const isOfConsumers = OF_CONSUMERS.includes(this.kind)
    this.consumers = isOfConsumers || this.draw(3) === 0 ? 1 + this.draw(3) : 0
  }

  async run() {
    const { draw } = this
    const laneBits = 2 + draw(5)
    const big = draw(8) === 0
    const options = {
      capacity: 2 ** (1 + draw(5)),
      laneCapacity: 2 ** laneBits,
      maxWriters: 1 + draw(4),
      ...(this.consumers > 0 ? { maxConsumers: this.consumers } : { epochSlots: 2 + draw(3) }),
      maxKeysPerEpoch: big ? 1200 : 16 + draw(240),
      laneTextBytes: 2 ** (10 + draw(3)),
      maxStringsPerEpoch: big ? 1200 : 16 + draw(240),
      maxStringBytesPerEpoch: big ? 50_000 : 400 + draw(4000),
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
    this.hasTexts = draw(3) !== 0
    this.tracker = await DirtyTracker.createAt(options, start)
    this.memory = attachMemory(this.tracker.handle, 'tracker')
    this.canaries = plantCanaries(this.memory)
    this.aggregator = new Aggregator(this.memory, this.stopwatch, this.log)
    if (this.consumers === 0) this.seats.push(this.seat(this.tracker, undefined))
    for (let k = 0; k < this.consumers; k++) this.seats.push(this.openConsumer(`${k}`))
    let outcome
    try {
      outcome = await this.live()
    } catch (error) {
      outcome = outcomeOf(error)
    }
    outcome = (await this.end()) ?? outcome
    const damage = this.damage()
    if (damage !== undefined) return { is: 'wrong', why: damage }
    const { excuse } = this.changes.find((change) => change.excuse !== undefined) ?? {}
    if (outcome.is === 'wrong' && excuse !== undefined)
      return { is: 'undetected', why: outcome.why, excuse: excuse.what }
    return outcome
  }

  seat(reader, wanted) {
    const expected = new Expected(this.marks, wanted, this.stopwatch, this.log)
    return { reader, expected, epochs: [], sealing: [] }
  }

  openConsumer(name) {
    const namespaces = WANTED[this.draw(WANTED.length)]
    const options = this.draw(5) === 0 ? { namespaces } : { from: 'now', namespaces }
    this.log(`  consumer ${name}: ${JSON.stringify(options)}`)
    return this.seat(
      this.call('consumer', () => this.tracker.consumer(name, options)),
      namespaces,
    )
  }

  async live() {
    const { draw } = this
    const steps = 8 + draw(30)
    const moments = new Set(
      Array.from({ length: draw(3) === 0 ? 2 : 1 }, () => 2 + draw(steps - 2)),
    )
    for (let step = 0; step < steps; step++) {
      if (moments.has(step)) this.corrupt()
      const act = ACTS[draw(ACTS.length)]
      this.log(act)
      try {
        await this[act]()
      } catch (error) {
        if (!isUsual(error)) throw error
      }
    }
    this.log('stop')
    this.noteStaged()
    const cut = this.marks.seq
    const strict = this.seats.map(({ expected }) => expected.published())
    const stopping = this.call('stop', () => this.tracker.stop({ graceMs: 0 }))
    const last = await this.aggregator.settled('stop', stopping)
    for (const seat of this.seats)
      for (const sealing of seat.sealing.splice(0)) await this.collect(seat, sealing)
    if (this.consumers > 0 && draw(4) === 0) this.call('save', () => this.tracker.save())
    let isRight = true
    for (const [k, seat] of this.seats.entries()) {
      const { reader, expected } = seat
      for (const { epoch } of seat.epochs) if (this.consumers > 0) epoch.commit()
      const epoch =
        this.consumers === 0
          ? last
          : await this.aggregator.settled('the last epoch', reader.advanceEpoch())
      const { mustBeInexact } = expected
      const owed = new Set(expected.owed)
      const due = new Set([...strict[k]].filter((mark) => owed.has(mark)))
      this.take(seat, epoch, { cut, strict: due, latest: cut, mustBeInexact })
      const [left] = expected.owed
      if (epoch.exact && left !== undefined)
        throw new Wrong(`key ${left.key} was marked, and is in no epoch`)
      if (expected.inexact > 0 || !epoch.exact) isRight = false
    }
    return { is: isRight ? 'right' : 'inexact' }
  }

  /** Stops the tracker, whatever happened before. */
  async end() {
    try {
      const stopping = this.call('stop', () => this.tracker.stop({ graceMs: 0 }))
      await this.aggregator.settled('the last stop', stopping)
    } catch (error) {
      if (!isCoded(error)) return outcomeOf(error)
    } finally {
      this.aggregator.leave()
    }
    return undefined
  }

  corrupt() {
    this.changes.push(...corrupt(this.memory, this.kind, this.draw, this.log))
  }

  /** Runs a synchronous call, and times it. */
  call(what, body) {
    return this.stopwatch.time(what, body)
  }

  // -------------------------------------------------------------------------------- acts: writers

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
    const key = this.draw(6) === 0 ? 0 : this.draw(this.keys)
    if (this.hasTexts && this.draw(2) === 0) return textKey(key)
    return this.draw(3) === 0 ? this.draw(3) * 2 ** 32 + key : key
  }

  /** A mark was made: each reader must get it. */
  add(key) {
    const mark = this.marks.add(key)
    for (const { expected } of this.seats) expected.add(mark)
    return mark
  }

  note(pen, keys) {
    for (const key of keys) pen.marks.push(this.add(key))
    this.noteStaged()
  }

  /** A writer's marks are published, except for as many of the last ones as it has staged. */
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

  /** A writer on a thread that dies with keys staged, and is reaped. */
  async reap() {
    const lane = openLane(this.memory, DEAD_THREAD, 8, noClock)
    if (typeof lane === 'string') return
    const marks = []
    for (let left = this.draw(6); left > 0; left--) {
      const key = this.key()
      const isStored =
        typeof key === 'number'
          ? stage(lane, key | 0, Math.floor(key / 2 ** 32))
          : stageEncoded(lane, encodeText(key))
      if (!isStored) break
      marks.push(this.add(key))
      if (this.draw(4) === 0) publish(lane)
    }
    if (this.draw(3) === 0) this.corrupt()
    const reaping = this.call('reap', () => this.tracker.reap(lane.id))
    await this.aggregator.settled('reap', reaping)
    for (const mark of marks) mark.published = true
  }

  close() {
    if (this.pens.length === 0) return
    this.noteStaged()
    this.aggregator.pump()
    // Where the ring stays full, close() waits a second for the aggregator, which is on this very
    // thread. So close there only in one case of a hundred.
    const { words, layout } = this.memory
    const isFull = token.distance(words[map.TAIL], words[map.HEAD]) >= layout.capacity
    if ((this.aggregator.ended || isFull) && this.draw(100) !== 0) return
    const [{ writer, marks }] = this.pens.splice(this.draw(this.pens.length), 1)
    for (const mark of marks) mark.isHarvested = true
    this.call('close', () => writer.close())
  }

  // -------------------------------------------------------------------------- acts: the aggregator

  pumpSome() {
    this.aggregator.pump(1 + this.draw(6))
  }

  pumpAll() {
    this.aggregator.pump()
  }

  die() {
    this.aggregator.die()
  }

  interrupt() {
    this.aggregator.pumpInterrupted(this.draw(16))
  }

  // --------------------------------------------------------------------------------- acts: epochs

  aSeat() {
    return this.seats[this.draw(this.seats.length)]
  }

  async seal() {
    const seat = this.aSeat()
    const { reader, expected, epochs, sealing } = seat
    if (sealing.length > 0) return this.collect(seat, sealing.shift())
    const most = this.consumers > 0 ? 1 : this.memory.layout.epochSlots - 1
    if (!this.tracker.stats().unsettled || epochs.length >= most) return undefined
    const { tracker } = this
    this.noteStaged()
    // Another reader's cut may wait in the queue, and be made before this one.
    const isFirst = this.seats.every((each) => each.sealing.every(({ isCut }) => isCut))
    const before = tracker.epoch
    const promise = this.call('advanceEpoch', () => reader.advanceEpoch({ onBusy: 'reject' }))
    promise.catch(() => undefined)
    if (this.draw(6) === 0) this.corrupt()
    for (let turn = 0; turn < 50 && tracker.epoch === before; turn++) {
      this.aggregator.pump()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    const isCut = isFirst && tracker.epoch !== before
    const { mustBeInexact } = expected
    expected.mustBeInexact = false
    this.log(`  cut: ${isCut}`)
    this.noteStaged() // advanceEpoch() publishes what this thread's writers have staged
    const [strict, cut] = [expected.published(), expected.seq]
    sealing.push({ promise, strict, cut, isCut, mustBeInexact })
    if (this.draw(3) !== 0) await this.collect(seat, sealing.shift())
    return undefined
  }

  async collect(seat, { promise, strict, cut, isCut, mustBeInexact }) {
    const { expected } = seat
    const epoch = await this.aggregator.settled('advanceEpoch', promise).catch((error) => {
      if (isUsual(error)) expected.mustBeInexact ||= mustBeInexact
      throw error
    })
    this.take(
      seat,
      epoch,
      isCut
        ? { cut, strict, latest: cut, mustBeInexact }
        : { cut, strict: new Set(), latest: expected.seq, mustBeInexact },
    )
  }

  /** Checks an epoch that was handed out, and keeps it until it is settled. */
  take({ expected, epochs }, epoch, moment) {
    expected.check(epoch, moment)
    if (epoch.state !== 'sealed' || (epoch.exact && epoch.size === 0)) return
    const log = epoch.exact && [...epoch.texts()].length === 0 ? epoch.pairs : undefined
    epochs.push({ epoch, log, copy: log?.slice() })
  }

  commit() {
    const { epoch } = this.aSeat().epochs.shift() ?? {}
    if (epoch !== undefined) this.call('commit', () => epoch.commit())
  }

  async restore() {
    const { expected, epochs } = this.aSeat()
    const { epoch } = epochs.shift() ?? {}
    if (epoch === undefined) return
    const keys = epoch.exact ? [...epoch] : []
    const restoring = this.call('restore', () => epoch.restore())
    restoring.catch(() => undefined)
    for (const key of keys) expected.giveBack(key)
    if (!epoch.exact) expected.mustBeInexact = true
    await this.aggregator.settled('restore', restoring)
  }

  /** A namespace has changed as a whole, or all of them. */
  everything() {
    if (this.draw(2) !== 0) return
    const namespace = this.draw(4)
    const isWhole = namespace === 3
    this.call('markEverything', () => this.tracker.markEverything(isWhole ? undefined : namespace))
    for (const { expected } of this.seats)
      if (isWhole || expected.wants(namespace)) expected.mustBeInexact = true
  }

  /** Another consumer takes the place of one. */
  reopen() {
    if (this.consumers === 0) return
    const k = this.draw(this.seats.length)
    const { reader, epochs } = this.seats[k]
    this.call('close', () => reader.close())
    for (const { epoch } of epochs) epoch.commit()
    this.seats[k] = this.openConsumer(reader.name)
    this.noteStaged() // a consumer that begins now publishes what this thread's writers have staged
    for (const { marks } of this.pens) for (const mark of marks) this.seats[k].expected.add(mark)
  }

  observe() {
    this.call('dump', () => this.tracker.dump())
    this.call('health', () => this.tracker.health())
    this.call('stats', () => this.tracker.stats())
  }

  // -------------------------------------------------------------------------------------- after it

  /** What was stored outside of the structure, or in an epoch that the consumer has. */
  damage() {
    const { memory } = this
    const corrupted = new Set(this.changes.map(({ at }) => at))
    const stored = storedCanary(memory, this.canaries, corrupted)
    if (stored !== undefined)
      return `word ${stored}, which belongs to nothing, was stored: ${memory.words[stored]}`
    if (this.changes.some(({ excuse }) => excuse !== undefined)) return undefined
    for (const { epoch, log, copy } of this.seats.flatMap(({ epochs }) => epochs)) {
      if (log === undefined || epoch.state !== 'sealed') continue
      const first = log.byteOffset / 4
      const at = copy.findIndex((word, i) => word !== log[i] && !corrupted.has(first + i))
      if (at >= 0) return `word ${first + at}, in the log of epoch ${epoch.id}, was stored`
    }
    return undefined
  }
}

function stageEncoded(lane, bytes) {
  return stageText(lane, digest[0], digest[1], scratch.words, bytes << 1)
}
