import { isInstance, isLabel } from '../cluster/envelope.js'
import { DirtyRingError, isDirtyRingError, messageOf } from '../errors.js'
import { isBytes, pack, unpack } from './bytes.js'
import type { Hub } from './hub.js'
import { MESSAGE_BYTES_MAX, READ_BYTES_CHILD } from './settings.js'
import { type Channel, sendTo, type Tagged, tap } from './tap.js'

/** Waiting longer than that makes no sense for a read: the child would have given up. */
const WAIT_MS_MAX = 60_000
/** A child with more open sinks and sources than that is broken. */
const ENDS_MAX = 4096
/** A child that does not turn gets no more requests for cuts than that: they would pile up. */
const UNHEARD_MAX = 256
/** The longest name of a request for a cut. */
const REQUEST_MAX = 256

/** What a read that the child gave up rejects with. */
const GIVEN_UP = new DirtyRingError('ERR_DIRTYRING_CLOSED', 'the read was given up')

/** A sink or a source in a child, as the hub sees it. */
interface End {
  readonly id: string
  readonly owner: { isThere: boolean; readonly of: symbol }
  readonly carriesBytes: boolean
  readonly isSink: boolean
  /** The last call that came. */
  seen: number
  /** Up to which change the child knows the instances. */
  change: number
  /** Ends the read that waits. */
  reading: { readonly call: number; readonly over: AbortController } | undefined
}

/**
 * A process that the hub serves. What it sends comes from code that is not trusted to be right:
 * each part is checked, and what is wrong is answered with an error and told as a warning.
 *
 * It owns the instances that its sinks publish as, so that no other child writes under them.
 */
export class Child {
  /** What the instances keep of it: they outlive the process. */
  readonly identity = Symbol('process')
  readonly #channel: Channel
  readonly #hub: Hub
  readonly #ends = new Map<string, End>()
  readonly #untap: () => void
  /** Requests for cuts that were sent since the child was heard last. */
  #unheard = 0

