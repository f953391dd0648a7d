/**
 * Writes rows in transactions. All but one of these threads mark inside the transaction, the last
 * one after it.
 */
import { workerData } from 'node:worker_threads'
import { openWriter, TxnBuffer } from 'dirtyring'
import { open } from 'lmdb'
import { pick, randomFrom } from '../programs/threads.mjs'

const { handle, location, counts, keys, writer, seed } = workerData
const random = randomFrom(seed * 100 + writer)
const store = open(location)
const rows = store.openDB('rows')
const dirty = openWriter(handle)

const marksAfter = keys === 'ids' && writer === 2
let writes = 0

function keyOfThisWriter() {
  if (keys !== 'ids') return `user:${pick(random, 300)}`
  return marksAfter ? 200 + pick(random, 100) : pick(random, 200)
}

function write(key) {
  if (random() < 0.1) rows.remove(key)
  else rows.put(key, { version: writer * 2 ** 32 + ++writes, text: 'x'.repeat(pick(random, 100)) })
}

const marks = new TxnBuffer(0)

/**
 * Write and mark in one critical section, which the cut enters too. Both or, when it throws,
 * neither.
 */
function changeInside(changed) {
  marks.clear() // what the last rollback left
  store.transactionSync(() => {
    for (const key of changed) {
      write(key)
      marks.mark(key)
    }
    if (random() < 0.1) throw new Error('changed my mind')
    marks.flushTo(dirty)
    // before the lock is given up: the cut takes what is published, not what is staged
    dirty.flush()
  })
}

/** Simpler, where it is enough that each row is copied at last: first the write, then the mark. */
function changeThenMark(changed) {
  store.transactionSync(() => changed.forEach(write))
  dirty.markMany(changed)
  dirty.flush()
}

while (Atomics.load(counts, 0) === 0) {
  const changed = Array.from({ length: 1 + pick(random, 6) }, keyOfThisWriter)
  try {
    if (marksAfter) changeThenMark(changed)
    else changeInside(changed)
    Atomics.add(counts, 1, 1)
  } catch (error) {
    if (error.message !== 'changed my mind') throw error
    Atomics.add(counts, 2, 1)
  }
}
await store.close()
