import { LANE_OWNER, LANE_THREAD, laneAt } from '../../memory/map.js'
import { orphansOf } from '../../ring/reap.js'
import { generationOf, isOwned } from '../../ring/token.js'
import type { Waiting } from '../../signal.js'
import { stopped } from '../lifecycle.js'
import type { PendingCall } from '../long-waits.js'
import { type Reaping, requestReap, takeReaped } from '../outbox.js'
import type { Context, PendingKind } from './kind.js'

/**
 * Harvests of writers that have ended: those that reap() asks for, and those of watched threads.
 */
export class Reaps implements PendingKind {
  readonly #context: Context
  /** For each REAP, the callers of reap() that wait for its number of keys. */
  readonly #asked = new Map<Reaping, Waiting<number>[]>()

  constructor(context: Context) {
    this.#context = context
  }

  /**
   * Harvests and frees every lane of a thread that has ended, and of the threads that ended with
   * it.
   */
  requestThread(threadId: number): void {
    const { memory, outbox } = this.#context
    for (const { writer, generation, threadId: owner } of orphansOf(memory, threadId))
      requestReap(outbox, writer, generation, owner)
    this.#context.poke()
  }

  /** Harvests and frees one lane. Resolves with the number of keys, or with 0 for a free lane. */
  request(writer: number): Promise<number> {
    const { memory, outbox, lifecycle } = this.#context
    const { words, layout } = memory
    const lane = laneAt(layout, writer)
    const owner = Atomics.load(words, lane + LANE_OWNER)
    if (!isOwned(owner)) return Promise.resolve(0)
    const threadId = Atomics.load(words, lane + LANE_THREAD) - 1
    const reaping = requestReap(outbox, writer, generationOf(owner), threadId)
    if (reaping === undefined) return Promise.reject(stopped())
    const keys = new Promise<number>((resolve, reject) => {
      const asked = this.#asked.get(reaping) ?? []
      this.#asked.set(reaping, asked)
      asked.push({ resolve, reject })
    })
    if (lifecycle.failure !== undefined) this.fail(lifecycle.failure)
    this.#context.poke()
    return keys
  }

  collect(): void {
    const { outbox, listeners } = this.#context
    for (let reaped = takeReaped(outbox); reaped !== undefined; reaped = takeReaped(outbox)) {
      const { writer, threadId, keys } = reaped
      for (const { resolve } of this.#asked.get(reaped) ?? []) resolve(keys)
      this.#asked.delete(reaped)
      listeners.tell('harvest', { writerId: writer, threadId, keys })
    }
  }

  get isPending(): boolean {
    return this.#context.outbox.reaping.length > 0
  }

  get isAwaited(): boolean {
    return this.#asked.size > 0
  }

  fail(reason: unknown): void {
    for (const asked of this.#asked.values()) for (const { reject } of asked) reject(reason)
    this.#asked.clear()
    this.#context.outbox.reaping.length = 0
  }

  waits(): PendingCall[] {
    return [...this.#asked.keys()].map((wait) => ({ call: 'reap()', wait }))
  }
}
