import { backoffMs } from '../backoff.js'
import {
  BODY_FORMAT,
  DECLARED_MAX,
  encodeBeatBody,
  encodeEpochBody,
  encodeNamespacesBody,
  isRequest,
  REQUESTS_MAX,
} from './body.js'
import {
  declarationFlags,
  ENVELOPE_LAST_PART,
  KIND,
  type MessageKind,
  sealEnvelope,
} from './envelope.js'
import type { LogMessage } from './log.js'

/** What the publisher does next. It answers by the method that is named. */
export type Step =
  /** Appends the message: appended(), refused(), away() or tooLarge(). */
  | { readonly do: 'append'; readonly message: LogMessage }
  /** Asks for the last message of the instance: found() or away(). */
  | { readonly do: 'last'; readonly instance: string }
  /** Cuts: sealed() or cutFailed(). `isAsked`: a caller waits for it. */
  | { readonly do: 'cut'; readonly isAsked: boolean }
  /** Commits the epoch, all of which is in the log. */
  | { readonly do: 'commit' }
  /** Sleeps, for `ms` at most: until something is asked for. */
  | { readonly do: 'wait'; readonly ms: number }
  /** Nothing more: CLOSE is in the log. */
  | { readonly do: 'end' }

/** A publisher's place in the log, from which another process goes on. */
export interface Resumable {
  readonly node: string
  readonly instance: string
  /** The number of the next message. */
  readonly n: number
  /** The message with that number, if it may be in the log. */
  readonly flight: Uint8Array | undefined
  /** Whether that is the instance's last message. */
  readonly isClosing: boolean
  /** With those that the log does not have yet: the next process declares all of them again. */
  readonly namespaces: readonly number[] | undefined
  /** How many NAMESPACES the instance has sent. */
  readonly declarations: number
}

export interface PublicationOptions {
  readonly node: string
  readonly everyMs: number
  readonly beatMs: number
  /** Declared namespaces; undefined: none are declared. */
  readonly namespaces?: readonly number[] | undefined
  readonly resume?: Resumable | undefined
  /** Draws an instance. */
  readonly draw: () => string
  /** Milliseconds since 1970. */
  readonly wallMs: () => number
  /** Told when the log has lost messages of this instance, and when another one has its numbers. */
  readonly onTrouble?: (trouble: 'lost' | 'taken') => void
}

/** A message without its number. */
interface Draft {
  readonly kind: MessageKind
  readonly flags: number
  readonly body: Uint8Array
}

/** Messages that stand together: those of an epoch, or a single one. */
interface Unit {
  readonly what: 'open' | 'epoch' | 'answer' | 'beat' | 'namespaces' | 'close'
  drafts: readonly Draft[]
  /** How many of them are in the log. */
  done: number
}

/** A message that may be in the log. From here on its number stands for these bytes. */
interface Flight {
  readonly message: LogMessage
  /** An answer was missing, so the log may have it. */
  isAmbiguous: boolean
}

/** Cuts that readers ask for are at least so far apart. */
const ASKED_MS = 50
/** Refusals in a row that the last message does not explain, until another instance takes over. */
const REFUSALS_MAX = 3
/** Requests that are remembered, so that a repeated one is answered once. */
const ANSWERED_MAX = 256
const PENDING_MAX = 1024
/** Where an envelope has its kind. */
const KIND_AT = 4
const NO_BODY = new Uint8Array(0)

/**
 * What one publisher appends, and when: its numbers, what an answer of the engine means, and which
 * cut answers which request. It has no clock and does no I/O: next() says what to do now, and the
 * other methods say what came of it. So seeded histories run it as it is.
 */
export class Publication {
  readonly #options: PublicationOptions
  #node: string
  #instance: string | undefined
  /** The number of the next message. */
  #n = 0
  #isOpen = false
  /** The message under way is the last one of an instance that is resumed: another one begins. */
  #isReplaced = false
  /** The number behind the next one is left out. */
  #leavesGap = false
  #unit: Unit | undefined
  #flight: Flight | undefined
  /** The engine has refused the message under way: its last message of this instance says why. */
  #isAsking = false
  #refusals = 0
  #failures = 0
  #retryAtMs = -Infinity

  /** Namespaces that are declared, with those whose message is still to come. */
  #namespaces: readonly number[] | undefined
  readonly #toDeclare: number[] = []
  /** NAMESPACES of this instance that the log has. */
  #declarations = 0
  #declared = 0
  #declaring = 0
  #underWay = 0

  #nextCutMs: number
  #lastCutMs = -Infinity
  #appendedMs = -Infinity
  #cutFailures = 0
  #cutsBegun = 0
  #cutsDone = 0
  /** The cut that a caller waits for. */
  #wanted = 0
  /** The cut that is the last one. */
  #lastCut = Infinity
  #mustCommit = false
  #isEnded = false

