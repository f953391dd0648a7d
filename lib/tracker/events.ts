import { checkChoice, checkFunction } from '../check.js'
import { queueMicrotask } from '../timers.js'

/**
 * Lists what a tracker tells its listeners, by the event's name; see {@link DirtyTracker.on}.
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
  /** An epoch was sealed and handed out. */
  epoch: {
    /** The epoch's number. */
    id: number
    /** Distinct keys in it. */
    size: number
    /** If false, its list of keys has a part of them. */
    exact: boolean
    /** From the call of advanceEpoch() or stop() to the hand-out, in ms. */
    sealMs: number
  }
  /**
   * The open epoch has more than `maxKeysPerEpoch` distinct numeric keys, more than
   * `maxStringsPerEpoch` texts, or more than `maxStringBytesPerEpoch` bytes of them. It becomes a
   * superset. Told once for each epoch.
   */
  overflow: {
    /** The epoch's number. */
    epoch: number
    /**
     * The option that was too small. If the epoch has exactly as many numeric keys as it holds, and
     * texts have reached one of their options too, it is the option for texts.
     */
    limit: 'maxKeysPerEpoch' | 'maxStringsPerEpoch' | 'maxStringBytesPerEpoch'
    /** The option, in keys. */
    maxKeysPerEpoch: number
  }
  /** A writer was harvested, because its thread ended or by reap(). */
  harvest: {
    /** The writer's number. */
    writerId: number
    /** The number of the thread that had the writer. */
    threadId: number
    /** How many keys were staged there; they are now in the open epoch. */
    keys: number
  }
  /**
   * A step of the aggregator threw, and is tried again. Panics within one tenth of a second are
   * told as one.
   */
  panic: {
    /** Has the message of what was thrown. */
    error: Error
    /** How many panics there were so far. */
    panics: number
    /** In ms: 10, then twice as much each time, up to 1000. A success resets it to 10. */
    retryInMs: number
  }
  /** The aggregator's worker died and was started again. */
  restart: {
    /** How many restarts there were so far. */
    restarts: number
    /** What it died of. */
    cause: string
  }
  /**
   * A call has waited for more than a second: advanceEpoch() for an epoch slot, or a writer for
   * room in its lane. Told once for each wait.
   */
  stall: {
    /** What the call waits for. */
    what: 'epoch-slot' | 'lane'
    /** How long it has waited so far, in ms. */
    waitedMs: number
    /** Numbers of the epochs that hold slots, oldest first. */
    unsettled: readonly number[]
    /** The number of the writer that waits. Missing for an epoch slot. */
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

/** The listeners, by event. */
export class Listeners {
  readonly #listeners = new Map<keyof TrackerEvents, Set<{ readonly call: Listener }>>()
  /** Called after a listener was added or removed. */
  onChange: () => void = () => undefined

  get size(): number {
    let size = 0
    for (const each of this.#listeners.values()) size += each.size
    return size
  }

  /** The number of listeners of one event. */
  count(event: keyof TrackerEvents): number {
    return this.#listeners.get(event)?.size ?? 0
  }

  /**
   * Adds a listener.
   *
   * @returns the function that removes it
   * @throws TypeError and RangeError if an argument is not allowed
   */
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
   * Calls each listener in a microtask of its own. If it throws, that is an uncaught exception with
   * nothing of the library on the stack.
   */
  tell<E extends keyof TrackerEvents>(event: E, what: TrackerEvents[E]): void {
    for (const entry of this.#listeners.get(event) ?? []) {
      queueMicrotask(() => (entry.call as (event: TrackerEvents[E]) => void)(what))
    }
  }
}
