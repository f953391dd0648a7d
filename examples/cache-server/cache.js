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
  read(key) {
    const cached = this.#entries.get(key)
    if (cached !== undefined && Date.now() < cached.until) return cached.loading
    const entry = { until: Date.now() + this.#ttlMs, value: undefined }
    entry.loading = this.#load(key).then(
      (value) => (entry.value = value),
      (error) => {
        if (this.#entries.get(key) === entry) this.drop(key) // a failed load is not kept
        throw error
      },
    )
    this.#entries.set(key, entry)
    return entry.loading
  }

  drop(key) {
    this.#entries.delete(key)
  }

  clear() {
    this.#entries.clear()
  }

  /** What a reader would be given now without a load, or undefined. */
  peek(key) {
    const cached = this.#entries.get(key)
    return cached !== undefined && Date.now() < cached.until ? cached.value : undefined
  }
}
