import { messageOf } from '../errors.js'
import type { KeyKind } from '../memory/settings.js'
import { BODY_FORMAT, decodeBeatBody, decodeEpochBody, decodeNamespacesBody } from './body.js'
import { badMessage, decodeKeys, type KeyMessage } from './decode.js'
import { type Envelope, ENVELOPE_LAST_PART, KIND, openEnvelope } from './envelope.js'
import type { Ledger } from './ledger.js'
import type { LogRead } from './log.js'
import { type EpochLimits, KeyUnion, type UnionKeys } from './union.js'

/** A warning of one kind and one instance comes once in that time. */
const WARNING_MS = 60_000
/** Kinds of warnings that are remembered at most. */
const WARNINGS_MAX = 1000

/** Something that is wrong, of which a reader tells. */
export interface Trouble {
  readonly message: string
  readonly node: string | undefined
  readonly instance: string | undefined
  readonly error: unknown
}

export interface IntakeOptions {
  readonly limits: EpochLimits
  readonly keys: KeyKind
  /** Whether an instance's messages are left out. */
  readonly isExcepted: (instance: string) => boolean
  /** An instance has answered a request for a cut. */
  readonly onAnswer: (request: string, instance: string) => void
  readonly onTrouble: (trouble: Trouble) => void
}

/** Unites what messages have, and keeps the parts of unfinished epochs apart. */
export class Intake {
  /**
   * Keys are left out: only what instances there are counts. Parts of unfinished epochs are kept.
   */
  isSkimming = false
  /** Messages with keys since takeKeys(). */
  epochs = 0
  readonly #options: IntakeOptions
  readonly #ledger: Ledger
  #keys: KeyUnion
  readonly #parts = new Map<string, KeyUnion>()
  readonly #warnedAt = new Map<string, number>()

  constructor(ledger: Ledger, options: IntakeOptions) {
    this.#ledger = ledger
    this.#options = options
    this.#keys = this.#newUnion()
  }

  /** The keys of whole epochs. */
  get keys(): UnionKeys {
    return this.#keys
  }

  /** Passes in what a read found. */
  take({ messages, position }: LogRead, nowMs: number): void {
    for (const { node, instance, bytes } of messages) {
      this.#ledger.begin()
      const envelope = openEnvelope(bytes)
      if (envelope !== undefined) this.#take(envelope, node, instance, nowMs)
      else this.#damaged(node, instance, nowMs)
    }
    this.#ledger.end(position)
  }

  /** Takes the keys of whole epochs out: they are the caller's. */
  takeKeys(): KeyUnion {
    const keys = this.#keys
    this.#keys = this.#newUnion()
    this.epochs = 0
    return keys
  }

