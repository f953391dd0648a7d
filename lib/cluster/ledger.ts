// The rules by which a reader knows what it has missed. Nothing here reads a clock, waits or does
// input or output: the reader passes in what it reads, and the time.

import type { ByteReader, ByteWriter } from './bytes.js'
import { declarationsOf, type Envelope, ENVELOPE_LAST_PART, KIND } from './envelope.js'

/** How many messages of an instance are known by their checksum. */
const RECENT = 16
/** A message that this version cannot read costs its instance one inexact epoch in that time. */
const UNREADABLE_MS = 60_000
/** Instances that ended long ago, and that no epoch has named yet, are at most so many. */
const UNTOLD_MAX = 500

/** Of a node whose name is not known: no label of a node has this form. */
export const NAMELESS = '?'

/**
 * Says why a cluster's epoch is not exact for one node:
 *
 * - 'fresh': the reader has no position, or its position cannot be served; or the node's own
 *   consumer was fresh
 * - 'gap': messages of the node are missing, or cannot be read
 * - 'gone': the node has ended without a clean stop
 * - 'missing': the node did not answer in time when this epoch was cut
 * - 'everything', 'fault', 'unpublished', 'overflow': what the node itself said of its epoch; see
 *   {@link InexactReason}
 *
 * A node with several reasons has the first of them in this order.
 */
export type NodeReason =
  'fresh' | 'gap' | 'gone' | 'missing' | 'everything' | 'fault' | 'unpublished' | 'overflow'

const REASONS: readonly NodeReason[] = [
  'fresh',
  'gap',
  'gone',
  'missing',
  'everything',
  'fault',
  'unpublished',
  'overflow',
]

/** The first of two reasons in the order of REASONS. */
export function worse(
  a: NodeReason | undefined,
  b: NodeReason | undefined,
): NodeReason | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return REASONS.indexOf(a) <= REASONS.indexOf(b) ? a : b
}

/** What may have changed without being known: all keys, or all keys of these namespaces. */
export type Lost = 'everything' | readonly number[]

/** What one instance adds to an epoch of the reader. */
export interface News {
  readonly node: string
  /** Empty if no instance is known. */
  readonly instance: string
  /** By the node's clock: what was handed out before goes up to here. */
  readonly from: number
  /** What this epoch has goes up to here. */
  readonly to: number
  /** Those that it has declared; undefined: none, or not known. */
  readonly namespaces: readonly number[] | undefined
  readonly reason: NodeReason | undefined
  readonly tag: Uint8Array | undefined
  /** How many messages the reader had read with the tag's; -1: there is none. */
  readonly tagIndex: number
  readonly lost: Lost | undefined
}

/** What a message is to a reader. */
export type Verdict =
  /** It was read before. */
  | 'seen'
  /** The next one of its instance. */
  | 'next'
  /** Messages of its instance before it are missing, or it is another one than it should be. */
  | 'gap'

/** An instance that lives as far as the reader knows. */
export interface Living {
  readonly node: string
  readonly instance: string
  readonly namespaces: readonly number[] | undefined
  /** How long the reader has listened since the last message, in ms. */
  readonly silentMs: number
}

const LIVE = 0
const CLOSED = 1
const BURIED = 2

/** A message of an instance: its number and, if known, its checksum. */
interface Known {
  readonly n: number
  readonly crc: number | undefined
}

/** Where in the log an epoch begins whose last part has not been read. */
interface Parts {
  /** The last message before. */
  readonly before: Known
  /** When the first part was made, by the instance's clock: the epoch goes up to there. */
  readonly firstMs: number
  /** How many NAMESPACES the instance had sent. */
  readonly declared: number | undefined
  /** What the source called the place before the read that had the first part. */
  readonly position: string | undefined
  /** How many messages were read up to that place. */
  readonly index: number
}

interface Loss {
  readonly reason: NodeReason
  readonly lost: Lost
  readonly from: number
  readonly to: number
  /** When it is to be told at the latest. */
  readonly dueMs: number
}

