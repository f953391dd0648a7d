/**
 * Marks allocate nothing: the heap before and after millions of them, against the same loop
 * without.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { DirtyTracker } from '../../../dist/index.js'
import { args, verdict } from './support.mjs'

setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')
const { marks = 5_000_000 } = args
const PIECE = 10_000

const tracker = await DirtyTracker.create({ maxKeysPerEpoch: 10_000 })
const writer = tracker.openWriter()
let kept
const sink = new Int32Array(2)

const loops = {
  nothing(n) {
    for (let i = 0; i < n; i++) {
      sink[0] = i % 5000
      sink[1] ^= sink[0]
    }
  },
  lanes(n) {
    for (let i = 0; i < n; i++) writer.markPair(i % 5000, i & 3)
  },
  ids(n) {
    for (let i = 0; i < n; i++) writer.mark(i % 5000)
  },
  /** What one 16-byte object a mark would show as. */
  objects(n) {
    for (let i = 0; i < n; i++) kept = { i }
    sink[0] = kept.i
  },
}

/**
 * Bytes that a loop leaves on the way and at the end. A piece of it makes less garbage than a
 * collection of young objects waits for, even at 16 bytes a mark: none is hidden by one in between.
 */
function measure(loop) {
  let allocated = 0
  gc()
  const atFirst = process.memoryUsage().heapUsed
  for (let left = marks; left > 0; left -= PIECE) {
    gc({ type: 'minor' })
    const before = process.memoryUsage().heapUsed
    loop(PIECE)
    allocated += process.memoryUsage().heapUsed - before
  }
  gc()
  return { allocated, kept: process.memoryUsage().heapUsed - atFirst }
}

// Compiled, and with every buffer that is made once.
for (const loop of Object.values(loops)) for (let i = 0; i < 5; i++) loop(200_000)
const results = {}
for (const [name, loop] of Object.entries(loops)) results[name] = measure(loop)
const { writers } = tracker.stats()
await tracker.stop()
verdict({ marks, ...results, marked: writers[0].marked })
