/** The store: prices in memory that all threads share. It stands for your database. */

export function createStore(products) {
  const words = () => new Int32Array(new SharedArrayBuffer(4 * products))
  return { prices: words(), changedAt: words(), started: Date.now() }
}

/** Milliseconds since the store was created, the same in all threads. */
export const now = (store) => Date.now() - store.started

export function setPrice(store, id, price) {
  Atomics.store(store.changedAt, id, now(store))
  Atomics.store(store.prices, id, price)
}

/** The key of a product, in the caches and in the epochs. */
export const keyOf = (id) => `product:${id}`
export const idOf = (key) => Number(key.slice('product:'.length))

export const getPrice = (store, id) => Atomics.load(store.prices, id)

/** How long a price has been out of date, in ms, or 0 if it is the store's. */
export function staleMs(store, id, price) {
  if (price === getPrice(store, id)) return 0
  return Math.max(1, now(store) - Atomics.load(store.changedAt, id))
}