interface Entry {
  readonly instance: string
  node: string
  state: typeof LIVE | typeof CLOSED | typeof BURIED
  /** The number of its last message; -1: none was readable. */
  n: number
  /** Its last messages, the newest one last. */
  recent: Known[]
  namespaces: readonly number[] | undefined
  /** How many NAMESPACES it has sent; undefined: not known. */
  declared: number | undefined
  /**
   * What it has published in whole epochs goes up to here, by its own clock. A beat says nothing of
   * that: keys may wait for the next cut meanwhile.
   */
  atMs: number
  /** What was handed out goes up to here, by its own clock. */
  sinceMs: number
  /** Where a loss that its last message tells of begins, by its own clock. */
  baseMs: number
  /**
   * How long the reader had listened when it heard the instance last, or when the instance ended.
   */
  heardMs: number
  /** How many messages the reader had read with its last one. */
  index: number
  parts: Parts | undefined
  loss: Loss | undefined
  reason: NodeReason | undefined
  tag: Uint8Array | undefined
  tagIndex: number
  /** It has sent something since the last hand-out. */
  isTouched: boolean
  /** When it was told last that its messages can't be read. */
  toldMs: number
}

/** Where a reader stands in a log. */
export interface Place {
  readonly log: string | undefined
  /** What the source calls the place; undefined: before the first message. */
  readonly position: string | undefined
  /** How many messages after it were read. */
  readonly skip: number
}

/** What a ledger goes by. */
export interface LedgerOptions {
  /** An instance that is silent for so long is gone. */
  readonly goneMs: number
  /** How long a loss may be kept back, drawn anew for each. */
  readonly jitterMs: () => number
}

/**
 * Keeps for each instance how far its messages were read, and what of it may have changed without
 * being known. It says for each message whether the reader has missed any. Its state is a part of
 * the reader's clock.
 */
export class Ledger {
  readonly #options: LedgerOptions
  readonly #entries = new Map<string, Entry>()
  /** News that were given back. */
  #returned = new Map<string, News>()
  /** A message that no instance can be named for. */
  #nameless: Loss | undefined
  #namelessToldMs = -Infinity
  #log: string | undefined
  #position: string | undefined
  /** How many messages were read. */
  #index = 0
  /** How many were read up to `position`. */
  #start = 0
  /** Up to this many, messages are read for the second time. */
  #replayEnd = 0
  /** How long the reader has listened: connected, and at the log's end. */
  #listenedMs = 0

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  get log(): string | undefined {
    return this.#log
  }

  /** After which place the next read begins. */
  get position(): string | undefined {
    return this.#position
  }

  /** Notes which log this is. */
  enter(log: string): void {
    this.#log = log
  }

