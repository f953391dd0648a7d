/**
 * A writer that calls everything there is, and dies in the one call and in the one way that it is
 * told.
 */
import { workerData } from 'node:worker_threads'
import { fingerprint, openWriter, TxnBuffer, withWriter } from '../../../dist/index.js'
import {
  CALLS,
  hookAtomics,
  INSIDE,
  KEYS,
  ROUNDS,
  store,
  STUCK,
  textOf,
  TEXTS,
} from './chaos-calls.mjs'
import { pick, randomFrom, sleep } from './threads.mjs'

const { handle, marker, call: fatal, way, words, named, values, promised, seed } = workerData
const random = randomFrom(seed)
const never = () => undefined

// ------------------------------------------------------------------------------------- the journal
/** Some of the keys, each once. */
function drawn(max = 6, from = TEXTS) {
  const keys = new Set()
  for (let left = 1 + pick(random, max); left > 0; left--)
    keys.add(from + pick(random, KEYS - from))
  return [...keys]
}

const name = (keys) => {
  for (const key of keys) store(named, key, 1)
}
const write = (keys) => {
  for (const key of keys) store(values, key, values[key] + 1)
}
const promise = (keys) => {
  for (const key of keys) store(promised, key, values[key])
}

/** First the write, then the mark: what was written is promised when the mark has answered true. */
function change(keys, mark) {
  name(keys)
  write(keys)
  if (mark(keys)) promise(keys)
}

/**
 * First the mark, then the write, in a batch: promised as soon as it is staged and written,
 * whatever happens next.
 */
function changeInBatch(keys, inside) {
  name(keys)
  for (const key of keys) mark(writer, key)
  inside()
  write(keys)
  promise(keys)
  inside()
}

const mark = (to, key) => (key < TEXTS ? to.mark(textOf(marker, key)) : to.markPair(key, marker))
const idOf = (key) => marker * 2 ** 32 + key
const lanesOf = (keys) => Int32Array.from(keys.flatMap((key) => [key, marker]))

/** A list whose last key is read by a getter of the caller's. */
function listOf(keys, inside) {
  const list = keys.map(idOf)
  const value = list.at(-1)
  Object.defineProperty(list, list.length - 1, {
    get() {
      inside()
      return value
    },
  })
  return list
}

const signalWith = (inside) => ({
  get aborted() {
    inside()
    return false
  },
  addEventListener: never,
  removeEventListener: never,
})

// --------------------------------------------------------------------------------------- the calls
const buffer = new TxnBuffer(0)
let transaction = 0

/**
 * A writer, or undefined: a slot is free again once the aggregator has handled its close, and it
 * may be about to start.
 */
function tryOpen() {
  try {
    return openWriter(handle)
  } catch (error) {
    if (error.code !== 'ERR_DIRTYRING_NO_WRITER_SLOT') throw error
    return undefined
  }
}

let writer
async function reopen() {
  while ((writer = tryOpen()) === undefined) await sleep(2)
}

function gather(keys) {
  name(keys)
  write(keys)
  buffer.reset(++transaction)
  for (const key of keys) buffer.markPair(key, marker)
}

const markAll = (to) => (keys) => keys.every((key) => mark(to, key))

/**
 * What withWriter() may throw: no slot is free for a writer; with onFull 'reject', the ring is
 * full, and what was marked stays staged.
 */
function unlessFull(error) {
  if (error.code !== 'ERR_DIRTYRING_STALLED' && error.code !== 'ERR_DIRTYRING_NO_WRITER_SLOT')
    throw error
}

