/** A thread that brings new prices into the store, and marks each one after it has written it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'
import { getPrice, keyOf, setPrice } from './store.js'

const { handle, store, isPaused } = workerData
const dirty = openWriter(handle)

for (;;) {
  await sleep(25)
  if (Atomics.load(isPaused, 0) === 1) continue
  const id = Math.floor(store.prices.length * Math.random())
  setPrice(store, id, getPrice(store, id) + 1 + Math.floor(100 * Math.random())) // the write,
  dirty.mark(keyOf(id)) // then the mark
}
