import * as backoff from '../../lib/backoff.js'
import * as body from '../../lib/cluster/body.js'
import * as bytes from '../../lib/cluster/bytes.js'
import * as clocks from '../../lib/cluster/clock.js'
import * as decode from '../../lib/cluster/decode.js'
import * as envelope from '../../lib/cluster/envelope.js'
import * as intake from '../../lib/cluster/intake.js'
import * as ledger from '../../lib/cluster/ledger.js'
import type { LogMessage } from '../../lib/cluster/log.js'
import type { Publication, Resumable, Step } from '../../lib/cluster/publication.js'
import * as publication from '../../lib/cluster/publication.js'
import * as union from '../../lib/cluster/union.js'
import { crc32 } from '../../lib/crc32.js'
import { encodeKeys } from '../../lib/epochs/encode.js'
import { isDirtyRingError } from '../../lib/errors.js'
import { FLAG_EVERYTHING, FLAG_FRESH } from '../../lib/memory/map.js'
import { EMPTY_SLOT } from '../../lib/memory/slot.js'
import { Draw, FaultLog, type FaultRates, SinkEnd } from './fault-log.js'

/** What a history runs: the shipped modules, or ones with a seeded fault. */
export interface Parts {
  readonly publication: Pick<typeof publication, 'Publication'>
  readonly ledger: Pick<typeof ledger, 'Ledger'>
  readonly intake: Pick<typeof intake, 'Intake'>
  readonly clocks: Pick<typeof clocks, 'clockBytes' | 'clockText' | 'readClock'>
}

export const SHIPPED: Parts = { publication, ledger, intake, clocks }

/** What patched sources import. */
export const IMPORTS: Readonly<Record<string, object>> = {
  '../backoff.js': backoff,
  './body.js': body,
  './bytes.js': bytes,
  './envelope.js': envelope,
  './decode.js': decode,
  './union.js': union,
  './ledger.js': ledger,
  '../crc32.js': { crc32 },
}

/** What came of a history. */
export interface Outcome {
  /** What went wrong; undefined: nothing. */
  readonly failure: string | undefined
  /** Keys that no rule can save: see excuses(). */
  readonly excused: number
  readonly epochs: number
  readonly inexact: number
  readonly messages: number
  readonly faults: Readonly<Record<string, number>>
  readonly acts: Readonly<Record<string, number>>
}

const GONE_MS = 20_000
const BEAT_MS = 5000
const KEYS = 8
/** At the end, until all that died is gone. */
const ROUNDS = 9
const LIMITS = { maxKeysPerEpoch: 1000 }
/** The key of a row of one of two namespaces. */
const keyOf = (namespace: number, row: number): number => namespace * 2 ** 32 + row
const ALL_KEYS = [0, 1].flatMap((namespace) =>
  Array.from({ length: KEYS }, (_, row) => keyOf(namespace, row)),
)

class Failure extends Error {}

interface Written {
  readonly version: number
  /** Whose write it is. */
  readonly node: SimNode
}

/** All that one history has. */
class World {
  nowMs = 0
  readonly draw: Draw
  readonly log: FaultLog
  readonly parts: Parts
  readonly store = new Map<number, Written>()
  readonly nodes: SimNode[] = []
  readonly readers: SimReader[] = []
  /** Instances of nodes that died, or may have. */
  readonly instances = new Map<string, SimNode>()
  readonly acts: Record<string, number> = {}
  version = 0
  #drawn = 0
  /** The engine has lost something that it had acknowledged, without a trace. */
  hasForgotten = false
  epochs = 0
  inexact = 0
  /** Epochs that are inexact because of the log. */
  needless = 0

