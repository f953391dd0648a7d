import { randomBytes } from 'node:crypto'
import { DirtyRingError, type ErrorCode } from '../errors.js'
import { clearTimeout, setTimeout, unref } from '../timers.js'
import { away, closed } from './settings.js'
import { type Channel, sendTo, type Tagged, tap } from './tap.js'

const HELLO_MS = 250

/** What the channel has in Node; it does not count listeners that do not keep the process alive. */
interface Counted {
  refCounted?(): void
  unrefCounted?(): void
}

interface Call {
  readonly number: number
  readonly resolve: (answer: Tagged) => void
  readonly reject: (error: Error) => void
}

/**
 * A child's end of its hub: what a sink and a source have in common. It greets the hub, again and
 * again until the hub answers, and learns from the answer which log the hub has and whether the
 * channel carries typed arrays.
 *
 * It does not keep the process alive, except while a call waits that shall.
 */
export class HubEnd {
  readonly #channel: Channel
  readonly #hub: string
  readonly #kind: 'sink' | 'source'
  readonly #answerMs: number
  readonly #id = randomBytes(8).toString('hex')
  readonly #untap: () => void
  readonly #onMessage: (message: Tagged) => void
  readonly #calls = new Map<number, Call>()
  readonly #greeters = new Set<{
    readonly resolve: () => void
    readonly reject: (error: Error) => void
  }>()
  #numbers = 0
  /** The first call that went after the last greeting. */
  #helloAt = 0
  #log: string | undefined
  #carriesBytes = false
  #greeting: unknown
  #isAway: boolean
  #isClosed = false
  #listens = false

  /** @param onMessage - called with what the hub sends and what is no answer */
  constructor(
    channel: Channel,
    hub: string,
    kind: 'sink' | 'source',
    answerMs: number,
    onMessage: (message: Tagged) => void = () => undefined,
  ) {
    this.#channel = channel
    this.#hub = hub
    this.#kind = kind
    this.#answerMs = answerMs
    this.#onMessage = onMessage
    this.#isAway = channel.connected === false
    this.#untap = tap(
      channel,
      hub,
      (message) => this.#take(message),
      () => this.#disconnected(),
    )
    // The listeners of tap() do not keep the process alive.
    this.#count('unrefCounted', 2)
  }

  /** Whether the channel carries typed arrays; known once a call was answered. */
  get carriesBytes(): boolean {
    return this.#carriesBytes
  }

  /** Tells the hub what this end wants to hear of. */
  listen(): void {
    this.#listens = true
    this.#greet()
  }

  /** Resolves when the hub has answered a greeting. */
  async welcomed(keepsAlive = true): Promise<void> {
    this.#check()
    if (this.#log !== undefined) return
    await this.#waiting(keepsAlive, 0, (resolve, reject) => {
      const greeter = { resolve: () => resolve(undefined), reject }
      this.#greeters.add(greeter)
      this.#greet()
      return () => this.#greeters.delete(greeter)
    })
  }

  /**
   * Asks the hub, and resolves with its answer. Rejects with what the hub answers, and with
   * `ERR_DIRTYRING_AWAY` if the hub has certainly lost the call or will not answer it.
   */
  call(op: string, fields: Tagged, onNumber?: (number: number) => void): Promise<Tagged> {
    return new Promise((resolve, reject) => {
      this.#check()
      const number = this.#numbers++
      onNumber?.(number)
      this.#calls.set(number, { number, resolve, reject })
      this.#send({ op, call: number, ...fields }, () => this.#fail(number, away(NO_CHANNEL)))
    })
  }

  /**
   * Waits for a call's answer, as long as the hub may take for it and `moreMs`. If none comes,
   * greets the hub once more, because its answer to that tells whether it has the call.
   */
  async answered<T>(answer: Promise<T>, moreMs: number, keepsAlive: boolean): Promise<T> {
    return this.#waiting(keepsAlive, moreMs, (resolve, reject) => {
      answer.then(resolve, reject)
      return () => this.#hello()
    })
  }

  /** Sends what has no answer. */
  tell(op: string, fields: Tagged): void {
    if (!this.#isAway) this.#send({ op, ...fields })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    if (!this.#isAway) this.#send({ op: 'bye' })
    clearTimeout(this.#greeting as never)
    this.#failAll(closed(this.#kind))
    this.#count('refCounted', 2)
    this.#untap()
  }

  #check(): void {
    if (this.#isClosed) throw closed(this.#kind)
    if (this.#isAway) throw away(NO_CHANNEL)
  }

  #take(message: Tagged): void {
    if (message.end !== this.#id) return
    switch (message.op) {
      case 'welcome':
        this.#welcome(message)
        break
      case 'done':
        this.#done(message)
        break
      case 'bye':
        this.#log = undefined
        this.#failCalls(() => true, away('the hub was closed'))
        this.#greet()
        break
      default:
        this.#onMessage(message)
    }
  }

  #welcome({ log, carriesBytes, seen }: Tagged): void {
    // Messages keep their order. So the hub has lost those calls that went before the greeting and
    // that it has not seen.
    const lost = this.#log !== undefined && this.#log !== log ? -1 : Number(seen)
    this.#failCalls(({ number }) => number > lost && number < this.#helloAt, away(LOST))
    this.#log = String(log)
    this.#carriesBytes = carriesBytes === true
    clearTimeout(this.#greeting as never)
    this.#greeting = undefined
    for (const { resolve } of this.#greeters) resolve()
    this.#greeters.clear()
  }

  #done({ call: number, error, ...answer }: Tagged): void {
    const call = this.#calls.get(Number(number))
    if (call === undefined) return
    this.#calls.delete(call.number)
    if (error === undefined) {
      call.resolve(answer)
      return
    }
    const { code, message } = error as { readonly code: ErrorCode; readonly message: string }
    call.reject(new DirtyRingError(code, message))
  }

  #hello(): void {
    if (this.#isClosed || this.#isAway) return
    this.#helloAt = this.#numbers
    this.#send({ op: 'hello', kind: this.#kind, probe: new Uint8Array(1) })
  }

  /** Greets until the hub answers, while that matters to anything. */
  #greet(): void {
    if (this.#greeting !== undefined || this.#log !== undefined) return
    if (this.#isClosed || this.#isAway) return
    if (!this.#listens && this.#greeters.size === 0) return
    this.#hello()
    this.#greeting = setTimeout(() => {
      this.#greeting = undefined
      this.#greet()
    }, HELLO_MS)
    unref(this.#greeting)
  }

  #send(message: Tagged, onError?: () => void): void {
    sendTo(this.#channel, { hub: this.#hub, end: this.#id, ...message }, onError)
  }

  #disconnected(): void {
    this.#isAway = true
    this.#log = undefined
    clearTimeout(this.#greeting as never)
    this.#failAll(away(NO_CHANNEL))
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#greeters) reject(error)
    this.#greeters.clear()
    this.#failCalls(() => true, error)
  }

  #failCalls(which: (call: Call) => boolean, error: Error): void {
    for (const call of [...this.#calls.values()]) if (which(call)) this.#fail(call.number, error)
  }

  #fail(number: number, error: Error): void {
    const call = this.#calls.get(number)
    this.#calls.delete(number)
    call?.reject(error)
  }

  /** A promise that `start` settles in time. `start` returns what is done if it does not. */
  #waiting<T>(
    keepsAlive: boolean,
    moreMs: number,
    start: (resolve: (value: T) => void, reject: (error: Error) => void) => () => unknown,
  ): Promise<T> {
    if (keepsAlive) this.#count('refCounted', 1)
    const ms = moreMs + this.#answerMs
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        giveUp()
        reject(away(this.#log === undefined ? NO_HUB : `the hub does not answer within ${ms} ms`))
      }, ms)
      unref(timer)
      const settle =
        <V>(how: (value: V) => void) =>
        (value: V) => {
          clearTimeout(timer)
          how(value)
        }
      const giveUp = start(settle(resolve), settle(reject))
    }).finally(() => {
      if (keepsAlive) this.#count('unrefCounted', 1)
    })
  }

  /** Counts what keeps the channel, and so the process, alive. */
  #count(how: 'refCounted' | 'unrefCounted', times: number): void {
    const { channel } = this.#channel as { readonly channel?: Counted | null }
    if (channel === undefined || channel === null) return
    for (let i = 0; i < times; i++) channel[how]?.()
  }
}

/** The channel of this process; throws if it has none. */
export function channelOfProcess(what: string): Channel {
  if (typeof process === 'object' && typeof process.send === 'function')
    return process as unknown as Channel
  throw away(
    `${what} needs a process that node:cluster or child_process.fork() has started, and its main ` +
      `thread. In the process that starts those, take them from ipcHub()`,
  )
}

const NO_CHANNEL = 'the channel to the process that has the hub is closed'
const NO_HUB = `no hub answers: call ipcHub() in the process that starts this one`
const LOST = 'the hub does not have this call'