  /** Requests for the next cut, for the cut under way, and those that the log has the answer of. */
  #pending: string[] = []
  #serving: string[] = []
  readonly #answered = new Set<string>()

  constructor(options: PublicationOptions, nowMs: number) {
    this.#options = options
    this.#node = options.node
    this.#namespaces = options.namespaces
    this.#nextCutMs = nowMs + options.everyMs
    const { resume } = options
    if (resume !== undefined) this.#resume(resume)
  }

  /** Who publishes; undefined before the first message. */
  get instance(): string | undefined {
    return this.#instance
  }

  get node(): string {
    return this.#node
  }

  /** Whether the log has the first message of this publisher. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  // ------------------------------------------------------------------------------ what is asked for

  /** Asks for a cut that begins after this. It is done when isDone() says so. */
  ask(): number {
    return (this.#wanted = this.#cutsBegun + 1)
  }

  isDone(cut: number): boolean {
    return this.#cutsDone >= cut
  }

  /** A reader asks for a cut. */
  request(id: string): void {
    if (!isRequest(id) || this.#answered.has(id)) return
    if (this.#pending.includes(id) || this.#serving.includes(id)) return
    if (this.#pending.length < PENDING_MAX) this.#pending.push(id)
  }

  /** The declared namespaces and these. Empty if none are declared, because any may be marked. */
  declaredWith(namespaces: readonly number[]): ReadonlySet<number> {
    return new Set(this.#namespaces && [...this.#namespaces, ...namespaces])
  }

  /** Declares more namespaces. Returns what isDeclared() takes. */
  addNamespaces(namespaces: readonly number[]): number {
    if (this.#namespaces === undefined) return 0 // all are
    this.#namespaces = [...this.declaredWith(namespaces)]
    this.#toDeclare.push(...namespaces)
    return ++this.#declaring
  }

  isDeclared(ticket: number): boolean {
    return this.#declared >= ticket
  }

  /**
   * One more cut, then CLOSE.
   *
   * @param isCutting - the cut that has begun is the last one
   */
  close(isCutting = false): void {
    this.#lastCut = Math.min(this.#lastCut, this.#cutsBegun + (isCutting ? 0 : 1))
  }

  /**
   * An epoch from before stop() is cut again, and the last epoch comes behind it. It answers no
   * request, because the keys in hand are older than the requests are. Readers ask again.
   */
  postponeLast(): void {
    this.#lastCut = Math.max(this.#lastCut, this.#cutsBegun + 2)
    this.#pending = []
  }

  /** For another process, after the last step of this one. */
  get resumable(): Resumable | undefined {
    const instance = this.#instance
    if (instance === undefined || this.#isEnded) return undefined
    return {
      node: this.#node,
      instance,
      n: this.#n,
      flight: this.#flight?.message.bytes,
      isClosing: this.#flight?.message.bytes[KIND_AT] === KIND.CLOSE,
      namespaces: this.#namespaces,
      declarations: this.#declarations,
    }
  }

  // ------------------------------------------------------------------------------- what to do next

  next(nowMs: number): Step {
    if (this.#isEnded) return { do: 'end' }
    if (nowMs < this.#retryAtMs) return { do: 'wait', ms: this.#retryAtMs - nowMs }
    if (this.#isAsking) return { do: 'last', instance: this.#instance! }
    if (this.#unit !== undefined) return { do: 'append', message: this.#takeOff() }
    if (this.#mustCommit) {
      this.#mustCommit = false
      this.#finishCut()
      return { do: 'commit' }
    }
    if (!this.#isOpen) return this.#begin('open', [this.#openDraft()])
    if (this.#toDeclare.length > 0) {
      const body = encodeNamespacesBody(this.#toDeclare.splice(0))
      this.#underWay = this.#declaring
      return this.#begin('namespaces', [draft(KIND.NAMESPACES, body)])
    }
    if (this.#cutsDone >= this.#lastCut) return this.#begin('close', [draft(KIND.CLOSE, NO_BODY)])
    const cutAtMs = this.#dueMs()
    if (nowMs >= cutAtMs) {
      this.#cutsBegun++
      this.#lastCutMs = nowMs
      this.#nextCutMs = nowMs + this.#options.everyMs
      this.#serving = this.#pending
      this.#pending = []
      return { do: 'cut', isAsked: this.#isCutAsked }
    }
    const beatAtMs = this.#appendedMs + this.#options.beatMs
    if (nowMs >= beatAtMs) return this.#begin('beat', [draft(KIND.BEAT, encodeBeatBody([]))])
    return { do: 'wait', ms: Math.min(cutAtMs, beatAtMs) - nowMs }
  }

  /** Whether a caller waits for the cut that has begun: the caller of close() does. */
  get #isCutAsked(): boolean {
    if (this.#serving.length > 0 || this.#wanted >= this.#cutsBegun) return true
    return this.#cutsBegun >= this.#lastCut
  }

  #dueMs(): number {
    if (this.#cutFailures > 0) return this.#nextCutMs
    if (this.#cutsBegun < this.#lastCut && this.#lastCut < Infinity) return -Infinity
    const isAsked = this.#pending.length > 0 || this.#wanted > this.#cutsBegun
    return isAsked ? Math.min(this.#nextCutMs, this.#lastCutMs + ASKED_MS) : this.#nextCutMs
  }

  #begin(what: Unit['what'], drafts: readonly Draft[]): Step {
    this.#unit = { what, drafts, done: 0 }
    return { do: 'append', message: this.#takeOff() }
  }

  /** The message under way: it gets its number here, and keeps it. */
  #takeOff(): LogMessage {
    if (this.#flight !== undefined) return this.#flight.message
    this.#instance ??= this.#options.draw()
    const { kind, body, ...each } = this.#unit!.drafts[this.#unit!.done]
    const [node, instance, n] = [this.#node, this.#instance, this.#n]
    const atMs = this.#options.wallMs()
    const flags = each.flags | declarationFlags(this.#declarations)
    const bytes = sealEnvelope({ kind, format: BODY_FORMAT, flags, node, instance, n, atMs, body })
    this.#flight = { message: { node, instance, n, bytes }, isAmbiguous: false }
    return this.#flight.message
  }

  #openDraft(): Draft {
    return draft(KIND.OPEN, encodeNamespacesBody(this.#namespaces))
  }

  // ------------------------------------------------------------------------------- what came of it

  /** The log has the message. */
  appended(nowMs: number): void {
    this.#failures = 0
    this.#refusals = 0
    this.#isAsking = false
    if (this.#flight!.message.bytes[KIND_AT] === KIND.NAMESPACES) this.#declarations++
    this.#flight = undefined
    this.#n += this.#leavesGap ? 2 : 1
    this.#leavesGap = false
    this.#appendedMs = nowMs
    const unit = this.#unit!
    if (++unit.done < unit.drafts.length) return
    this.#unit = undefined
    this.#finish(unit.what)
  }

  #finish(what: Unit['what']): void {
    if (what === 'open') this.#finishOpen()
    else if (what === 'namespaces') this.#declared = this.#underWay
    else if (what === 'epoch') this.#mustCommit = true
    else if (what === 'answer') this.#finishCut()
    else if (what === 'close') this.#isEnded = true
  }

  #finishOpen(): void {
    this.#isOpen = !this.#isReplaced
    if (!this.#isReplaced) return
    this.#isReplaced = false
    this.#forgetInstance()
  }

  /** The log may have it or not: the same bytes again, after a while. */
  away(nowMs: number): void {
    this.#failures++
    this.#retryAtMs = nowMs + backoffMs(this.#failures)
    if (this.#flight !== undefined && !this.#isAsking) this.#flight.isAmbiguous = true
  }

  /** The engine says that the instance's last message is another one than this one follows. */
  refused(): void {
    this.#failures = 0
    this.#isAsking = true
  }

  /**
   * What the engine has as the instance's last message. Ours: it is in the log. An earlier one: the
   * log has lost its tail, and the same bytes go behind it, because their number is taken for good;
   * readers that miss the tail see the gap. Any other: another process has this instance's numbers.
   */
  found(last: LogMessage | undefined, nowMs: number): void {
    this.#failures = 0
    this.#isAsking = false
    const { n, bytes } = this.#flight!.message
    if (last?.n === n && isSame(last.bytes, bytes)) {
      this.appended(nowMs)
      return
    }
    const isBefore = (last?.n ?? -1) < n
    if (isBefore && ++this.#refusals < REFUSALS_MAX) {
      if ((last?.n ?? -1) < n - 1) this.#options.onTrouble?.('lost')
      return
    }
    this.#options.onTrouble?.('taken')
    this.#takeAnotherInstance()
  }

  #forgetInstance(): void {
    this.#instance = undefined
    this.#n = 0
    this.#declarations = 0
  }

  /**
   * Says all that is not settled again, under numbers that no other instance has. What was settled
   * may have been lost with the log's tail before the other process took its number. So number 1 is
   * left out: a reader that meets this instance finds a gap.
   */
  #takeAnotherInstance(): void {
    const unit = this.#unit!
    this.#leavesGap = this.#n > 0
    this.#forgetInstance()
    this.#flight = undefined
    this.#isReplaced = false
    this.#refusals = 0
    const rest = unit.what === 'open' ? [] : unit.drafts
    unit.drafts = [this.#openDraft(), ...rest]
    unit.done = 0
  }

  /**
   * The engine takes no message of this size. Returns whether a cut is under way, whose epoch can
   * then be given back and cut again, into smaller parts.
   */
  tooLarge(nowMs: number): boolean {
    const { what } = this.#unit!
    if (what !== 'epoch') return false
    // A number that may be in the log stands for what it stands for. A gap is safe.
    if (this.#flight!.isAmbiguous) this.#n++
    this.#flight = undefined
    this.#unit = undefined
    this.cutFailed(nowMs)
    this.#cutFailures = 0
    this.#nextCutMs = nowMs
    return true
  }

  /**
   * The cut is made.
   *
   * @param messages - what the epoch's keys are as key messages; none: the epoch is exact and empty
   * @param tag - what the node says beside it
   */
  sealed(messages: readonly Uint8Array[], tag: Uint8Array = NO_BODY): void {
    this.#cutFailures = 0
    const requests = this.#serving
    const drafts: Draft[] = messages.map((keys, i) => {
      const isLast = i === messages.length - 1
      const own = isLast ? requests.slice(0, REQUESTS_MAX) : []
      const flags = isLast ? ENVELOPE_LAST_PART : 0
      return { kind: KIND.EPOCH, flags, body: encodeEpochBody({ requests: own, tag, keys }) }
    })
    const from = messages.length > 0 ? REQUESTS_MAX : 0
    for (let i = from; i < requests.length; i += REQUESTS_MAX)
      drafts.push(draft(KIND.BEAT, encodeBeatBody(requests.slice(i, i + REQUESTS_MAX))))
    if (drafts.length === 0) this.#finishCut()
    else this.#unit = { what: messages.length > 0 ? 'epoch' : 'answer', drafts, done: 0 }
  }

  /** There is no epoch now. Callers that wait for the cut wait for the next one. */
  cutFailed(nowMs: number): void {
    this.#cutFailures++
    this.#nextCutMs = nowMs + backoffMs(this.#cutFailures)
    this.#pending = [...this.#serving, ...this.#pending]
    this.#serving = []
    this.#wanted = Math.max(this.#wanted, this.#cutsDone < this.#wanted ? this.#cutsBegun + 1 : 0)
    if (this.#lastCut === this.#cutsBegun) this.#lastCut++
  }

  #finishCut(): void {
    this.#cutsDone = this.#cutsBegun
    for (const id of this.#serving) this.#answered.add(id)
    this.#serving = []
    for (const id of this.#answered) {
      if (this.#answered.size <= ANSWERED_MAX) break
      this.#answered.delete(id)
    }
  }

  /** Goes on where another process stopped. */
  #resume({ node, instance, n, flight, isClosing, ...declared }: Resumable): void {
    this.#node = node
    this.#instance = instance
    this.#n = n
    this.#declarations = declared.declarations
    this.#namespaces = unitedOf(declared.namespaces, this.#options.namespaces)
    // Whatever comes first says that the instance goes on. Behind a CLOSE another one begins. Some
    // namespaces may be new, or were saved before the log had them, so that all are declared again.
    const isDeclaring = declared.namespaces !== undefined
    const again = isDeclaring
      ? draft(KIND.NAMESPACES, encodeNamespacesBody(this.#namespaces))
      : draft(KIND.BEAT, encodeBeatBody([]))
    const isBehind = flight !== undefined && isDeclaring && !isClosing
    const drafts = isBehind ? [again, again] : [again] // the flight stands for the first
    this.#unit = { what: 'open', drafts, done: 0 }
    this.#isReplaced = isClosing
    if (flight === undefined) return
    // The OPEN may be that of another instance, after which a number is left out.
    this.#leavesGap = flight[KIND_AT] === KIND.OPEN
    this.#flight = { message: { node, instance, n, bytes: flight }, isAmbiguous: true }
  }
}

function draft(kind: MessageKind, body: Uint8Array): Draft {
  return { kind, flags: 0, body }
}

/**
 * What a resumed instance declares: what it had declared before, and what it is told now. Undefined
 * if one of them is, or if they are too many: then a key may have any namespace.
 */
function unitedOf(
  before: readonly number[] | undefined,
  now: readonly number[] | undefined,
): readonly number[] | undefined {
  if (before === undefined || now === undefined) return undefined
  const united = new Set([...before, ...now])
  return united.size > DECLARED_MAX ? undefined : [...united]
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i])
}
