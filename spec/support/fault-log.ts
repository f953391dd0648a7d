import type { EpochSink, EpochSource, LogMessage, LogRead } from '../../lib/cluster/log.js'
import { randomFrom } from '../../lib/demo/random.js'
import { DirtyRingError } from '../../lib/errors.js'
import type { AbortSignalLike } from '../../lib/index.js'

/** How likely each fault is: of one call, 0 to 1. */
export interface FaultRates {
  /** append() rejects, and the log does not have the message. */
  lostBefore: number
  /** append() rejects, and the log has the message. */
  lostAfter: number
  /** append() rejects, and the log gets the message some calls later. */
  late: number
  /** append() resolves, and the log does not have the message. */
  dropped: number
  /** The log has the message twice, one behind the other or some calls later. */
  repeated: number
  /** The message stands behind the one that is appended after it. */
  reordered: number
  /** Another call than append() rejects. */
  away: number
  /** A publisher does not get a request for a cut. */
  cutLost: number
  /** A publisher gets a request for a cut twice. */
  cutRepeated: number
}

export const NO_FAULTS: Readonly<FaultRates> = {
  lostBefore: 0,
  lostAfter: 0,
  late: 0,
  dropped: 0,
  repeated: 0,
  reordered: 0,
  away: 0,
  cutLost: 0,
  cutRepeated: 0,
}

/** What time it is, and how to wait. */
export interface LogClock {
  nowMs(): number
  /** Calls back once. Returns what cancels it. */
  after(ms: number, call: () => void): () => void
}

export const REAL_CLOCK: LogClock = {
  nowMs: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms)
    return () => clearTimeout(timer)
  },
}

/** A clock that stands still until it is told to go on. */
export class VirtualClock implements LogClock {
  #nowMs = 0
  #order = 0
  readonly #alarms = new Set<{ atMs: number; order: number; call: () => void }>()

  nowMs(): number {
    return this.#nowMs
  }