  /** Takes keys back. */
  giveBack(keys: KeyUnion, epochs: number): void {
    if (this.#keys.isEmpty && this.#keys.reason === undefined) this.#keys = keys
    else this.#keys.absorb(keys)
    this.epochs += epochs
  }

  /** Ends the unfinished epoch of an instance: the parts that came are united as they are. */
  release(instance: string): void {
    const parts = this.#parts.get(instance)
    if (parts === undefined) return
    if (!this.isSkimming) this.#keys.absorb(parts)
    this.#parts.delete(instance)
  }

  /** Ends all unfinished epochs. */
  releaseAll(): void {
    for (const instance of [...this.#parts.keys()]) this.release(instance)
  }

  /** Tells of something once a minute for each `about`. */
  warn(about: string, nowMs: number, trouble: Trouble): void {
    const lastMs = this.#warnedAt.get(about)
    if (lastMs !== undefined && nowMs - lastMs < WARNING_MS) return
    if (this.#warnedAt.size >= WARNINGS_MAX) this.#warnedAt.clear()
    this.#warnedAt.set(about, nowMs)
    this.#options.onTrouble(trouble)
  }

  #take(
    envelope: Envelope,
    node: string | undefined,
    instance: string | undefined,
    nowMs: number,
  ): void {
    const differs =
      (node !== undefined && node !== envelope.node) ||
      (instance !== undefined && instance !== envelope.instance)
    if (differs) {
      this.warn(`other ${instance ?? node}`, nowMs, {
        message:
          `a message says that it is from ${envelope.node}, instance ${envelope.instance}, and ` +
          `the engine says ${node ?? 'nothing'}, instance ${instance ?? 'unknown'}: it is dropped`,
        node,
        instance,
        error: undefined,
      })
      return
    }
    if (this.#options.isExcepted(envelope.instance)) return
    const verdict = this.#ledger.receive(envelope, nowMs)
    if (verdict === 'seen') return
    if (verdict === 'gap') this.release(envelope.instance)
    try {
      this.#read(envelope)
    } catch (error) {
      this.#ledger.unreadable(envelope, nowMs)
      this.warn(`unreadable ${envelope.instance}`, nowMs, {
        message:
          `messages of ${envelope.node} can't be read: ${messageOf(error)}. All keys that ` +
          'it may have marked count as dirty, once a minute',
        node: envelope.node,
        instance: envelope.instance,
        error,
      })
    }
    // An epoch ends with its last part, readable or not.
    const { kind, flags } = envelope
    const isLast = kind === KIND.EPOCH && (flags & ENVELOPE_LAST_PART) !== 0
    if (isLast || kind === KIND.CLOSE) this.release(envelope.instance)
  }

  #read(envelope: Envelope): void {
    const { kind, format, flags, instance, body } = envelope
    if (format !== BODY_FORMAT)
      throw badMessage(`their format is ${format}, and this version reads ${BODY_FORMAT}`)
    switch (kind) {
      case KIND.OPEN:
      case KIND.NAMESPACES:
        this.#ledger.declare(instance, decodeNamespacesBody(body))
        return
      case KIND.EPOCH:
        this.#readEpoch(instance, body, (flags & ENVELOPE_LAST_PART) !== 0)
        return
      case KIND.BEAT: {
        const requests = decodeBeatBody(body)
        if (requests.length > 0) this.#ledger.hasNoKeys(envelope)
        for (const request of requests) this.#options.onAnswer(request, instance)
        return
      }
      case KIND.CLOSE:
        return
      default:
        throw badMessage(`their kind is ${kind}, which this version does not know`)
    }
  }

  #readEpoch(instance: string, body: Uint8Array, isLast: boolean): void {
    const { requests, tag, keys } = decodeEpochBody(body)
    const isWhole = isLast && !this.#parts.has(instance)
    if (!this.isSkimming || !isWhole) {
      const message = decodeKeys(keys)
      checkKind(message, this.#options.keys)
      const ownTag = tag.length === 0 ? undefined : tag.slice()
      this.#ledger.note(instance, message.reason, ownTag)
      this.#unionFor(instance, isWhole).add(message)
      this.epochs++
    }
    for (const request of requests) this.#options.onAnswer(request, instance)
  }

  #unionFor(instance: string, isWhole: boolean): KeyUnion {
    if (isWhole) return this.#keys
    let parts = this.#parts.get(instance)
    if (parts === undefined) this.#parts.set(instance, (parts = this.#newUnion()))
    return parts
  }

  #damaged(node: string | undefined, instance: string | undefined, nowMs: number): void {
    if (instance !== undefined && this.#options.isExcepted(instance)) return
    this.#ledger.damaged(node, instance, nowMs)
    this.warn(`damaged ${instance}`, nowMs, {
      message:
        instance === undefined
          ? 'a message in the log is damaged, or not from this library: all keys count as dirty'
          : `a message of ${node}, instance ${instance}, is damaged: it counts as missing`,
      node,
      instance,
      error: undefined,
    })
  }

  #newUnion(): KeyUnion {
    return new KeyUnion(this.#options.limits)
  }
}

/** Refuses keys of another kind than the reader's caller expects. */
function checkKind(message: KeyMessage, kind: KeyKind): void {
  if (kind === 'any') return
  const { pairs, strings, byteKeys, isBigint, hasPrints } = message
  const has = {
    number: pairs.length > 0 && !hasPrints && !isBigint,
    bigint: pairs.length > 0 && isBigint,
    string: strings.length > 0,
    bytes: byteKeys.length > 0,
  }
  for (const each of ['number', 'bigint', 'string', 'bytes'] as const)
    if (has[each] && each !== kind)
      throw badMessage(`they have keys of the kind '${each}', and this reader has '${kind}'`)
}
