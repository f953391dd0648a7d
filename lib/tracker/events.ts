import { checkChoice, checkFunction } from '../check.js'
import { queueMicrotask } from '../timers.js'

/**
 * What a tracker tells its listeners, by the event's name; see {@link DirtyTracker.on}.
 *
 * @example
 * ```js
 * tracker.on('epoch', ({ id, size, exact }) => console.log(id, size, exact)) // 0 1 true | 1 0 true
 * writer.mark(42)
 * await tracker.consume(() => {})
 * await tracker.stop()
 * ```
 */
export interface TrackerEvents {
  /** An epoch was sealed. sealMs: from the call of advanceEpoch(), or stop(), to the hand-out. */
  epoch: {
    /** The epoch's number. */
    id: number
    /** Distinct keys held. */
    size: number
    /** False: treat every key as dirty. */
    exact: boolean
    /** In ms. */
    sealMs: number
  }
  /** The open epoch has gone beyond maxKeysPerEpoch. Once an epoch. */
  overflow: {
    /** The epoch's number. */
    epoch: number
    /** The option: keys. */
    maxKeysPerEpoch: number
  }
  /**
   * A writer's thread ended, or was reaped; `keys` were staged there and are now in the open epoch.
   */
  harvest: {
    /** The writer's number. */
    writerId: number
    /** The number of the thread that had it. */
    threadId: number
    /** Keys that were staged. */
    keys: number
  }
  /**
   * A step of the aggregator threw; it is tried again. Several within a tenth of a second are told
   * once.
   */
  panic: {
    /** What was thrown: its text. */
    error: Error
    /** How often that has happened so far. */
    panics: number
    /** In ms: 10, doubling to 1000; a success resets it. */
    retryInMs: number
  }
  /** The aggregator's worker died and was started again. */
  restart: {
    /** How often that has happened so far. */
    restarts: number
    /** What it died of. */
    cause: string
  }
  /**
   * Somebody has been waiting for more than a second: advanceEpoch() for a slot, or a writer for
   * room. Once a wait.
   */
  stall: {
    /** For what. */
    what: 'epoch-slot' | 'lane'
    /** In ms, so far. */
    waitedMs: number
    /** Numbers of the epochs that hold slots, oldest first. */
    unsettled: readonly number[]
    /** The writer that waits, if it is one. */
    writerId?: number
  }
}

const NAMES: readonly (keyof TrackerEvents)[] = [
  'epoch',
  'overflow',
  'harvest',
  'panic',
  'restart',
  'stall',
]

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

  /** Of one event. */
  count(event: keyof TrackerEvents): number {
    return this.#listeners.get(event)?.size ?? 0
  }

  /** Returns the function that ends it. */
  add<E extends keyof TrackerEvents>(
    event: E,
    listener: (event: TrackerEvents[E]) => void,
  ): () => void {
    checkChoice('event', event, NAMES)
    checkFunction('listener', listener)
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

  /**
   * Each in a microtask of its own: one that throws is an uncaught exception, and nothing of the
   * library's is on the stack.
   */
  tell<E extends keyof TrackerEvents>(event: E, what: TrackerEvents[E]): void {
    for (const entry of this.#listeners.get(event) ?? []) {
      queueMicrotask(() => (entry.call as (event: TrackerEvents[E]) => void)(what))
    }
  }
}
