/**
 * What a key costs that is read back from an epoch, in each of the ways there are. ns a key; see
 * bench.js.
 */
import { DirtyTracker } from '../../dist/index.js'
import { unlessQuick } from '../harness/args.js'
import { bench } from '../harness/bench.js'

const KEYS = unlessQuick(100_000, 1000)
const tracker = await DirtyTracker.create({ aggregator: 'inline' })
const writer = tracker.openWriter()
for (let id = 0; id < KEYS; id++) writer.mark(id)
const epoch = await tracker.advanceEpoch()
const plain = new Set(epoch.bigints)

bench(
  {
    'empty loop'() {
      let sum = 0
      for (let i = 0; i < KEYS; i++) sum ^= i
      return sum
    },
    'Set<bigint>, for of'() {
      let last
      for (const key of plain) last = key
      return last
    },
    lanes() {
      let sum = 0
      const lanes = epoch.pairs
      for (let i = 0; i < lanes.length; i += 2) sum ^= lanes[i] ^ lanes[i + 1]
      return sum
    },
    keys() {
      let last
      const keys = epoch.bigints
      for (let i = 0; i < keys.length; i++) last = keys[i]
      return last
    },
    'ids()'() {
      let sum = 0
      for (const id of epoch.ids()) sum ^= id
      return sum
    },
    'for of'() {
      let last
      for (const key of epoch) last = key
      return last
    },
    'forEach()'() {
      let sum = 0
      epoch.forEachPair((lo, hi) => (sum ^= lo ^ hi))
      return sum
    },
    'has(lo, hi)'() {
      let found = 0
      for (let id = 0; id < KEYS; id++) if (epoch.hasPair(id, 0)) found++
      return found
    },
  },
  KEYS,
)
await tracker.stop()
