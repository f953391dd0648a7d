/**
 * Workers read epochs that the main thread commits or restores under them, in few and small slots,
 * which are used again at once. Each key names its epoch: a reader gets what the epoch has, or
 * ERR_DIRTYRING_SETTLED. With `unchecked` the readers leave the check out. With `named` the epochs
 * are those of a named consumer, beside another one: what is given back changes in its place.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { attachEpoch, DirtyTracker } from 'dirtyring'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom } from './threads.mjs'

const READERS = 2
const KINDS = ['numbers', 'texts', 'both', 'few']
const NUMBERS = 2000
const TEXTS = 400
/** Some blocks long. */
const LONG = 'long/'.repeat(2000)

/** What is marked in a round. */
function keysOf(round) {
  const kind = KINDS[round % KINDS.length]
  const keys = []
  const numbers = { numbers: NUMBERS, both: NUMBERS / 2, few: 3, texts: 0 }[kind]
  const texts = { texts: TEXTS, both: TEXTS / 2, few: 3, numbers: 0 }[kind]
  for (let i = 0; i < numbers; i++) keys.push(round * 65536 + ((i * 7) % 65536))
  for (let i = 0; i < texts; i++) {
    const end = i % 97 === 1 ? LONG : 'x'.repeat((i + round) % 40)
    keys.push(`${round}/${i}/${end}/${round}`)
  }
  return keys
}

if (isMainThread) await main()
else read()

async function main() {
  const { rounds = 1500, seed = 1, unchecked = false, named = false } = args
  const random = randomFrom(seed)
  const tracker = await DirtyTracker.create({
    epochSlots: 2,
    maxWriters: 1,
    maxKeysPerEpoch: 2 * NUMBERS,
    maxStringsPerEpoch: 2 * TEXTS,
    maxStringBytesPerEpoch: 2 ** 20,
    onFull: 'wait',
    maxConsumers: named ? 2 : 0,
  })
  const reader = named ? tracker.consumer('reader', { from: 'now' }) : tracker
  const other = named ? tracker.consumer('other', { from: 'now' }) : undefined
  const writer = tracker.openWriter()
  /** Of each reader: the round that it has begun to read. */
  const begun = new Int32Array(new SharedArrayBuffer(4 * READERS))
  const workers = Array.from(
    { length: READERS },
    (_, reader) => new Worker(new URL(import.meta.url), { workerData: { begun, reader } }),
  )
  const results = workers.map((worker) => new Promise((resolve) => worker.once('message', resolve)))
  const exits = workers.map((worker) => exitOf(worker))
  let restored = 0
  for (let round = 1; round <= rounds; round++) {
    for (const key of keysOf(round)) writer.mark(key)
    const epoch = await reader.advanceEpoch()
    const handle = unchecked ? { ...epoch.handle, isKept: 1 } : epoch.handle
    for (const worker of workers) worker.postMessage({ handle, round })
    const late = pick(random, READERS)
    while (Atomics.load(begun, late) < round) await new Promise((resolve) => setImmediate(resolve))
    const end = performance.now() + (round % 5 === 0 ? 5 : random() * 0.2)
    while (performance.now() < end);
    if (round % 16 === 0) {
      restored++
      await epoch.restore()
      if (named) {
        // Keys of the other round join them where they are.
        for (const key of keysOf(round + 1)) writer.mark(key)
      }
      // They came back: they are no keys of the next round.
      await reader.consume(() => undefined)
    } else {
      epoch.commit()
    }
    // The slot of this epoch is the open one after the next cut: what is marked then goes into it.
    const next = await reader.advanceEpoch()
    next.commit()
    if (round % 3 === 0) await other?.consume(() => undefined)
  }
  for (const worker of workers) worker.postMessage(undefined)
  const found = await Promise.all(results)
  const exitCodes = await Promise.all(exits)
  await tracker.stop()
  const sum = (name) => found.reduce((total, each) => total + each[name], 0)
  verdict({
    rounds,
    restored,
    whole: sum('whole'),
    atOnce: sum('atOnce'),
    midway: sum('midway'),
    answers: sum('answers'),
    foreign: sum('foreign'),
    errors: [...new Set(found.flatMap(({ errors }) => errors))],
    exitCodes,
  })
}

function read() {
  const { begun, reader } = workerData
  const found = { whole: 0, atOnce: 0, midway: 0, answers: 0, foreign: 0, errors: [] }
  parentPort.on('message', (message) => {
    if (message === undefined) {
      parentPort.postMessage(found)
      parentPort.close()
      return
    }
    const { handle, round } = message
    const keys = keysOf(round)
    Atomics.store(begun, reader, round)
    let given = 0
    const take = (key) => {
      if (key !== keys[given]) found.foreign++
      given++
    }
    try {
      const epoch = attachEpoch(handle)
      if (epoch.size !== keys.length) found.foreign++
      switch ((round >> 2) % 4) {
        case 0:
          for (const key of epoch) take(key)
          break
        case 1:
          for (const key of epoch.numbers()) take(key)
          for (const key of epoch.texts()) take(key)
          break
        case 2:
          for (const key of keys) {
            if (!epoch.has(key)) found.foreign++
            if (epoch.has(typeof key === 'number' ? key + 1 : `${key}!`)) found.foreign++
            given++
            found.answers += 2
          }
          break
        case 3:
          if (typeof keys.at(-1) === 'number') for (const id of epoch.ids()) take(id)
          else if (typeof keys[0] === 'string') for (const key of epoch.strings()) take(key)
          else for (const key of epoch.listed()) take(key)
      }
      if (given === keys.length) found.whole++
      else found.foreign++
    } catch (error) {
      if (error.code !== 'ERR_DIRTYRING_SETTLED') found.errors.push(String(error.stack))
      else if (given === 0) found.atOnce++
      else found.midway++
    }
  })
}