const calls = {
  openWriter() {
    const another = tryOpen()
    if (another === undefined) return
    change(drawn(), markAll(another))
    another.close()
  },
  'mark an id': () => change(drawn(1), ([key]) => writer.mark(idOf(key))),
  markPair: () => change(drawn(1), ([key]) => writer.markPair(key, marker)),
  'mark text': () => change([pick(random, TEXTS)], ([key]) => writer.mark(textOf(marker, key))),
  'mark bytes': () =>
    change([pick(random, TEXTS)], ([key]) => writer.mark(Buffer.from(textOf(marker, key)))),
  'mark a fingerprint': () =>
    change([pick(random, TEXTS)], ([key]) => writer.mark(fingerprint(textOf(marker, key)))),
  markMany: (inside) => change(drawn(), (keys) => writer.markMany(listOf(keys, inside))),
  'markMany, not atomic': (inside) =>
    change(drawn(40), (keys) => writer.markMany(listOf(keys, inside), { atomic: false })),
  markPairs: () => change(drawn(), (keys) => writer.markPairs(lanesOf(keys))),
  batch: (inside) => writer.batch(() => changeInBatch(drawn(6, 0), inside)),
  'batch in a batch': (inside) =>
    writer.batch(() => {
      changeInBatch(drawn(6, 0), never)
      writer.batch(() => changeInBatch(drawn(6, 0), inside))
    }),
  tagTxn() {
    change(drawn(), markAll(writer))
    writer.tagTxn(++transaction)
  },
  flush() {
    change(drawn(), markAll(writer))
    writer.flush()
  },
  flushTo() {
    const keys = drawn()
    gather(keys)
    if (buffer.flushTo(writer)) promise(keys)
  },
  'flushTo, not atomic'() {
    const keys = drawn(40)
    gather(keys)
    if (buffer.flushTo(writer, { atomic: false })) promise(keys)
  },
  waitForRoom: (inside) => writer.waitForRoom(1 + pick(random, 60), { signal: signalWith(inside) }),
  withWriter(inside) {
    try {
      withWriter(handle, (each) => {
        change(drawn(), markAll(each))
        inside()
      })
    } catch (error) {
      unlessFull(error)
    }
  },
  async 'withWriter, async'(inside) {
    try {
      await withWriter(handle, async (each) => {
        change(drawn(), markAll(each))
        await null
        inside()
        change(drawn(), markAll(each))
      })
    } catch (error) {
      unlessFull(error)
    }
  },
  close() {
    change(drawn(), markAll(writer))
    writer.close()
  },
  markEverything() {
    const keys = drawn()
    write(keys)
    writer.markEverything()
    promise(keys)
  },
}

/** Before a call: with room for what it marks, a mark inside a batch does not throw. */
const ROOM = { batch: 6, 'batch in a batch': 12 }

async function run(call, inside) {
  if (call in ROOM) await writer.waitForRoom(ROOM[call])
  await calls[call](inside)
  if (writer.closed) await reopen()
}

// --------------------------------------------------------------------------------------- the death
/** Accesses to shared memory that are left before an endless loop begins; 0: it does not. */
let fuse = 0
if (way === 'loop') {
  hookAtomics(() => {
    if (fuse > 0 && --fuse === 0) stick()
  })
}

function stick() {
  store(words, STUCK, 1)
  for (;;);
}

function die() {
  if (way === 'exit') process.exit(0)
  if (way === 'throw') throw new Error('dies')
  if (way === 'loop') stick()
}

const hoard = []
/** The memory that is too much comes little by little, with calls in between. */
function hoardMore() {
  for (let left = 60; left > 0; left--) hoard.push(new Array(100).fill(left))
}

/** The call, so many frames down: where the stack ends in it, it throws a RangeError. */
function atDepth(depth) {
  return depth <= 0 ? calls[fatal](never) : atDepth(depth - 1)
}

function depthOfStack() {
  let depth = 0
  const dive = () => {
    depth++
    dive()
  }
  try {
    dive()
  } catch {
    return depth
  }
}

/** Other calls, as an application makes them. */
async function others() {
  const harmless = CALLS.filter(
    (call) => call !== 'markEverything' && call !== 'openWriter' && call !== 'close',
  )
  for (let left = pick(random, 4); left > 0; left--)
    await run(harmless[pick(random, harmless.length)], never)
}

async function theCall(inside) {
  if (fatal in ROOM) await writer.waitForRoom(ROOM[fatal])
  store(words, INSIDE, 1)
  await calls[fatal](inside)
  store(words, INSIDE, 0)
  if (writer.closed) await reopen()
}

async function theLastCall() {
  if (fatal in ROOM) await writer.waitForRoom(ROOM[fatal])
  store(words, INSIDE, 1)
  if (way === 'overflow') {
    for (let depth = depthOfStack() * 0.8; ; depth += 1 + pick(random, 4)) {
      await atDepth(depth)
      if (writer.closed) await reopen()
      if (fatal in ROOM) await writer.waitForRoom(ROOM[fatal])
    }
  }
  fuse = way === 'loop' ? 1 + pick(random, 12) : 0
  let times = 1 + pick(random, 2)
  await calls[fatal](() => --times === 0 && die())
  die()
}

await reopen()
const lastRound = 2 + pick(random, 5)
for (let round = 1; ; round++) {
  store(words, ROUNDS, round)
  if (way === 'terminate' || way === 'heap') {
    if (round % 300 === 1) await others()
    if (way === 'heap' && round > lastRound) {
      await theCall(hoardMore)
      hoardMore()
    } else await theCall(never)
    if (fatal === 'markEverything') await sleep(1)
  } else {
    await others()
    if (round === lastRound) await theLastCall()
    await theCall(never)
  }
  // the flush clock runs, too
  if (round % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
}