  constructor(channel: Channel, hub: Hub, onGone: () => void) {
    this.#channel = channel
    this.#hub = hub
    this.#untap = tap(
      channel,
      hub.name,
      (message) => this.#take(message),
      () => {
        this.#end()
        onGone()
      },
    )
  }

  /** Asks the publishers in this child for a cut. */
  cut(request: string): void {
    if (this.#unheard >= UNHEARD_MAX) return
    this.#unheard++
    for (const { id, isSink } of this.#ends.values())
      if (isSink) this.#send(id, { op: 'cut', request })
  }

  close(): void {
    for (const { id } of this.#ends.values()) this.#send(id, { op: 'bye' })
    this.#end()
  }

  #end(): void {
    this.#untap()
    for (const { reading, owner } of this.#ends.values()) {
      owner.isThere = false
      reading?.over.abort(GIVEN_UP)
    }
    this.#ends.clear()
  }

  #take(message: Tagged): void {
    this.#unheard = 0
    const { end: id, op, call } = message
    if (typeof id !== 'string' || id.length > 64) {
      this.#warn('a message that names no sink and no source')
      return
    }
    if (op === 'hello') {
      this.#welcome(id, message)
      return
    }
    const end = this.#ends.get(id)
    // A hub that was made after the greeting: it is greeted again.
    if (end === undefined) return
    if (op === 'bye') {
      end.owner.isThere = false
      end.reading?.over.abort(GIVEN_UP)
      this.#ends.delete(id)
      this.#hub.left(end.owner)
      return
    }
    if (op === 'stop') {
      if (end.reading?.call === message.read) end.reading?.over.abort(GIVEN_UP)
      return
    }
    if (!isCount(call)) {
      this.#warn('a call without a number')
      return
    }
    end.seen = Math.max(end.seen, call)
    void this.#answer(end, call, op, message)
  }

  #welcome(id: string, { kind, probe }: Tagged): void {
    let end = this.#ends.get(id)
    if (end === undefined) {
      if (this.#ends.size >= ENDS_MAX) {
        this.#warn(`more than ${ENDS_MAX} sinks and sources`)
        return
      }
      end = {
        id,
        owner: { isThere: true, of: this.identity },
        // JSON makes an object of a typed array.
        carriesBytes: isBytes(probe),
        isSink: kind === 'sink',
        seen: -1,
        change: -1,
        reading: undefined,
      }
      this.#ends.set(id, end)
    }
    const { carriesBytes, seen } = end
    this.#send(id, { op: 'welcome', log: this.#hub.identity, carriesBytes, seen })
  }

  async #answer(end: End, call: number, op: unknown, message: Tagged): Promise<void> {
    let answer
    try {
      answer = await this.#ask(end, call, op, message)
    } catch (error) {
      // A read that was given up too: the child keeps each call until its answer comes.
      answer = { error: { code: codeOf(error), message: messageOf(error) } }
    }
    if (end.owner.isThere) this.#send(end.id, { op: 'done', call, ...answer })
  }

  async #ask(end: End, call: number, op: unknown, message: Tagged): Promise<Tagged> {
    switch (op) {
      case 'append':
        return this.#append(end, message)
      case 'last':
        return this.#last(end, message)
      case 'read':
        return this.#read(end, call, message)
      case 'cut':
        return this.#request(message)
      default:
        throw this.#refusal(
          typeof op === 'string' ? `the call ${op.slice(0, 40)}` : 'a call without a name',
        )
    }
  }

  #append({ owner }: End, { node, instance, n, after, bytes: packed }: Tagged): Tagged {
    const bytes = unpack(packed)
    const isRight =
      isText(node, isLabel) &&
      isText(instance, isInstance) &&
      isCount(n) &&
      (after === -1 || isCount(after)) &&
      bytes !== undefined &&
      bytes.length <= MESSAGE_BYTES_MAX
    if (!isRight) throw this.#refusal('a message to append')
    return { result: this.#hub.append(owner, { node, instance, n, bytes }, after) }
  }

  #last({ carriesBytes }: End, { instance }: Tagged): Tagged {
    if (!isText(instance, isInstance)) throw this.#refusal('a question for an instance')
    const last = this.#hub.last(instance)
    if (last === undefined) return {}
    const { node, n, bytes } = last
    return { node, n, bytes: pack(bytes, carriesBytes) }
  }

  async #read(end: End, call: number, { after, waitMs }: Tagged): Promise<Tagged> {
    const isRight =
      (after === undefined || after === null || typeof after === 'string') &&
      typeof waitMs === 'number' &&
      waitMs >= 0
    if (!isRight) throw this.#refusal('a read')
    end.reading?.over.abort(GIVEN_UP)
    const over = new AbortController()
    end.reading = { call, over }
    const { messages, ...read } = await this.#hub.readSome(
      after ?? undefined,
      Math.min(waitMs, WAIT_MS_MAX),
      over.signal,
      READ_BYTES_CHILD,
    )
    end.reading = undefined
    const { change, all, live, gone, left } = this.#hub.nodesSince(end.change)
    end.change = change
    return {
      ...read,
      messages: messages.map(({ bytes, ...each }) => ({
        ...each,
        bytes: pack(bytes, end.carriesBytes),
      })),
      all,
      live,
      gone,
      left,
    }
  }

  async #request({ request }: Tagged): Promise<Tagged> {
    if (typeof request !== 'string' || request.length > REQUEST_MAX)
      throw this.#refusal('a request for a cut')
    await this.#hub.requestCut(request)
    return {}
  }

  #send(end: string, message: Tagged): void {
    sendTo(this.#channel, { hub: this.#hub.name, end, ...message })
  }

  /** An error for a call that no sink and no source makes; told as a warning too. */
  #refusal(what: string): DirtyRingError {
    this.#warn(what)
    return new DirtyRingError('ERR_DIRTYRING_BAD_MESSAGE', `the hub does not know ${what}`)
  }

  #warn(what: string): void {
    const { pid } = this.#channel as { readonly pid?: number }
    this.#hub.warn(`a process has sent ${what} that is damaged, or of another version`, pid)
  }
}

function isText(value: unknown, isRight: (text: string) => boolean): value is string {
  return typeof value === 'string' && isRight(value)
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function codeOf(error: unknown): string {
  return isDirtyRingError(error) ? error.code : 'ERR_DIRTYRING_AWAY'
}
