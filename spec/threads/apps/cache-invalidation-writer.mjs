/**
 * Writes pages of its own, and marks each after it; now and then all of them at once, which is one
 * mark.
 */
import { workerData } from 'node:worker_threads'
import { openWriter } from 'dirtyring'
import { pick, randomFrom, sleep } from '../programs/threads.mjs'

const { handle, current, published, counts, writer, writers, seed } = workerData
const random = randomFrom(seed * 100 + writer)
const dirty = openWriter(handle)

function writePage(page) {
  Atomics.add(current, page, 1) // first the write
  dirty.mark(`page:${page}`) // then the mark
  Atomics.add(counts, 1, 1)
}

function writeAll() {
  for (let page = writer; page < current.length; page += writers) Atomics.add(current, page, 1)
  dirty.markEverything()
  Atomics.add(counts, 2, 1)
}

/** The oracle may hold the next tick to what is published. */
function tell(page) {
  Atomics.store(published, page, current[page])
}

for (let round = 1; Atomics.load(counts, 0) === 0; round++) {
  if (round % 30 === 0 && Atomics.load(counts, 3) === 0) {
    writeAll()
    for (let page = writer; page < current.length; page += writers) tell(page)
  } else {
    const some = Array.from(
      { length: 1 + pick(random, 10) },
      () => Math.floor((current.length / writers) * random() ** 2) * writers + writer,
    )
    some.forEach(writePage)
    if (dirty.flush()) some.forEach(tell)
  }
  await sleep(pick(random, 8))
}
