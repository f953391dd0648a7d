/**
 * Threads that add keys to one dictionary as fast as they can, the same ones at the same moments,
 * and are terminated at it again and again. Then all threads have to agree about every key. And the
 * whole path: numbers of keys are marked, a writer is terminated, the keys are read back from what
 * it left.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { idsTaken, openDictionary } from '../../../dist/dictionary/core.js'
import { DirtyTracker, KeyDictionary, openWriter } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'
import { exitOf, pick, randomFrom, sleep, until, within } from './threads.mjs'

const THREADS = 4
/** Keys that may be added before the next kill. */
const PORTION = 10_000

// Words that all see.
const FRONT = 0
const LIMIT = 32
const STOP = 64
const DISAGREED = 96
/** + a worker's number: the key that it is at, + 1. */
const AT = 128

/** Text, short and long, ASCII or not, and bytes that are no text. */
function keyOf(k) {
  if (k % 11 === 0) return Uint8Array.of(0xff, k, k >> 8, k >> 16, 0)
  if (k % 7 === 0) return `Schlüssel ${k}`
  return `key ${k}${'.'.repeat(k % 5)}`
}

const sameBytes = (one, other) =>
  Buffer.compare(one, typeof other === 'string' ? Buffer.from(other) : other) === 0

if (isMainThread) await main()
else if (workerData.tracker === undefined) add(workerData)
else mark(workerData)

function add({ handle, words, agreed, me, seed }) {
  const names = KeyDictionary.attach(handle)
  const random = randomFrom(seed)
  // Where the others are: on the way there it looks up, then it adds with them.
  for (let k = Math.max(0, Atomics.load(words, FRONT) - 500); Atomics.load(words, STOP) === 0;) {
    const limit = Atomics.load(words, LIMIT)
    if (k === limit) {
      Atomics.wait(words, LIMIT, limit, 100)
      continue
    }
    if (random() < 0.2) {
      k++
      continue
    }
    words[AT + me] = k + 1
    const id = names.id(keyOf(k))
    const before = Atomics.compareExchange(agreed, k, 0, id + 1)
    if (before !== 0 && before !== id + 1) Atomics.add(words, DISAGREED, 1)
    if (k > Atomics.load(words, FRONT)) Atomics.store(words, FRONT, k)
    k++
  }
  const wrong = []
  for (let k = 0; k < Atomics.load(words, LIMIT); k++) {
    const id = agreed[k] - 1
    if (id >= 0 && (names.find(keyOf(k)) !== id || !sameBytes(names.bytes(id), keyOf(k))))
      wrong.push(k)
  }
  parentPort.postMessage({ wrong: wrong.slice(0, 5), size: names.size })
}

