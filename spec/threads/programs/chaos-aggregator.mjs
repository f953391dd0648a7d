/**
 * An aggregator that dies when its fuse has burnt down, at an access to shared memory, in the way
 * that it is told.
 */
import { workerData } from 'node:worker_threads'
import { FUSE, hookAtomics, READY, store, STUCK } from './chaos-calls.mjs'

const { way, words } = workerData
const hoard = []

const dive = () => 1 + dive()

hookAtomics(() => {
  if (words[FUSE] === 0 || --words[FUSE] > 0) return
  if (way === 'exit') process.exit(0)
  if (way === 'loop') {
    store(words, STUCK, 1)
    for (;;);
  }
  if (way === 'heap') for (;;) hoard.push(new Array(1000).fill(hoard.length))
  if (way === 'overflow') {
    process.nextTick(dive)
    dive()
  }
  // A throw within a step is contained: the thread dies by one that nothing is around.
  if (way === 'throw') {
    process.nextTick(() => {
      throw new Error('dies')
    })
  }
})
await import('../../../dist/aggregator/worker.js')
store(words, READY, 1)
