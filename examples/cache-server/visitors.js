/** Readers of both caches, and counts of what they were given. */
import { setTimeout as sleep } from 'node:timers/promises'
import { keyOf, staleMs } from './store.js'

const newCounts = () => ({ answers: 0, loads: 0, stale: 0, oldestMs: 0 })

export class Visitors {
  #store
  #caches
  #counts

  constructor(store, caches) {
    this.#store = store
    this.#caches = caches
    this.#counts = this.#newCounts()
  }

  #newCounts() {
    return Object.fromEntries(Object.keys(this.#caches).map((name) => [name, newCounts()]))
  }

  /** Some 2,000 reads a second, the same ones from each cache. */
  async visit() {
    for (;;) {
      await sleep(10)
      for (let i = 0; i < 20; i++) {
        const id = Math.floor(this.#store.prices.length * Math.random())
        for (const name of Object.keys(this.#caches)) void this.read(name, id)
      }
    }
  }

  async read(name, id) {
    const [count, key] = [this.#counts[name], keyOf(id)]
    if (this.#caches[name].peek(key) === undefined) count.loads++
    const price = await this.#caches[name].read(key)
    const age = staleMs(this.#store, id, price)
    count.answers++
    if (age > 0) count.stale++
    count.oldestMs = Math.max(count.oldestMs, age)
    return price
  }

  /** The counts since the last report, and which entries are out of date now. */
  report() {
    const counts = this.#counts
    this.#counts = this.#newCounts()
    const reports = Object.entries(this.#caches).map(([name, cache]) => {
      const ages = Array.from(this.#store.prices, (_, id) => {
        const price = cache.peek(keyOf(id))
        return price === undefined ? -1 : staleMs(this.#store, id, price)
      })
      return [name, { ...counts[name], ages }]
    })
    return Object.fromEntries(reports)
  }
}
