import { invalidArg, outOfRange } from '../errors.js'

/** What a tracker tells its listeners; see {@link DirtyTracker.on}. */
export interface TrackerEvents {
  /** An epoch was sealed. sealMs: from the call of advanceEpoch(), or stop(), to the hand-out. */
  epoch: { id: number; size: number; exact: boolean; sealMs: number }
  /** The open epoch has gone beyond maxKeysPerEpoch. Once an epoch. */
  overflow: { epoch: number; maxKeysPerEpoch: number }
  /** A writer's thread ended, or was reaped; `keys` were staged there and are now in the open epoch. */
  harvest: { writerId: number; threadId: number; keys: number }
  /** A step of the aggregator threw; it is tried again. `panics`: how often that has happened so far; several within a tenth of a second are told once. */
  panic: { error: Error; panics: number; retryInMs: number }
  /** The aggregator's worker died and was started again. */
  restart: { restarts: number; cause: string }
  /** Somebody has been waiting for more than a second: advanceEpoch() for a slot (`unsettled` says which epochs hold them), or a writer for room. Once a wait. */
  stall: { what: 'epoch-slot' | 'lane'; waitedMs: number; unsettled: readonly number[]; writerId?: number }
}

const NAMES: readonly (keyof TrackerEvents)[] = ['epoch', 'overflow', 'harvest', 'panic', 'restart', 'stall']

type Listener = (event: never) => void

/** Who listens to what. */
export class Listeners {
  readonly #listeners = new Map<keyof TrackerEvents, Set<{ readonly call: Listener }>>()
  /** After the first listener has come and the last one has gone. */
  onChange: () => void = () => undefined

  get size(): number {
    let size = 0
    for (const each of this.#listeners.values()) size += each.size
    return size
  }

  /** Returns the function that ends it. */
  add<E extends keyof TrackerEvents>(event: E, listener: (event: TrackerEvents[E]) => void): () => void {
    if (typeof event !== 'string') throw invalidArg('event', "an event's name", event)
    if (!NAMES.includes(event)) throw outOfRange('event', NAMES.map((name) => `'${name}'`).join(', '), event)
    if (typeof listener !== 'function') throw invalidArg('listener', 'a function', listener)
    let group = this.#listeners.get(event)
    if (group === undefined) this.#listeners.set(event, (group = new Set()))
    const entry = { call: listener } // the same function, added twice, is called twice
    group.add(entry)
    this.onChange()
    return () => {
      group.delete(entry)
      this.onChange()
    }
  }

  /** Each in a microtask of its own: one that throws is an uncaught exception, and nothing of the library's is on the stack. */
  tell<E extends keyof TrackerEvents>(event: E, what: TrackerEvents[E]): void {
    for (const entry of this.#listeners.get(event) ?? []) {
      queueMicrotask(() => (entry.call as (event: TrackerEvents[E]) => void)(what))
    }
  }
}
