/**
 * What a tracker reserves, and how much of it is resident with one epoch of so many distinct keys;
 * the growth of a Set<bigint> and a Set<number> of as many. With `text` the keys are text, and the
 * heap of a Set<string> stands beside them. Prints one JSON line, bytes.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, report } from '../harness/args.js'
import { roomFor, tableOf, textOf } from '../harness/texts.js'

const { distinct, maxKeysPerEpoch, text } = args
/** Of the process, garbage aside. */
const resident = () => (globalThis.gc(), globalThis.gc(), process.memoryUsage.rss())
const heap = () => (globalThis.gc(), globalThis.gc(), process.memoryUsage().heapUsed)
const grown = async (act, size = resident) => {
  const before = size()
  const kept = await act()
  return { bytes: size() - before, kept }
}

const keys = text === undefined ? pairs() : texts()
const { bytes: created, kept: tracker } = await grown(() =>
  DirtyTracker.create({ aggregator: 'inline', ...keys.options }),
)
const writer = tracker.openWriter()
const { bytes: lane } = await grown(async () => {
  for (let i = 0; i < 64 * 1024; i++) keys.markFirst(i & 1) // all of the lane's pages
  await tracker.drained()
})
const { bytes: epoch } = await grown(async () => {
  for (let i = 0; i < distinct; i++) keys.mark(i)
  await tracker.drained()
})
report({ reserved: tracker.stats().bytes.total, created, lane, epoch, ...(await keys.sets()) })
await tracker.stop()

function pairs() {
  return {
    options: { maxKeysPerEpoch },
    markFirst: (i) => writer.markPair(1, i),
    mark: (i) => writer.markPair(Math.imul(i, 0x9e3779b1), i),
    async sets() {
      const bigints = await setOf(
        (i) => (BigInt(i) << 32n) | BigInt(Math.imul(i, 0x9e3779b1) >>> 0),
      )
      const numbers = await setOf((i) => i * 2 ** 20)
      return { bigints, numbers }
    },
  }
}

function texts() {
  // Before, so that the heap does not grow while they are marked.
  const table = tableOf(distinct, text)
  return {
    options: roomFor(distinct, text),
    markFirst: (i) => writer.mark(table[i]),
    mark: (i) => writer.mark(table[i]),
    sets: async () => ({ strings: await setOf((i) => textOf(i, text), heap) }),
  }
}

async function setOf(keyAt, size) {
  const { bytes, kept } = await grown(() => {
    const set = new Set()
    for (let i = 0; i < distinct; i++) set.add(keyAt(i))
    return set
  }, size)
  if (kept.size !== distinct) throw new Error(`the set has ${kept.size} keys of ${distinct}`)
  return bytes
}
