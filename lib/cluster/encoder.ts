import { Worker } from 'node:worker_threads'
import type { EncodeOptions } from '../epochs/encode.js'
import type { EpochHandle } from '../epochs/handle.js'
import { encodeSealed, type SealedEpoch } from '../epochs/sealed-epoch.js'
import { DirtyRingError, type ErrorCode, messageOf } from '../errors.js'

/** More keys than these are encoded on another thread: about 2 ms of work. */
const ON_THREAD_FROM = 10_000

/** To the thread. */
export interface Job {
  readonly id: number
  readonly handle: EpochHandle
  readonly options: EncodeOptions
}

/** And back. */
export type Outcome =
  | { readonly id: number; readonly messages: Uint8Array[] }
  | { readonly id: number; readonly code: string | undefined; readonly message: string }

export interface EncoderOptions {
  /** Called once if the thread cannot start, or has ended: all is encoded on this thread then. */
  readonly onWarning?: ((warning: string) => void) | undefined
  /** Keys from which on the thread is used; for tests. */
  readonly onThreadFrom?: number | undefined
  /** The thread's script; for tests. */
  readonly script?: URL | undefined
}

/** Encodes the epochs of one publisher. */
export interface EpochEncoder {
  /**
   * Encodes an epoch, on a thread of its own if it is large. The epoch must not be settled before
   * the promise is.
   */
  encodeEpoch(epoch: SealedEpoch, options?: EncodeOptions): Promise<Uint8Array[]>
  /** Ends the thread. What it has not encoded yet is encoded on the calling thread. */
  close(): Promise<void>
}

export function createEncoder(options: EncoderOptions = {}): EpochEncoder {
  return new Encoder(options)
}

interface Pending {
  readonly epoch: SealedEpoch
  readonly options: EncodeOptions
  readonly resolve: (messages: Uint8Array[]) => void
  readonly reject: (error: unknown) => void
}

class Encoder implements EpochEncoder {
  readonly #options: EncoderOptions
  #worker: Worker | undefined
  /** No thread is started any more. */
  #isAlone = false
  #lastId = 0
  readonly #pending = new Map<number, Pending>()

  constructor(options: EncoderOptions) {
    this.#options = options
  }

  async encodeEpoch(epoch: SealedEpoch, options: EncodeOptions = {}): Promise<Uint8Array[]> {
    const { onThreadFrom = ON_THREAD_FROM } = this.#options
    if (this.#isAlone || epoch.size < onThreadFrom) return encodeSealed(epoch, options)
    const { handle } = epoch
    const worker = this.#thread()
    if (worker === undefined) return encodeSealed(epoch, options)
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#pending.set(id, { epoch, options, resolve, reject })
      worker.ref() // until it has answered
      worker.postMessage({ id, handle, options } satisfies Job)
    })
  }

  async close(): Promise<void> {
    this.#isAlone = true
    const worker = this.#worker
    this.#worker = undefined
    await worker?.terminate()
    this.#encodePending()
  }

  /** Undefined if none can be started. */
  #thread(): Worker | undefined {
    if (this.#worker !== undefined) return this.#worker
    try {
      const worker = new Worker(
        this.#options.script ?? new URL('./encode-worker.js', import.meta.url),
        { name: 'dirtyring-encoder', stdin: false, execArgv: [] },
      )
      worker.on('message', (outcome: Outcome) => this.#settle(outcome))
      worker.once('error', (error) => this.#goOnAlone(error))
      worker.once('exit', (code) => this.#goOnAlone(new Error(`it ended with ${code}`)))
      this.#worker = worker
      return worker
    } catch (error) {
      this.#goOnAlone(error)
      return undefined
    }
  }

  #settle(outcome: Outcome): void {
    const pending = this.#pending.get(outcome.id)
    this.#pending.delete(outcome.id)
    if (this.#pending.size === 0) this.#worker?.unref()
    if ('messages' in outcome) pending?.resolve(outcome.messages)
    else pending?.reject(errorOf(outcome.code, outcome.message))
  }

  #goOnAlone(error: unknown): void {
    if (this.#isAlone) return
    this.#isAlone = true
    this.#worker = undefined
    const why = messageOf(error)
    this.#options.onWarning?.(
      `the thread that encodes large epochs does not run (${why}), so they are encoded on the ` +
        "publisher's thread",
    )
    this.#encodePending()
  }

  #encodePending(): void {
    for (const [id, { epoch, options, resolve, reject }] of this.#pending) {
      this.#pending.delete(id)
      try {
        resolve(encodeSealed(epoch, options))
      } catch (error) {
        reject(error)
      }
    }
  }
}

function errorOf(code: string | undefined, message: string): Error {
  return code === undefined ? new Error(message) : new DirtyRingError(code as ErrorCode, message)
}