async function agree({ kills, seed }) {
  const random = randomFrom(seed)
  const keys = (kills + 1) * PORTION
  const names = KeyDictionary.create({ maxKeys: keys + kills + THREADS })
  const words = new Int32Array(new SharedArrayBuffer((AT + kills + THREADS) * 4))
  const agreed = new Int32Array(new SharedArrayBuffer(keys * 4))
  const errors = []
  const answers = []
  let born = 0
  const spawn = () => {
    const me = born++
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { handle: names.handle, words, agreed, me, seed: seed + me },
    })
    worker.on('error', (error) => errors.push(`worker ${me}: ${error.stack}`))
    worker.on('message', (answer) => answers.push(answer))
    return { worker, me, exit: exitOf(worker, `the end of worker ${me}`) }
  }
  const raise = (limit) => {
    Atomics.store(words, LIMIT, limit)
    Atomics.notify(words, LIMIT)
  }
  const workers = Array.from({ length: THREADS }, spawn)
  let atWork = 0
  raise(PORTION)
  for (let kill = 0; kill < kills; kill++) {
    const slot = kill % THREADS
    const { worker, me, exit } = workers[slot]
    // It has begun, and is with all the others at the end of the last portion. So the keys that
    // come now are new to every thread.
    await until(
      () => words[AT + me] > 0 && Atomics.load(words, FRONT) >= words[LIMIT] - 20,
      'the end of a portion',
    )
    raise((kill + 2) * PORTION)
    for (const end = performance.now() + 4 * random(); performance.now() < end;);
    await within(worker.terminate(), 'terminate()')
    await exit
    if (words[AT + me] < words[LIMIT] - 20) atWork++
    workers[slot] = spawn()
  }
  await until(() => Atomics.load(words, FRONT) >= words[LIMIT] - 20, 'the end of the last portion')
  Atomics.store(words, STOP, 1)
  Atomics.notify(words, LIMIT)
  await Promise.all(workers.map(({ exit }) => exit))

  const ids = new Set()
  let disagreed = words[DISAGREED]
  let misread = 0
  for (let k = 0; k < keys; k++) {
    const id = names.find(keyOf(k)) ?? -1
    if (agreed[k] !== 0 && agreed[k] !== id + 1) disagreed++
    if (id < 0) continue
    if (ids.has(id)) errors.push(`two keys have the number ${id}`)
    ids.add(id)
    const text = keyOf(k)
    if (typeof text === 'string' ? names.key(id) !== text : !sameBytes(names.bytes(id), text))
      misread++
  }
  const lost = idsTaken(openDictionary(new Int32Array(names.handle.buffer))) - names.size
  return {
    errors,
    disagreed,
    misread,
    answers,
    keys: ids.size,
    size: names.size,
    kills,
    atWork,
    lost,
    threads: THREADS,
  }
}

function mark({ handle, tracker, words, me, from }) {
  const names = KeyDictionary.attach(handle)
  const writer = openWriter(tracker)
  for (let k = from; ; k++) {
    writer.mark(names.id(keyOf(k)))
    words[AT + me] = k + 1 - from
  }
}

async function readBack({ rounds, seed }) {
  const random = randomFrom(seed)
  const names = KeyDictionary.create()
  const tracker = await DirtyTracker.create()
  const words = new Int32Array(new SharedArrayBuffer((AT + rounds) * 4))
  const errors = []
  let read = 0
  for (let round = 0; round < rounds; round++) {
    // The half of them the one before it has marked too: their numbers are other threads'.
    const from = round * 1000
    const data = { handle: names.handle, tracker: tracker.handle, words, me: round, from }
    const worker = new Worker(new URL(import.meta.url), { workerData: data })
    worker.on('error', (error) => errors.push(`writer ${round}: ${error.stack}`))
    const exit = exitOf(worker, `the end of writer ${round}`)
    await until(() => words[AT + round] >= 300, 'some marks')
    await sleep(pick(random, 5))
    await within(worker.terminate(), 'terminate()')
    await exit
    await within(tracker.drained(), 'drained()')
    const epoch = await within(tracker.advanceEpoch(), 'an epoch')
    const marked = words[AT + round]
    const keys = new Set()
    for (const id of epoch.ids()) keys.add(Buffer.from(names.bytes(id)).toString('latin1'))
    for (let k = from; k < from + marked; k++)
      if (!keys.delete(Buffer.from(keyOf(k)).toString('latin1')))
        errors.push(`round ${round}: key ${k} of ${from + marked} was marked, and is missing`)
    keys.delete(Buffer.from(keyOf(from + marked)).toString('latin1')) // the call that it was in
    if (keys.size > 0)
      errors.push(`round ${round}: ${keys.size} keys that were not marked, ${[...keys][0]}`)
    read += marked
    epoch.commit()
  }
  const last = await within(tracker.stop(), 'stop()')
  if (last.size > 0) errors.push(`${last.size} keys came late`)
  return { errors: errors.slice(0, 5), rounds, read }
}

async function main() {
  const { seed = 1, kills = 14, rounds = 5 } = args
  const agreement = await agree({ kills, seed })
  verdict({ agreement, path: await readBack({ rounds, seed }) })
}
