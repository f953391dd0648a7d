/**
 * What a key costs that is read back from an epoch, in each of the ways there are: numbers, and
 * texts of each kind. ns a key; see bench.js.
 */
import { DirtyTracker } from '../../dist/index.js'
import { args, unlessQuick } from '../harness/args.js'
import { bench } from '../harness/bench.js'
import { nameOf, roomFor, tableOf, textIn, TEXTS } from '../harness/texts.js'

const KEYS = unlessQuick(100_000, 1000)
/** The text that a way is about; the epoch holds these keys only. */
const text = textIn(args.name)
const keys = text === undefined ? Array.from({ length: KEYS }, (_, id) => id) : tableOf(KEYS, text)
const room = text === undefined ? {} : roomFor(KEYS, text)
const tracker = await DirtyTracker.create({ aggregator: 'inline', ...room })
const writer = tracker.openWriter()
for (const key of keys) writer.mark(key)
const epoch = await tracker.advanceEpoch()
if (epoch.size !== KEYS) throw new Error(`the epoch has ${epoch.size} keys of ${KEYS}`)
const plain = new Set(text === undefined ? epoch.bigints : keys)

const lastOf = (list) => {
  let last
  for (const key of list) last = key
  return last
}
const countIn = (set) => {
  let found = 0
  for (let i = 0; i < KEYS; i++) if (set.has(keys[i])) found++
  return found
}
const ofTexts = Object.fromEntries(
  TEXTS.flatMap((one) => [
    [`Set<string>, for of, ${nameOf(one)}`, () => lastOf(plain)],
    [`strings(), ${nameOf(one)}`, () => lastOf(epoch.strings())],
    [`Set<string>, has(string), ${nameOf(one)}`, () => countIn(plain)],
    [`has(string), ${nameOf(one)}`, () => countIn(epoch)],
  ]),
)

bench(
  {
    'empty loop'() {
      let sum = 0
      for (let i = 0; i < KEYS; i++) sum ^= i
      return sum
    },
    ...ofTexts,
    'Set<bigint>, for of': () => lastOf(plain),
    lanes() {
      let sum = 0
      const lanes = epoch.pairs
      for (let i = 0; i < lanes.length; i += 2) sum ^= lanes[i] ^ lanes[i + 1]
      return sum
    },
    keys() {
      let last
      const bigints = epoch.bigints
      for (let i = 0; i < bigints.length; i++) last = bigints[i]
      return last
    },
    'ids()'() {
      let sum = 0
      for (const id of epoch.ids()) sum ^= id
      return sum
    },
    'for of': () => lastOf(epoch),
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