  constructor(seed: number, parts: Parts) {
    this.draw = new Draw(seed)
    this.parts = parts
    const { draw } = this
    const rate = (): number => (draw.happens(0.3) ? draw.part() * draw.part() * 0.4 : 0)
    const isClean = draw.happens(0.1)
    const isMild = isClean || draw.happens(0.2)
    const rates: FaultRates = {
      lostBefore: isClean ? 0 : rate(),
      lostAfter: isClean ? 0 : rate(),
      late: isClean ? 0 : rate(),
      dropped: isMild ? 0 : rate() / 4,
      repeated: isClean ? 0 : rate(),
      reordered: isMild ? 0 : rate() / 2,
      away: isClean ? 0 : rate(),
      cutLost: rate() * 2,
      cutRepeated: rate() * 2,
    }
    this.log = new FaultLog({
      seed: seed ^ 0x5bd1e995,
      rates,
      isFenced: draw.happens(0.7),
      isNamed: draw.happens(0.8),
      readMax: 1 + draw.below(12),
    })
    this.isClean = isClean
    this.isMild = isMild
  }

  /** Nothing goes wrong in the log. */
  readonly isClean: boolean
  /** Only answers go wrong, and the log loses nothing. */
  readonly isMild: boolean

  count(act: string): void {
    this.acts[act] = (this.acts[act] ?? 0) + 1
  }

  instance(): string {
    return (++this.#drawn).toString(16).padStart(32, '0')
  }
}

/** Keys that a node has marked, as a consumer has them. */
interface Dirty {
  readonly keys: Set<number>
  isEverything: boolean
}

const nothing = (): Dirty => ({ keys: new Set(), isEverything: false })

function unite(into: Dirty, from: Dirty): void {
  for (const key of from.keys) into.keys.add(key)
  into.isEverything ||= from.isEverything
}

/** A process: it writes rows, marks them, and has a publisher. */
class SimNode {
  readonly #world: World
  readonly publication: Publication
  readonly #sink: SinkEnd
  readonly declared: number[] | undefined
  state: 'live' | 'closing' | 'ended' | 'dead' = 'live'
  pausedUntilMs = -Infinity
  /** It slept so long that it may be buried: before it dies it must be heard. */
  mustBeHeard = false
  /** Another process has its instance: before it dies, one of them must get another one. */
  mustCommit = false
  dirty: Dirty
  inHand: Dirty | undefined
  #isFresh: boolean
  /** What the engine answered, while the node has not taken note of it. */
  #answer: (() => void) | undefined
  /** Between the write and the mark, or between the mark and the write. */
  #rest: (() => void) | undefined
  /** Its messages have a format that the readers do not know. */
  readonly #isNewer: boolean
  readonly #forget: () => void
  /** Instances that it has had. */
  readonly instances: string[] = []
  readonly label: string