  /** The next read begins at the log's first message. What is known of instances stays. */
  rewind(): void {
    this.#position = undefined
    this.#replayEnd = this.#index
    this.#start = this.#index
    for (const entry of this.#entries.values()) endParts(entry)
  }

  /** A message of the log follows, readable or not. */
  begin(): void {
    this.#index++
  }

  /** All messages of a read were passed in. */
  end(position: string): void {
    this.#position = position
    this.#start = this.#index
    this.#forget()
  }

  /** Judges a message, and takes note of it. */
  receive(message: Envelope, nowMs: number): Verdict {
    const { instance, n, crc, kind, flags, node } = message
    const entry = this.#entries.get(instance) ?? this.#meet(instance, node)
    const verdict = this.#judge(entry, message)
    if (verdict === 'seen') return verdict
    entry.baseMs = entry.atMs
    entry.node = node
    entry.isTouched = true
    if (kind === KIND.OPEN) {
      entry.namespaces = undefined
      entry.declared = 0
      if (verdict === 'next') entry.baseMs = entry.sinceMs = message.atMs // it has published nothing
    }
    if (verdict === 'gap') {
      const declared = declarationsOf(flags)
      if (declared === undefined || declared !== entry.declared) unknownNamespaces(entry)
      this.#lose(entry, 'gap', message.atMs, nowMs)
      endParts(entry)
    }
    const isNext = n > entry.n
    if (kind === KIND.NAMESPACES && entry.declared !== undefined) entry.declared++
    if (isNext && kind === KIND.EPOCH && (flags & ENVELOPE_LAST_PART) === 0) {
      this.#beginParts(entry, n, message.atMs)
    } else if (isNext && kind !== KIND.BEAT && kind !== KIND.NAMESPACES) {
      entry.atMs = entry.parts?.firstMs ?? message.atMs
      endParts(entry)
    }
    entry.recent = entry.recent.filter((each) => each.n !== n)
    entry.recent.push({ n, crc })
    if (entry.recent.length > RECENT) entry.recent.shift()
    if (isNext) entry.n = n
    entry.heardMs = this.#listenedMs
    entry.index = this.#index
    entry.state = kind === KIND.CLOSE && isNext ? CLOSED : LIVE
    return verdict
  }

  /** Notes what an OPEN or a NAMESPACES declares; undefined: nothing. */
  declare(instance: string, namespaces: readonly number[] | undefined): void {
    const entry = this.#entries.get(instance)!
    if (entry.namespaces === undefined && entry.n > 0) return
    entry.namespaces = namespaces === undefined ? undefined : unite(entry.namespaces, namespaces)
  }

  /** A message without keys answers a cut: up to it, by the instance's clock, it has no others. */
  hasNoKeys({ instance, atMs }: Envelope): void {
    const entry = this.#entries.get(instance)!
    if (entry.parts === undefined) entry.atMs = Math.max(entry.atMs, atMs)
  }

  /** Forgets an instance whose messages are left out. */
  leaveOut(instance: string): void {
    this.#entries.delete(instance)
  }

  /** Notes what an epoch of an instance says of itself. */
  note(instance: string, reason: NodeReason | undefined, tag: Uint8Array | undefined): void {
    const entry = this.#entries.get(instance)!
    entry.reason = worse(entry.reason, reason)
    if (tag === undefined) return
    entry.tag = tag
    entry.tagIndex = this.#index
  }

  /** The message that was received last can't be read: it may have had any keys. */
  unreadable(message: Envelope, nowMs: number): void {
    const { kind } = message
    if (kind === KIND.BEAT || kind === KIND.CLOSE) return
    const entry = this.#entries.get(message.instance)!
    if (kind !== KIND.EPOCH) unknownNamespaces(entry)
    if (kind === KIND.OPEN) return // it has no keys
    this.#lose(entry, 'gap', message.atMs, nowMs, entry.toldMs + UNREADABLE_MS)
  }

  /**
   * A message is so damaged that it does not say who sent it. `node` and `instance` are what the
   * engine says. If the engine knows, the numbers of the instance's other messages tell what is
   * missing.
   */
  damaged(node: string | undefined, instance: string | undefined, nowMs: number): void {
    if (node !== undefined && instance !== undefined) {
      if (!this.#entries.has(instance)) this.#meet(instance, node)
      return
    }
    if (this.#isReplay) return
    this.#nameless ??= namelessLoss(Math.max(nowMs, this.#namelessToldMs + UNREADABLE_MS))
  }

  /** The reader was connected, and at the log's end, for `ms`: the silence of all counts. */
  listen(ms: number): void {
    this.#listenedMs += ms
    this.#forget()
  }

  /**
   * Buries the instances that are gone, and returns them. The reader is at the log's end.
   *
   * @param wallMs - the time in ms since 1970
   * @param engine - what the engine itself says of instances
   */
  bury(nowMs: number, wallMs: number, engine?: ReadonlyMap<string, 'live' | 'gone'>): Living[] {
    const gone: Living[] = []
    for (const entry of this.#entries.values()) {
      if (entry.state !== LIVE) continue
      const says = engine?.get(entry.instance)
      const silentMs = this.#listenedMs - entry.heardMs
      if (says === 'gone' || (says !== 'live' && silentMs >= this.#options.goneMs)) {
        gone.push(this.#living(entry))
        entry.baseMs = entry.atMs
        this.#lose(entry, 'gone', Math.max(wallMs, entry.atMs), nowMs)
        endParts(entry)
        entry.state = BURIED
        entry.heardMs = this.#listenedMs
      }
    }
    return gone
  }

  /** The instances that live. */
  living(): Living[] {
    return [...this.#entries.values()]
      .filter(({ state }) => state === LIVE)
      .map((entry) => this.#living(entry))
  }

  /** Whether an instance lives, as far as is known. */
  isLive(instance: string): boolean {
    return this.#entries.get(instance)?.state === LIVE
  }

  /** The next time at which a loss that is kept back is to be told; Infinity: none is. */
  get dueMs(): number {
    let due = this.#returned.size > 0 ? -Infinity : (this.#nameless?.dueMs ?? Infinity)
    for (const { loss } of this.#entries.values())
      if (loss !== undefined) due = Math.min(due, loss.dueMs)
    return due
  }

  /** Losses up to here are covered by an epoch that is everything, or concern no key. */
  forgive(): void {
    this.#nameless = undefined
    for (const entry of this.#entries.values()) {
      entry.loss = undefined
      entry.reason = undefined
      entry.sinceMs = entry.atMs
    }
  }

  /**
   * What goes with an epoch that is handed out now: the instances that live, and all that were
   * heard or have lost something.
   *
   * @param isCut - whether losses that are kept back are told now
   * @param missing - the instances that have not answered
   * @param wallMs - the time in ms since 1970
   */
  handOut(
    nowMs: number,
    isCut: boolean,
    missing: ReadonlySet<string> = new Set(),
    wallMs = 0,
  ): News[] {
    const news = new Map<string, News>()
    for (const entry of this.#entries.values()) {
      const { instance, node, namespaces, state } = entry
      const loss = isDue(entry.loss, nowMs, isCut) ? entry.loss : undefined
      const isMissing = missing.has(instance)
      const to = entry.atMs
      if (state !== LIVE && !entry.isTouched && loss === undefined) continue
      let each: News = {
        node,
        instance,
        from: entry.sinceMs,
        to,
        namespaces,
        reason: entry.reason,
        tag: entry.tag,
        tagIndex: entry.tagIndex,
        lost: undefined,
      }
      if (loss !== undefined) each = join(each, { ...each, ...loss })
      if (isMissing) {
        const lost = namespaces ?? 'everything'
        const until = Math.max(wallMs, to)
        each = join(each, { ...each, reason: 'missing', lost, to: until })
      }
      if (loss !== undefined) {
        entry.loss = undefined
        entry.toldMs = nowMs
      }
      entry.sinceMs = to
      entry.reason = undefined
      entry.tag = undefined
      entry.tagIndex = -1
      entry.isTouched = false
      news.set(instance, each)
    }
    if (isDue(this.#nameless, nowMs, isCut)) {
      const { reason, from, to } = this.#nameless!
      news.set('', namelessNews(reason, from, to))
      this.#nameless = undefined
      this.#namelessToldMs = nowMs
    }
    for (const [instance, each] of this.#returned) {
      const now = news.get(instance)
      news.set(instance, now === undefined ? each : join(each, now))
    }
    this.#returned.clear()
    return [...news.values()]
  }

  /** Takes news back: the next hand-out has them too. */
  giveBack(news: readonly News[]): void {
    for (const each of news) {
      const later = this.#returned.get(each.instance)
      this.#returned.set(each.instance, later === undefined ? each : join(each, later))
    }
  }

  /** Where the reader stands: it reads the parts of unfinished epochs again. */
  get place(): Place {
    const log = this.#log
    const first = this.#firstParts()
    const index = first?.index ?? this.#start
    const position = first === undefined ? this.#position : first.position
    return { log, position, skip: Math.max(this.#index, this.#replayEnd) - index }
  }

  /** Writes the place, and what is known of instances: only of those that live if `isShort`. */
  write(to: ByteWriter, isShort = false): void {
    const { log, position, skip } = this.place
    to.text(log ?? '')
    to.text(position ?? '')
    to.byte(position === undefined ? 0 : 1)
    to.varint(skip)
    to.byte(this.#nameless === undefined ? 0 : 1)
    const entries = [...this.#entries.values()].filter(
      ({ state, loss }) => !isShort || state === LIVE || loss !== undefined,
    )
    to.varint(entries.length)
    for (const entry of entries) {
      const { parts } = entry
      const { n, crc } = parts?.before ?? lastOf(entry)
      const declared = parts === undefined ? entry.declared : parts.declared
      to.instance(entry.instance)
      to.text(entry.node)
      to.byte(entry.state | (crc === undefined ? 0 : 4))
      to.varint(n + 1)
      if (crc !== undefined) to.word(crc)
      to.list(entry.namespaces)
      to.varint(declared === undefined ? 0 : declared + 1)
      to.float(entry.atMs)
      writeLoss(to, entry.loss)
    }
  }

  /** What write() wrote. The losses in it are due at once. */
  static read(from: ByteReader, options: LedgerOptions): Ledger {
    const ledger = new Ledger(options)
    const log = from.text()
    const position = from.text()
    ledger.#log = log === '' ? undefined : log
    ledger.#position = from.byte() === 0 ? undefined : position
    ledger.#replayEnd = from.varint()
    if (from.byte() !== 0) ledger.#nameless = namelessLoss(-Infinity)
    for (let count = from.varint(); count > 0; count--) {
      const instance = from.instance()
      const entry = ledger.#meet(instance, from.text())
      const head = from.byte()
      entry.state = (head & 3) as Entry['state']
      entry.n = from.varint() - 1
      if ((head & 4) !== 0) entry.recent.push({ n: entry.n, crc: from.word() })
      entry.namespaces = from.list()
      const declared = from.varint()
      entry.declared = declared === 0 ? undefined : declared - 1
      entry.atMs = from.float()
      entry.sinceMs = entry.atMs
      entry.loss = readLoss(from)
    }
    return ledger
  }

  /** Whether the message that began last was read before, in another life. */
  get #isReplay(): boolean {
    return this.#index <= this.#replayEnd
  }

  #judge(entry: Entry, { n, crc, kind }: Envelope): Verdict {
    if (n <= entry.n) {
      const known = entry.recent.find((each) => each.n === n)
      return known?.crc === crc || this.#isReplay ? 'seen' : 'gap'
    }
    const isNext = n === entry.n + 1 && entry.state !== BURIED
    return isNext && (n === 0) === (kind === KIND.OPEN) ? 'next' : 'gap'
  }

  #meet(instance: string, node: string): Entry {
    const entry: Entry = {
      instance,
      node,
      state: LIVE,
      n: -1,
      recent: [],
      namespaces: undefined,
      declared: undefined,
      atMs: 0,
      sinceMs: 0,
      baseMs: 0,
      heardMs: this.#listenedMs,
      index: this.#index,
      parts: undefined,
      loss: undefined,
      reason: undefined,
      tag: undefined,
      tagIndex: -1,
      isTouched: false,
      toldMs: -Infinity,
    }
    this.#entries.set(instance, entry)
    return entry
  }

  #beginParts(entry: Entry, n: number, atMs: number): void {
    const before = lastOf(entry)
    entry.parts ??= {
      before: before.n === n - 1 ? before : { n: n - 1, crc: undefined },
      firstMs: atMs,
      declared: entry.declared,
      position: this.#position,
      index: this.#start,
    }
  }

  /** Of the unfinished epochs, the one that began first. */
  #firstParts(): Parts | undefined {
    let first: Parts | undefined
    for (const { parts } of this.#entries.values())
      if (parts !== undefined && parts.index < (first?.index ?? Infinity)) first = parts
    return first
  }

  #lose(
    entry: Entry,
    reason: NodeReason,
    to: number,
    nowMs: number,
    notBeforeMs = -Infinity,
  ): void {
    const dueMs = Math.max(nowMs + this.#options.jitterMs(), notBeforeMs)
    const lost = entry.namespaces ?? 'everything'
    const { loss, baseMs } = entry
    entry.loss = {
      reason: worse(loss?.reason, reason)!,
      lost: loss === undefined ? lost : joinLost(loss.lost, lost)!,
      from: Math.min(loss?.from ?? baseMs, baseMs),
      to: Math.max(loss?.to ?? to, to),
      dueMs: Math.min(loss?.dueMs ?? dueMs, dueMs),
    }
  }

  #living({ node, instance, namespaces, heardMs }: Entry): Living {
    return { node, instance, namespaces, silentMs: this.#listenedMs - heardMs }
  }

  /** Forgets instances that ended long ago, unless a restarted reader would read them again. */
  #forget(): void {
    const first = this.#firstParts()?.index ?? this.#start
    const untold: Entry[] = []
    for (const entry of this.#entries.values()) {
      const { state, heardMs, index, loss, isTouched } = entry
      const isOver = state !== LIVE && this.#listenedMs - heardMs >= this.#options.goneMs
      if (!isOver || index > first) continue
      if (loss === undefined && !isTouched) this.#entries.delete(entry.instance)
      else untold.push(entry)
    }
    // No caller has asked for an epoch for long: the first of them stay without a name.
    for (const entry of untold.slice(0, -UNTOLD_MAX)) {
      this.#loseName(entry)
      this.#entries.delete(entry.instance)
    }
  }

  /** What was to be told of an instance is told without its name: everything is lost. */
  #loseName({ loss, reason, tag, sinceMs, atMs }: Entry): void {
    if (loss === undefined && reason === undefined && tag === undefined) return
    const news = { reason: reason ?? loss?.reason ?? 'gap', from: sinceMs, to: atMs }
    const all = [news, ...[loss, this.#nameless].filter((each) => each !== undefined)]
    this.#nameless = {
      reason: all.map((each) => each.reason).reduce((a, b) => worse(a, b)!),
      lost: 'everything',
      from: Math.min(...all.map(({ from }) => from)),
      to: Math.max(...all.map(({ to }) => to)),
      dueMs: Math.min(loss?.dueMs ?? -Infinity, this.#nameless?.dueMs ?? Infinity),
    }
  }
}

function lastOf({ n, recent }: Entry): Known {
  return recent.find((each) => each.n === n) ?? { n, crc: undefined }
}

function endParts(entry: Entry): void {
  entry.parts = undefined
}

/** A declaration of the instance may be missing: it does not get known any more. */
function unknownNamespaces(entry: Entry): void {
  entry.namespaces = undefined
  entry.declared = undefined
}

function namelessLoss(dueMs: number): Loss {
  return { reason: 'gap', lost: 'everything', from: 0, to: 0, dueMs }
}

function isDue(loss: Loss | undefined, nowMs: number, isCut: boolean): boolean {
  return loss !== undefined && (isCut || loss.dueMs <= nowMs)
}

/** News of a node that can't be named: all keys may have changed. */
export function namelessNews(reason: NodeReason, from: number, to: number): News {
  return {
    node: NAMELESS,
    instance: '',
    from,
    to,
    namespaces: undefined,
    reason,
    tag: undefined,
    tagIndex: -1,
    lost: 'everything',
  }
}

/** Both news of an instance; `later` is the newer one. */
function join(news: News, later: News): News {
  return {
    node: later.node,
    instance: later.instance,
    from: Math.min(news.from, later.from),
    to: Math.max(news.to, later.to),
    namespaces: later.namespaces,
    reason: worse(news.reason, later.reason),
    tag: later.tag ?? news.tag,
    tagIndex: Math.max(news.tagIndex, later.tagIndex),
    lost: joinLost(news.lost, later.lost),
  }
}

function joinLost(a: Lost | undefined, b: Lost | undefined): Lost | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return a === 'everything' || b === 'everything' ? 'everything' : unite(a, b)
}

function unite(a: readonly number[] | undefined, b: readonly number[]): number[] {
  return [...new Set([...(a ?? []), ...b])].sort((one, other) => one - other)
}

function writeLoss(to: ByteWriter, loss: Loss | undefined): void {
  to.byte(loss === undefined ? 0 : REASONS.indexOf(loss.reason) + 1)
  if (loss === undefined) return
  to.list(loss.lost === 'everything' ? undefined : loss.lost)
  to.float(loss.from)
  to.float(loss.to)
}

function readLoss(from: ByteReader): Loss | undefined {
  const reason = from.byte()
  if (reason === 0) return undefined
  const lost = from.list() ?? 'everything'
  const [fromMs, to] = [from.float(), from.float()]
  return { reason: REASONS[reason - 1], lost, from: fromMs, to, dueMs: -Infinity }
}