  after(ms: number, call: () => void): () => void {
    const alarm = { atMs: this.#nowMs + Math.max(0, ms), order: this.#order++, call }
    this.#alarms.add(alarm)
    return () => this.#alarms.delete(alarm)
  }

  /** When the next callback is due; undefined if there is none. */
  get nextMs(): number | undefined {
    let next: number | undefined
    for (const { atMs } of this.#alarms) if (next === undefined || atMs < next) next = atMs
    return next
  }

  /** Goes on by `ms`. Calls back what is due meanwhile, in order of time. */
  advance(ms: number): void {
    const until = this.#nowMs + ms
    for (;;) {
      let first: { atMs: number; order: number; call: () => void } | undefined
      for (const alarm of this.#alarms) {
        if (alarm.atMs > until) continue
        const isEarlier =
          first === undefined ||
          alarm.atMs < first.atMs ||
          (alarm.atMs === first.atMs && alarm.order < first.order)
        if (isEarlier) first = alarm
      }
      if (first === undefined) break
      this.#alarms.delete(first)
      this.#nowMs = Math.max(this.#nowMs, first.atMs)
      first.call()
    }
    this.#nowMs = until
  }

  /**
   * Goes on by `ms` and lets promises settle between: after each callback, and at the end. `turns`
   * is how many rounds of microtasks follow each of them.
   */
  async run(ms: number, turns = 20): Promise<void> {
    const until = this.#nowMs + ms
    for (;;) {
      for (let i = 0; i < turns; i++) await Promise.resolve()
      const next = this.nextMs
      if (next === undefined || next > until) break
      this.advance(Math.max(0, next - this.#nowMs))
    }
    this.advance(Math.max(0, until - this.#nowMs))
    for (let i = 0; i < turns; i++) await Promise.resolve()
  }
}

/** Numbers that a seed decides. */
export class Draw {
  /** From 0, below 1. */
  readonly part: () => number

  constructor(seed: number) {
    this.part = randomFrom(seed)
  }

  /** A whole number from 0, below `count`. */
  below(count: number): number {
    return Math.floor(this.part() * count)
  }

  /** True with this probability. Draws no number for 0. */
  happens(rate: number): boolean {
    return rate > 0 && this.part() < rate
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]
  }
}

/** One message where it stands in the log. */
export interface Entry extends LogMessage {
  readonly seq: number
}

export interface FaultLogOptions {
  readonly seed: number
  readonly rates?: Partial<FaultRates> | undefined
  /**
   * Whether append() refuses a message whose predecessor is not the instance's last one in the log,
   * as NATS does. Otherwise it appends whatever comes, as Redis does. Default true.
   */
  readonly isFenced?: boolean | undefined
  /** Whether read() says whose a message is, by what the engine knows. Default true. */
  readonly isNamed?: boolean | undefined
  /** Messages that read() gives at most. Default 100. */
  readonly readMax?: number | undefined
  /** Default 2^20. */
  readonly maxMessageBytes?: number | undefined
  readonly clock?: LogClock | undefined
}

interface Held {
  readonly message: LogMessage
  /** Calls of append() until the log gets it. */
  calls: number
  /** What the engine checks then. */
  readonly follows: (last: Entry | undefined) => boolean
}

/**
 * An engine in memory, for many nodes and many readers, that goes wrong as real ones do. The seed
 * decides what goes wrong, so a history can be run again. The calls are synchronous: an adapter's
 * ends around them are sink() and source().
 *
 * `rates` are for what happens in a call. A history does the rest by itself: trim(), forgetTail(),
 * makeAnew(), backUp(), restore(), goAway(), comeBack(), lose(). quiet() ends all of it.
 */
export class FaultLog {
  /** Read and change them at any time. */
  rates: FaultRates
  isFenced: boolean
  /** What nodes() of each source says. */
  nodes: Map<string, 'live' | 'gone'> | undefined
  readonly clock: LogClock
  readonly #draw: Draw
  readonly #isNamed: boolean
  /** Messages that read() gives at most. */
  readMax: number
  readonly #maxMessageBytes: number
  /** In the order of `seq`, with holes. */
  #entries: Entry[] = []
  #nextSeq = 1
  #identity = 0
  #identities = 0
  #isAway = false
  #held: Held[] = []
  #backup: { entries: Entry[]; nextSeq: number } | undefined
  readonly #cuts = new Set<(request: string) => void>()
  readonly #changes = new Set<() => void>()
  /** How often each thing went wrong. */
  readonly counts: Record<string, number> = {}

  constructor(options: FaultLogOptions) {
    const { seed, rates, isFenced = true, isNamed = true, readMax = 100 } = options
    this.#draw = new Draw(seed)
    this.rates = { ...NO_FAULTS, ...rates }
    this.isFenced = isFenced
    this.#isNamed = isNamed
    this.readMax = readMax
    this.#maxMessageBytes = options.maxMessageBytes ?? 1 << 20
    this.clock = options.clock ?? REAL_CLOCK
  }

  // ------------------------------------------------------------------------------- what adapters do

  /**
   * Throws ERR_DIRTYRING_AWAY where an engine's client would reject.
   *
   * @param follows - whether the message follows what the log has of its instance, as far as the
   * sink can tell
   */
  append(
    message: LogMessage,
    follows = (last: Entry | undefined): boolean => (last?.n ?? -1) === message.n - 1,
  ): 'appended' | 'refused' {
    this.#storeHeld()
    if (this.#isAway) throw AWAY
    if (message.bytes.length > this.#maxMessageBytes) {
      throw new DirtyRingError('ERR_DIRTYRING_TOO_LARGE', 'the message is too large')
    }
    const { rates } = this
    if (this.#hits('lostBefore', rates.lostBefore)) throw AWAY
    if (this.#hits('late', rates.late)) {
      this.#held.push({ message, calls: 1 + this.#draw.below(4), follows })
      throw AWAY
    }
    if (this.isFenced && !follows(this.lastOf(message.instance))) return 'refused'
    if (this.#hits('dropped', rates.dropped)) return 'appended'
    if (this.#hits('reordered', rates.reordered)) {
      this.#held.push({ message, calls: 1, follows: () => true })
      return 'appended'
    }
    this.#store(message)
    if (this.#hits('repeated', rates.repeated)) {
      const calls = this.#draw.below(4)
      if (calls === 0) this.#store(message)
      else this.#held.push({ message, calls, follows: () => true })
    }
    if (this.#hits('lostAfter', rates.lostAfter)) throw AWAY
    return 'appended'
  }

  /** The last message of an instance. */
  last(instance: string): Entry | undefined {
    this.#checkHere()
    return this.lastOf(instance)
  }

  read(after: string | undefined): LogRead {
    this.#checkHere()
    const first = this.#entries[0]?.seq ?? this.#nextSeq
    let from = first
    let lost = false
    if (after !== undefined) {
      const [identity, seq] = after.split('.').map(Number)
      lost = identity !== this.#identity || seq + 1 < first || seq >= this.#nextSeq
      if (!lost) from = seq + 1
    }
    const rest = this.#entries.filter(({ seq }) => seq >= from)
    const messages = rest.slice(0, this.readMax)
    const last = messages.at(-1)?.seq ?? from - 1
    const isAtEnd = messages.length === rest.length
    const position = isAtEnd ? this.#nextSeq - 1 : last
    return {
      messages: messages.map(({ node, instance, bytes }) =>
        this.#isNamed ? { node, instance, bytes } : { bytes },
      ),
      position: `${this.#identity}.${position}`,
      atEnd: isAtEnd,
      log: `log-${this.#identity}`,
      lost,
    }
  }

  requestCut(request: string): void {
    this.#checkHere()
    for (const cut of [...this.#cuts]) {
      if (this.#hits('cutLost', this.rates.cutLost)) continue
      cut(request)
      if (this.#hits('cutRepeated', this.rates.cutRepeated)) cut(request)
    }
  }

  onCut(cut: (request: string) => void): () => void {
    const own = (request: string): void => cut(request)
    this.#cuts.add(own)
    return () => this.#cuts.delete(own)
  }

  /** One publisher's end. Each call settles in a later microtask. */
  sink(): EpochSink {
    const end = new SinkEnd(this)
    return {
      maxMessageBytes: this.#maxMessageBytes,
      append: async (message) => {
        await Promise.resolve()
        return end.append(message)
      },
      last: async (instance) => {
        await Promise.resolve()
        return end.last(instance)
      },
      onCut: (cut) => this.onCut(cut),
      close: async () => undefined,
    }
  }

  /** One reader's end. */
  source(): EpochSource {
    return {
      read: (after, { waitMs, signal }) => this.#readOrWait(after, waitMs, signal),
      nodes: () => this.nodes,
      requestCut: async (request) => this.requestCut(request),
      close: async () => undefined,
    }
  }

  async #readOrWait(
    after: string | undefined,
    waitMs: number,
    signal: AbortSignalLike | undefined,
  ): Promise<LogRead> {
    await Promise.resolve()
    if (signal?.aborted === true) throw signal.reason
    const found = this.read(after)
    if (found.messages.length > 0 || found.lost || waitMs <= 0) return found
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        cancel()
        this.#changes.delete(wake)
        signal?.removeEventListener('abort', abort)
      }
      const wake = (): void => {
        end()
        resolve()
      }
      const abort = (): void => {
        end()
        reject(signal?.reason)
      }
      const cancel = this.clock.after(waitMs, wake)
      this.#changes.add(wake)
      signal?.addEventListener('abort', abort)
    })
    return this.read(after)
  }

  // -------------------------------------------------------------------------------- what goes wrong

  get length(): number {
    return this.#entries.length
  }

  /** All that the log holds. */
  get entries(): readonly Entry[] {
    return this.#entries
  }

  get isAway(): boolean {
    return this.#isAway
  }

  /** Each call rejects until comeBack(). */
  goAway(): void {
    this.#isAway = true
    this.#tell()
  }

  comeBack(): void {
    this.#isAway = false
    this.#tell()
  }

  /** Drops the first `count` messages, as a limit of age or size does. */
  trim(count: number): void {
    this.#count('trim')
    this.#entries = this.#entries.slice(count)
  }

  /** Drops the last `count` messages, which were acknowledged. Their places are given away again. */
  forgetTail(count: number): void {
    this.#count('forgetTail')
    if (count <= 0) return
    const end = Math.max(0, this.#entries.length - count)
    this.#nextSeq = this.#entries.at(end)?.seq ?? this.#nextSeq
    this.#entries = this.#entries.slice(0, end)
    this.#tell()
  }

  /** Drops one message somewhere, as a limit for each subject does. */
  lose(index: number): void {
    this.#count('lose')
    this.#entries = this.#entries.filter((_, i) => i !== index)
  }

  /**
   * Deletes the log and makes it anew.
   *
   * @param isKnown - it says that it is the same one, as after a restore that keeps the time of
   * creation
   */
  makeAnew(isKnown = false): void {
    this.#count('makeAnew')
    this.#entries = []
    this.#nextSeq = 1
    this.#held = []
    if (!isKnown) this.#identity = ++this.#identities
    this.#tell()
  }

  /** Keeps a copy of the log, for restore(). */
  backUp(): void {
    this.#backup = { entries: [...this.#entries], nextSeq: this.#nextSeq }
  }

  /** Puts the copy of backUp() back. Without one it does nothing. */
  restore(isKnown = true): void {
    if (this.#backup === undefined) return
    this.#count('restore')
    this.#entries = [...this.#backup.entries]
    this.#nextSeq = this.#backup.nextSeq
    this.#held = []
    if (!isKnown) this.#identity = ++this.#identities
    this.#tell()
  }

  /** A message that no publisher of the library sent, or that it sent long ago. */
  inject(message: LogMessage): void {
    this.#store(message)
  }

  /** From here on nothing goes wrong. What was to come late comes now. */
  quiet(): void {
    this.rates = { ...NO_FAULTS }
    this.#isAway = false
    for (const held of this.#held.splice(0)) this.#storeLate(held)
    this.#tell()
  }

  // ------------------------------------------------------------------------------------------ inside

  #hits(what: keyof FaultRates, rate: number): boolean {
    const isHit = this.#draw.happens(rate)
    if (isHit) this.#count(what)
    return isHit
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }

  #checkHere(): void {
    if (this.#isAway || this.#hits('away', this.rates.away)) throw AWAY
  }

  /** The last message of an instance; nothing goes wrong here. */
  lastOf(instance: string): Entry | undefined {
    for (let i = this.#entries.length - 1; i >= 0; i--)
      if (this.#entries[i].instance === instance) return this.#entries[i]
    return undefined
  }

  #store(message: LogMessage): void {
    const { node, instance, n, bytes } = message
    this.#entries.push({ node, instance, n, bytes: bytes.slice(), seq: this.#nextSeq++ })
    this.#tell()
  }

  #storeLate({ message, follows }: Held): void {
    if (!this.isFenced || follows(this.lastOf(message.instance))) this.#store(message)
  }

  #storeHeld(): void {
    if (this.#held.length === 0) return
    const due = this.#held.filter((held) => held.calls-- <= 0)
    this.#held = this.#held.filter((held) => !due.includes(held))
    for (const held of due) this.#storeLate(held)
  }

  #tell(): void {
    const changes = [...this.#changes]
    this.#changes.clear()
    for (const change of changes) change()
  }
}

/**
 * A sink as a client of an engine has it: it knows the place of its instance's last message, and has
 * the engine refuse a message if that is another one. last() brings it up to date.
 */
export class SinkEnd {
  readonly #log: FaultLog
  /** 0: the log has none. */
  #known: { readonly instance: string; readonly seq: number } | undefined

  constructor(log: FaultLog) {
    this.#log = log
  }

  append(message: LogMessage): 'appended' | 'refused' {
    const { instance, n } = message
    if (this.#known?.instance !== instance) {
      const last = this.#log.last(instance)
      if (this.#log.isFenced && (last?.n ?? -1) !== n - 1) return 'refused'
      this.#known = { instance, seq: last?.seq ?? 0 }
    }
    const { seq } = this.#known
    const answer = this.#log.append(message, (last) => (last?.seq ?? 0) === seq)
    const last = this.#log.lastOf(instance)
    // A message that was acknowledged and dropped had a place too, where nothing is now.
    if (answer === 'appended') this.#known = { instance, seq: last?.n === n ? last.seq : -1 }
    return answer
  }

  last(instance: string): LogMessage | undefined {
    const last = this.#log.last(instance)
    this.#known = { instance, seq: last?.seq ?? 0 }
    return last
  }
}

/** One for all: a stack for each would take most of a history's time. */
const AWAY = new DirtyRingError('ERR_DIRTYRING_AWAY', 'the engine does not answer')