  constructor(
    world: World,
    options: {
      label: string
      resume?: Resumable | undefined
      dirty?: Dirty
      isNewer?: boolean
      isFresh?: boolean
    },
  ) {
    const { draw, parts, nowMs } = world
    this.#world = world
    this.#isNewer = options.isNewer === true
    this.#isFresh = options.isFresh === true
    this.label = options.label
    this.dirty = options.dirty ?? nothing()
    this.declared = draw.happens(0.3) ? [draw.below(2)] : undefined
    if (options.resume !== undefined)
      this.declared = options.resume.namespaces && [...options.resume.namespaces]
    this.publication = new parts.publication.Publication(
      {
        node: options.label,
        everyMs: draw.pick([20, 100, 1000]),
        beatMs: BEAT_MS,
        namespaces: this.declared && [...this.declared],
        resume: options.resume,
        draw: () => {
          const instance = world.instance()
          this.#has(instance)
          return instance
        },
        wallMs: () => world.nowMs,
      },
      nowMs,
    )
    if (options.resume !== undefined) this.#has(options.resume.instance)
    this.#sink = new SinkEnd(world.log)
    this.#forget = world.log.onCut((request) => {
      if (this.isAwake) this.publication.request(request)
    })
    world.nodes.push(this)
  }

  #has(instance: string): void {
    this.instances.push(instance)
    this.#world.instances.set(instance, this)
  }

  get isAwake(): boolean {
    return (
      (this.state === 'live' || this.state === 'closing') && this.#world.nowMs >= this.pausedUntilMs
    )
  }

  get mayWrite(): boolean {
    return this.state === 'live' && this.publication.isOpen && this.#rest === undefined
  }

  /** Begins to write a row: the mark comes before or after, and the node may die between. */
  write(): void {
    const { draw, store } = this.#world
    const namespace = this.declared === undefined ? draw.below(2) : draw.pick(this.declared)
    const key = keyOf(namespace, draw.below(KEYS))
    const put = (): void => {
      store.set(key, { version: ++this.#world.version, node: this })
    }
    const mark = (): void => {
      this.dirty.keys.add(key)
    }
    // Marked first, a row must be published after it is written: batch() does that.
    const isBatch = draw.happens(0.5)
    if (isBatch) {
      put()
      mark()
      return
    }
    put()
    this.#rest = mark
  }

  /** A change that no list of keys describes. */
  writeMany(): void {
    const { store, draw } = this.#world
    if (this.declared !== undefined) return
    for (const key of ALL_KEYS)
      if (draw.happens(0.3)) store.set(key, { version: ++this.#world.version, node: this })
    this.dirty.isEverything = true
  }

  declare(): void {
    if (this.declared?.length !== 1 || !this.mayWrite) return
    const added = 1 - this.declared[0]
    const ticket = this.publication.addNamespaces([added])
    const isDone = (): boolean => {
      if (this.publication.isDeclared(ticket)) this.declared!.push(added)
      else return false
      return true
    }
    if (!isDone()) this.#declaring = isDone
  }

  #declaring: (() => boolean) | undefined

  /** Half of what it does next: the call, or what the answer means. */
  step(): Step['do'] | 'note' | 'rest' {
    const answer = this.#answer
    if (answer !== undefined) {
      this.#answer = undefined
      answer()
      if (this.#declaring?.() === true) this.#declaring = undefined
      return 'note'
    }
    if (this.#rest !== undefined) {
      this.#rest()
      this.#rest = undefined
      return 'rest'
    }
    const { nowMs } = this.#world
    const step = this.publication.next(nowMs)
    if (step.do === 'append') this.#append(step.message)
    else if (step.do === 'last') this.#last(step.instance)
    else if (step.do === 'cut') this.#cut()
    else if (step.do === 'commit') this.#commit()
    else if (step.do === 'end') {
      this.state = 'ended'
      this.#forget()
    }
    return step.do
  }

  #commit(): void {
    this.inHand = undefined
    // An engine that takes whatever comes never parts the two.
    if (this.#world.log.isFenced) this.mustCommit = false
  }

  #append(message: LogMessage): void {
    const { nowMs } = this.#world
    const { publication } = this
    if (this.#world.draw.happens(0.01) && publication.tooLarge(nowMs)) {
      this.#world.count('too large')
      this.#giveBack()
      return
    }
    try {
      const answer = this.#sink.append(this.#isNewer ? reformat(message, 200) : message)
      this.#answer = () => {
        if (answer === 'refused') publication.refused()
        else {
          publication.appended(this.#world.nowMs)
          this.mustBeHeard = false
        }
      }
    } catch (error) {
      if (!isDirtyRingError(error) || error.code !== 'ERR_DIRTYRING_AWAY') throw error
      publication.away(nowMs)
    }
  }

  #last(instance: string): void {
    const { nowMs } = this.#world
    const { publication } = this
    try {
      const found = this.#sink.last(instance)
      const last = found !== undefined && this.#isNewer ? reformat(found, 1) : found
      this.#answer = () => publication.found(last, this.#world.nowMs)
    } catch (error) {
      if (!isDirtyRingError(error) || error.code !== 'ERR_DIRTYRING_AWAY') throw error
      publication.away(nowMs)
    }
  }

  #cut(): void {
    const { draw, nowMs } = this.#world
    this.#giveBack()
    if (draw.happens(0.05)) {
      this.publication.cutFailed(nowMs)
      return
    }
    const cut = this.dirty
    this.dirty = nothing()
    if (this.#isFresh) cut.isEverything = true
    const isEmpty = cut.keys.size === 0 && !cut.isEverything
    if (!isEmpty) this.inHand = cut
    const messages = isEmpty ? [] : this.#encode(cut)
    this.#isFresh = false
    const tag = draw.happens(0.2) ? Uint8Array.of(7) : undefined
    this.#answer = () => this.publication.sealed(messages, tag)
  }

  /** The consumer's next epoch has what is in hand too. */
  #giveBack(): void {
    if (this.inHand !== undefined) unite(this.dirty, this.inHand)
    this.inHand = undefined
  }

  #encode(cut: Dirty): Uint8Array[] {
    if (cut.isEverything) return [keyMessage([], this.#isFresh ? FLAG_FRESH : FLAG_EVERYTHING)]
    const { draw } = this.#world
    const keys = [...cut.keys]
    const parts: Uint8Array[] = []
    const most = draw.happens(0.5) ? KEYS * 2 : 1 + draw.below(3)
    for (let i = 0; i < keys.length; i += most) parts.push(keyMessage(keys.slice(i, i + most), 0))
    return parts
  }

  close(): void {
    if (this.#rest !== undefined || this.#declaring !== undefined) return
    this.state = 'closing'
    this.publication.close()
  }

  die(): void {
    this.state = 'dead'
    this.#forget()
  }

  /** What the consumer still has, with what the publisher has in hand. */
  get kept(): Dirty {
    const kept = nothing()
    unite(kept, this.dirty)
    if (this.inHand !== undefined) unite(kept, this.inHand)
    return kept
  }

  get isBetween(): boolean {
    return this.#rest !== undefined || this.#declaring !== undefined
  }
}

function keyMessage(keys: readonly number[], flags: number): Uint8Array {
  const words = new Int32Array(keys.length * 2)
  keys.forEach((key, i) => {
    words[2 * i] = key % 2 ** 32
    words[2 * i + 1] = Math.floor(key / 2 ** 32)
  })
  const header = { ...EMPTY_SLOT, count: keys.length, flags }
  const from = { words: words as never, header, log: 0, arena: 0, filter: undefined }
  return encodeKeys({ ...from, isBigint: false, hasPrints: false }, { maxBytes: 4096 })[0]
}

/** The same message as another version of the library would write it. */
function reformat(message: LogMessage, format: number): LogMessage {
  const changed = message.bytes.slice()
  changed[5] = format
  const end = changed.length - 4
  new DataView(changed.buffer).setUint32(end, crc32(changed.subarray(0, end)), true)
  return { ...message, bytes: changed }
}

/** What a reader tells its caller. */
interface Told {
  readonly keys: Set<number>
  isEverything: boolean
}

interface InHand {
  readonly told: Told
  readonly union: union.KeyUnion
  readonly epochs: number
  readonly news: ledger.News[]
  readonly clock: string
  readonly met: ReadonlySet<string>
}

/** A copy of the store, and a reader that keeps it up to date. */
class SimReader {
  readonly #world: World
  copy = new Map<number, number>()
  ledger!: ledger.Ledger
  #intake!: intake.Intake
  /** It has no position, or one that can't be served. */
  #isEverything = true
  /** What is stored with the copy. */
  #clock: string | undefined
  /** Handed out, and not committed. */
  #inHand: InHand | undefined
  #listenedAtMs: number
  #isAtEnd = false
  awayUntilMs = -Infinity
  /** Instances of which it has had a message, as far as its stored clock goes. */
  #met: ReadonlySet<string> = new Set()
  met = new Set<string>()
  isFresh = true
  #cut:
    | {
        request: string
        waiting: Set<string>
        untilMs: number
        againMs: number
        wanted: Map<number, number>
      }
    | undefined

  constructor(world: World) {
    this.#world = world
    this.#listenedAtMs = world.nowMs
    this.#begin()
    world.readers.push(this)
  }

  #options(): ledger.LedgerOptions {
    return { goneMs: GONE_MS, jitterMs: () => this.#world.draw.below(3000) }
  }

  get isAwake(): boolean {
    return this.#world.nowMs >= this.awayUntilMs
  }

  read(): void {
    const { log, nowMs } = this.#world
    let found
    try {
      found = log.read(this.ledger.position)
    } catch (error) {
      if (!isDirtyRingError(error) || error.code !== 'ERR_DIRTYRING_AWAY') throw error
      this.#isAtEnd = false
      return
    }
    if (found.lost || (this.ledger.log !== undefined && this.ledger.log !== found.log)) {
      this.#intake.releaseAll()
      this.#isEverything = true
      this.ledger.forgive()
      this.ledger.rewind()
      this.ledger.enter(found.log)
      if (!found.lost) return
    }
    this.ledger.enter(found.log)
    for (const { bytes, instance } of found.messages) {
      const message = envelope.openEnvelope(bytes)
      this.met.add((instance ?? message?.instance)!)
      if (message?.kind === envelope.KIND.NAMESPACES && message.format === body.BODY_FORMAT) {
        for (const namespace of body.decodeNamespacesBody(message.body) ?? [])
          this.met.add(declarationOf(message.instance, namespace))
      }
    }
    this.#intake.take(found, nowMs)
    if (!found.atEnd) {
      this.#isAtEnd = false
      return
    }
    if (this.#isAtEnd) this.ledger.listen(Math.min(nowMs - this.#listenedAtMs, 10_000))
    for (const { instance } of this.ledger.bury(nowMs, nowMs, log.nodes))
      this.#intake.release(instance)
    this.#isAtEnd = true
    this.#listenedAtMs = nowMs
  }

  #newIntake(): intake.Intake {
    return new this.#world.parts.intake.Intake(this.ledger, {
      limits: LIMITS,
      keys: 'any',
      isExcepted: () => false,
      onAnswer: (request, instance) => {
        if (this.#cut?.request === request) this.#cut.waiting.delete(instance)
      },
      onTrouble: () => undefined,
    })
  }

  /** Hands out what has arrived. */
  handOut(isCut: boolean, missing?: ReadonlySet<string>): void {
    if (this.#inHand !== undefined) this.restore()
    const { nowMs } = this.#world
    if (this.ledger.position === undefined) return // it knows nothing yet
    const news = this.ledger.handOut(nowMs, isCut, missing, nowMs)
    const { clocks } = this.#world.parts
    const clock = clocks.clockText(clocks.clockBytes(this.ledger))
    const { epochs } = this.#intake
    const union = this.#intake.takeKeys()
    const isEverything = this.#isEverything || union.precision === 'everything'
    this.#isEverything = false
    const told: Told = { keys: new Set(), isEverything }
    for (const key of union.listed()) told.keys.add(key as number)
    for (const { lost } of news) {
      if (lost === 'everything') told.isEverything = true
      else if (lost !== undefined)
        for (const key of ALL_KEYS) if (lost.includes(Math.floor(key / 2 ** 32))) told.keys.add(key)
    }
    this.#world.epochs++
    if (!this.isFresh) {
      if (told.isEverything || news.some(({ lost }) => lost !== undefined)) this.#world.inexact++
      if (news.some(({ lost, reason }) => lost !== undefined && reason !== 'missing'))
        this.#world.needless++
    }
    this.#inHand = { told, union, epochs, news, clock, met: new Set(this.met) }
  }

  commit(): void {
    const inHand = this.#inHand
    if (inHand === undefined) return
    this.#inHand = undefined
    const { store } = this.#world
    const { keys, isEverything } = inHand.told
    for (const key of isEverything ? ALL_KEYS : keys) {
      const written = store.get(key)
      if (written !== undefined) this.copy.set(key, written.version)
    }
    this.isFresh = false
    this.#clock = inHand.clock
    this.#met = inHand.met
  }

  restore(): void {
    const inHand = this.#inHand
    if (inHand === undefined) return
    this.#inHand = undefined
    this.#intake.giveBack(inHand.union, inHand.epochs)
    this.#isEverything ||= inHand.told.isEverything
    this.ledger.giveBack(inHand.news)
  }

  /** The process of the reader dies, and starts again from what it has stored. */
  restart(): void {
    this.#inHand = undefined
    this.#cut = undefined
    this.#isAtEnd = false
    this.met = new Set(this.#met)
    this.isFresh = this.#clock === undefined
    this.#begin()
  }

  #begin(): void {
    const { clocks, ledger } = this.#world.parts
    const clock = this.#clock
    if (clock === undefined) this.ledger = new ledger.Ledger(this.#options())
    else {
      const read = clocks.readClock(clock, this.#options())
      if ('trouble' in read) throw new Failure(read.trouble)
      this.ledger = read.ledger
    }
    this.#intake = this.#newIntake()
    this.#isEverything = clock === undefined
  }

  /** Asks all nodes for a cut, as advanceEpoch() does. */
  beginCut(request: string): void {
    if (this.#cut !== undefined || this.isFresh) return
    for (let i = 0; i < 100 && !this.#isAtEnd; i++) this.read()
    if (!this.#isAtEnd) return
    const { nowMs, nodes, store } = this.#world
    const wanted = new Map<number, number>()
    for (const { dirty, inHand, state, instances, mustCommit } of nodes) {
      if (state !== 'live' || mustCommit || !instances.every((each) => this.ledger.isLive(each)))
        continue
      for (const keys of [dirty.keys, inHand?.keys ?? []])
        for (const key of keys) wanted.set(key, store.get(key)!.version)
    }
    this.#cut = {
      request,
      waiting: new Set(this.ledger.living().map(({ instance }) => instance)),
      untilMs: nowMs + 5000,
      againMs: nowMs,
      wanted,
    }
  }

  goOnWithCut(): void {
    const cut = this.#cut
    if (cut === undefined) return
    const { nowMs, log } = this.#world
    for (const instance of [...cut.waiting])
      if (!this.ledger.isLive(instance)) cut.waiting.delete(instance)
    if (cut.waiting.size === 0 || nowMs >= cut.untilMs) {
      this.#cut = undefined
      this.handOut(true, cut.waiting)
      const { keys, isEverything } = this.#inHand!.told
      if (!isEverything) {
        for (const [key, version] of cut.wanted) {
          if (keys.has(key) || (this.copy.get(key) ?? 0) >= version) continue
          throw new Failure(`a cut over all nodes is without key ${key}, version ${version}`)
        }
      }
      this.commit()
      return
    }
    if (nowMs < cut.againMs) return
    cut.againMs = nowMs + 250
    try {
      log.requestCut(cut.request)
    } catch (error) {
      if (!isDirtyRingError(error)) throw error
    }
  }

  /** Two nodes have one instance, and one of them may answer for both. */
  expectNothing(): void {
    this.#cut?.wanted.clear()
  }

  get isCutting(): boolean {
    return this.#cut !== undefined
  }

  /** How its copy differs from the store. */
  differences(): number[] {
    return ALL_KEYS.filter(
      (key) => (this.copy.get(key) ?? 0) < (this.#world.store.get(key)?.version ?? 0),
    )
  }
}

/**
 * Runs one history: up to five nodes write rows of one store, mark them and publish them, through a
 * log that goes wrong; readers keep copies. At the end nothing goes wrong any more, and each copy
 * must equal the store.
 */
export function runHistory(seed: number, parts: Parts = SHIPPED): Outcome {
  const world = new World(seed, parts)
  let failure: string | undefined
  let excused = 0
  try {
    live(world)
    excused = finish(world)
  } catch (error) {
    failure = error instanceof Failure ? error.message : String((error as Error).stack)
  }
  const { epochs, inexact, acts, log } = world
  return { failure, excused, epochs, inexact, messages: log.length, faults: log.counts, acts }
}

function live(world: World): void {
  const { draw, log } = world
  const start = 1 + draw.below(3)
  for (let i = 0; i < start; i++) new SimNode(world, { label: `node-${draw.below(3)}` })
  for (let i = 1 + draw.below(2); i > 0; i--) new SimReader(world)
  const length = 30 + draw.below(120)
  const deaths = draw.happens(world.isMild ? 0.1 : 0.5)
  const resumes = deaths || draw.happens(0.5)
  const disasters = !world.isMild && draw.happens(0.5)
  for (let i = 0; i < length; i++) {
    world.nowMs += draw.happens(0.02) ? draw.below(world.isMild ? 4000 : 40_000) : draw.below(60)
    const awake = world.nodes.filter(({ isAwake }) => isAwake)
    if (awake.length > 0) nodeActs(world, draw.pick(awake), deaths, resumes)
    const reader = draw.pick(world.readers)
    if (reader.isAwake) readerActs(world, reader, i)
    if (awake.length < 4 && world.nodes.length < 7 && draw.happens(0.02)) {
      world.count('birth')
      new SimNode(world, {
        label: `node-${draw.below(3)}`,
        isNewer: !world.isMild && draw.happens(0.1),
        isFresh: !world.isMild && draw.happens(0.1),
      })
    }
    if (world.isClean) continue
    if (log.isAway ? draw.happens(0.1) : draw.happens(0.01)) {
      world.count('outage')
      if (log.isAway) log.comeBack()
      else log.goAway()
    }
    if (disasters && draw.happens(0.03)) disaster(world)
  }
}

function nodeActs(world: World, node: SimNode, deaths: boolean, resumes: boolean): void {
  const { draw, nowMs } = world
  const what = draw.below(100)
  if (what < 25) {
    if (node.mayWrite) node.write()
  } else if (what < 26) {
    if (node.mayWrite) node.writeMany()
  } else if (what < 28) node.declare()
  else if (what < 29) {
    if (node.state === 'live' && node.publication.isOpen) node.close()
  } else if (what < 31 && deaths) {
    if (!node.mustBeHeard && !node.mustCommit) {
      world.count('death')
      node.die()
    }
  } else if (what < 32 && deaths) {
    // A zombie: silent for so long that readers bury it, and then it goes on.
    world.count('pause')
    node.pausedUntilMs = nowMs + draw.pick([500, 12_000, GONE_MS + 30_000])
    node.mustBeHeard = true
  } else if (what < 33 && resumes) {
    const { resumable } = node.publication
    if (resumable === undefined || node.isBetween || node.state !== 'live') return
    if (!node.publication.isOpen) return
    // A restart in an outage, or a copy of a running machine.
    const isClone = deaths && draw.happens(0.5)
    world.count(isClone ? 'clone' : 'resume')
    const kept = node.kept
    if (!isClone) node.die()
    const next = new SimNode(world, { label: resumable.node, resume: resumable, dirty: kept })
    // While two have one instance, no reader can tell the death of one of them.
    if (!isClone) return
    for (const each of [node, next]) each.mustCommit = true
    for (const reader of world.readers) reader.expectNothing()
  } else {
    for (let steps = 1 + draw.below(6); steps > 0 && node.isAwake; steps--)
      if (node.step() === 'wait') break
  }
}

function readerActs(world: World, reader: SimReader, i: number): void {
  const { draw, nowMs } = world
  const what = draw.below(100)
  reader.goOnWithCut()
  if (what < 60) reader.read()
  else if (what < 75) {
    if (!reader.isCutting) reader.handOut(false)
  } else if (what < 90) reader.commit()
  else if (what < 93) reader.restore()
  else if (what < 95) {
    world.count('restart')
    reader.restart()
  } else if (what < 97) {
    world.count('reader away')
    reader.awayUntilMs = nowMs + draw.pick([300, 5000, 90_000])
  } else {
    world.count('cut')
    reader.beginCut(`r${i}`)
  }
}

/** The engine loses what it had. */
function disaster(world: World): void {
  const { draw, log } = world
  const what = draw.below(8)
  if (what < 2) log.trim(1 + draw.below(log.length + 1))
  else if (what === 2) log.backUp()
  else if (what === 3) log.makeAnew()
  else {
    if (what === 4) log.forgetTail(1 + draw.below(8))
    else if (what === 5) log.restore(draw.happens(0.7))
    else if (what === 6) log.makeAnew(true)
    else log.lose(draw.below(log.length))
    world.hasForgotten = true
  }
}

/** Nothing goes wrong any more. Returns how many keys no rule can save. */
function finish(world: World): number {
  const { log, nodes, readers } = world
  log.quiet()
  log.readMax = 1000
  for (const node of nodes) node.pausedUntilMs = -Infinity
  for (const reader of readers) reader.awayUntilMs = -Infinity
  // Some nodes stop, the others go on, and are idle.
  for (const node of nodes) if (node.state === 'live' && world.draw.happens(0.5)) node.close()
  for (let round = 0; round < ROUNDS; round++) {
    // At the end, what unreadable messages cost is told too, once a minute.
    world.nowMs += round === ROUNDS - 1 ? 70_000 : BEAT_MS
    for (const node of nodes) run(node)
    for (const reader of readers) {
      for (let i = 0; i < 500; i++) {
        const before = reader.ledger.position
        reader.read()
        if (reader.ledger.position === before) break
      }
      reader.goOnWithCut()
      if (reader.isCutting || (round > 1 && round < ROUNDS - 2)) continue
      reader.handOut(false)
      reader.commit()
    }
    if (world.isMild && round === ROUNDS - 2) checkExact(world)
  }
  let excused = 0
  for (const reader of readers) {
    for (const key of reader.differences()) {
      const written = world.store.get(key)!
      if (isLostForGood(world, reader, written.node, key)) excused++
      else
        throw new Failure(
          `key ${key} was written by ${written.node.label} (${written.node.state}), instances ` +
            `${written.node.instances.map((each) => Number(`0x${each}`)).join()}, and a copy has ` +
            `version ${reader.copy.get(key) ?? 0} instead of ${written.version}`,
        )
    }
  }
  return excused
}

function run(node: SimNode): void {
  for (let i = 0; i < 200 && node.isAwake; i++) if (node.step() === 'wait') return
  if (node.isAwake) throw new Failure(`${node.label} does not come to rest`)
}

/** Births, clean stops, outages and missing answers cost no reader anything. */
function checkExact({ acts, needless, log }: World): void {
  if (['death', 'pause', 'clone', 'too large'].some((act) => acts[act] !== undefined)) return
  // A reader that starts again knows the last message of each instance, and no repeated older one.
  const isRepeated = (log.counts.repeated ?? log.counts.late ?? 0) > 0
  if (acts.restart !== undefined && isRepeated) return
  if (needless > 0) throw new Failure(`${needless} epochs are inexact, and nothing was lost`)
}

function declarationOf(instance: string, namespace: number): string {
  return `${instance} has declared ${namespace}`
}

/**
 * An engine that loses all messages of an instance that has ended, before a reader has had one of
 * them, leaves nothing that this reader could go by. Neither does one that loses the message that
 * declares a namespace, and all that came after it.
 */
function isLostForGood(world: World, reader: SimReader, node: SimNode, key: number): boolean {
  const hasForgotten = world.hasForgotten || (world.log.counts.dropped ?? 0) > 0
  const isOver = node.state === 'ended' || node.state === 'dead'
  const namespace = Math.floor(key / 2 ** 32)
  const isDeclaredLater = node.declared?.indexOf(namespace) === 1
  const isUnknown = (instance: string): boolean =>
    !reader.met.has(instance) ||
    (isDeclaredLater && !reader.met.has(declarationOf(instance, namespace)))
  return hasForgotten && isOver && node.instances.some(isUnknown)
}
