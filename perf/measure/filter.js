/**
 * The filter of a superset epoch by itself: one of `mib` MiB that takes `keys` keys, in batches of
 * 64. ns a key, and the part of all lookups of other keys that find one, beside what the fill says.
 * Prints one JSON line.
 */
import {
  falsePositivesOf,
  filterCount,
  filterHas,
  filterPairs,
  filterShift,
  filterUnite,
  filterWords,
} from '../../dist/set/filter.js'
import { secretsAt, secretsOf } from '../../dist/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../dist/set/native/native.js'
import { args, report, unlessQuick } from '../harness/args.js'

const { keys, native } = args
const cells = 2 ** unlessQuick(21, 11)
const count = unlessQuick(keys, keys / 1024) & ~63
const LOOKUPS = unlessQuick(4_000_000, 20_000)
const BATCH = 128

const size = BATCH + 2 * cells * 2
const memory = reserveNative((size + SCRATCH_WORDS) * 4)
const words = new Int32Array(memory.buffer)
const kernel = native ? nativeKernel(memory, secretsAt(secretsOf(5), 0), size) : undefined
const of = { words, shift: filterShift(cells), fill: 0, native: kernel }
const filter = { ...of, at: BATCH }
const other = { ...of, at: BATCH + cells * 2 }
words.fill(0)

/** Numbers in a row, as ids often are. */
let next = 0
const insert = timed(count, () => {
  for (let done = 0; done < count; done += 64) {
    for (let i = 0; i < BATCH; i += 2) words[i] = next++
    filterPairs(filter, words, 0, BATCH)
  }
})
let wrong = 0
const has = timed(LOOKUPS, () => {
  for (let i = 0; i < LOOKUPS; i++) if (filterHas(filter, i, 1)) wrong++
})
const unite = timed(1, () => filterUnite(other, filter.at, 0, filterWords(filter)))
const recount = timed(1, () => filterCount(other))
report({
  insert,
  has,
  uniteMs: unite / 1e6,
  countMs: recount / 1e6,
  bitsSet: filter.fill / (filterWords(filter) * 32),
  wrong: wrong / LOOKUPS,
  said: falsePositivesOf(filter.fill / (filterWords(filter) * 32)),
})

/** ns for each of so many. */
function timed(n, work) {
  const began = performance.now()
  work()
  return ((performance.now() - began) * 1e6) / n
}
