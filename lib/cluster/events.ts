import { checkChoice, checkFunction } from '../check.js'
import { queueMicrotask } from '../timers.js'

/** The listeners of a publisher or a reader, by the event's name. */
export class ClusterListeners<Events extends object> {
  readonly #names: readonly (keyof Events & string)[]
  readonly #listeners = new Map<keyof Events, Set<{ readonly call: (event: never) => void }>>()

  constructor(names: readonly (keyof Events & string)[]) {
    this.#names = names
  }

  /**
   * Adds a listener. Returns the function that removes it. Throws if an argument is not allowed.
   */
  add<E extends keyof Events & string>(event: E, listener: (event: Events[E]) => void): () => void {
    checkChoice('event', event, this.#names)
    checkFunction('listener', listener)
    let group = this.#listeners.get(event)
    if (group === undefined) this.#listeners.set(event, (group = new Set()))
    const entry = { call: listener } // the same function, added twice, is called twice
    group.add(entry)
    return () => group.delete(entry)
  }

  /**
   * Calls each listener in a microtask of its own, so that one that throws is an uncaught exception
   * and disturbs nothing else. Returns whether there is one.
   */
  tell<E extends keyof Events & string>(event: E, what: Events[E]): boolean {
    const group = this.#listeners.get(event)
    for (const entry of group ?? [])
      queueMicrotask(() => (entry.call as (event: Events[E]) => void)(what))
    return group !== undefined && group.size > 0
  }
}
