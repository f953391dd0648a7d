/** A read cache. An entry that nothing drops lives for `ttlMs`. */
export class Cache {
  #entries = new Map()
  #load
  #ttlMs

  constructor(load, ttlMs = Infinity) {
    this.#load = load
    this.#ttlMs = ttlMs
  }

  /**
   * The entry is in the cache before its value is loaded. If the value changes while it is loaded,
   * drop() finds the entry, and later readers load the new value.
   */
  read(id) {
    const cached = this.#entries.get(id)
    if (cached !== undefined && Date.now() < cached.until) return cached.loading
    const entry = { until: Date.now() + this.#ttlMs, value: undefined }
    entry.loading = this.#load(id).then(
      (value) => (entry.value = value),
      (error) => {
        if (this.#entries.get(id) === entry) this.drop(id) // a failed load is not kept
        throw error
      },
    )
    this.#entries.set(id, entry)
    return entry.loading
  }

  drop(id) {
    this.#entries.delete(id)
  }

  clear() {
    this.#entries.clear()
  }

  /** What a reader would be given now without a load, or undefined. */
  peek(id) {
    const cached = this.#entries.get(id)
    return cached !== undefined && Date.now() < cached.until ? cached.value : undefined
  }
}
