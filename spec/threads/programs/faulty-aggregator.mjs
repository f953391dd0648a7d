/**
 * An aggregator's worker in which one store throws, `workerData.times` times: it counts a batch's
 * keys.
 */
import { workerData } from 'node:worker_threads'

const { at, value, times } = workerData
const { store } = Atomics
let left = times

Atomics.store = (words, index, now) => {
  if (index === at && now === value && left-- > 0) throw new Error('planted')
  return store(words, index, now)
}

await import('../../../dist/aggregator/worker.js')
