import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { randomFrom } from '../../lib/demo/random.js'
import { fingerprint } from '../../lib/index.js'
import type { SharedWords } from '../../lib/memory/map.js'
import {
  falsePositivesOf,
  type Filter,
  filterCount,
  filterFold,
  filterHas,
  filterPairs,
  filterRecords,
  filterShift,
  filterTexts,
  filterUnite,
  filterWords,
  hashPayload,
  keysIn,
} from '../../lib/set/filter.js'
import { secretsAt, secretsOf } from '../../lib/set/mix.js'
import { nativeKernel, reserveNative, SCRATCH_WORDS } from '../../lib/set/native/native.js'
import { encodeText, scratch } from '../../lib/text/encode.js'
import { digest } from '../../lib/text/murmur.js'
import { lanesOf } from '../support/steps.js'

const SOURCE = 2 ** 15

/** Words behind the filters, all of whose bits are set. */
const BEHIND = 8

/** Two empty filters with the memory of so many cells, behind the source: in each kernel. */
function twins(cells: number): Filter[][] {
  const size = SOURCE + cells * 4 + BEHIND
  const memory = reserveNative((size + SCRATCH_WORDS) * 4)
  const native = nativeKernel(memory, secretsAt(secretsOf(1), 0), size)
  if (memory === undefined || native === undefined) throw new Error('WebAssembly is not available')
  const shared = new Int32Array(memory.buffer, 0, size) as SharedWords
  const own = new Int32Array(size) as unknown as SharedWords
  for (const words of [shared, own]) words.fill(-1, size - BEHIND)
  const two = (of: Pick<Filter, 'words' | 'native'>): Filter[] =>
    [SOURCE, SOURCE + cells * 2].map((at) => ({ ...of, at, shift: filterShift(cells), fill: 0 }))
  return [two({ words: own, native: undefined }), two({ words: shared, native })]
}

function expectSame([[ts, ts2], [wasm, wasm2]]: Filter[][]): void {
  expect([wasm.fill, wasm2.fill]).toEqual([ts.fill, ts2.fill])
  const [one, other] = [ts, wasm].map(({ words }) =>
    Buffer.from(words.buffer, words.byteOffset, words.byteLength),
  )
  expect(Buffer.compare(one, other)).toBe(0)
  for (const filter of [ts, wasm]) {
    const { fill } = filter
    filterCount(filter)
    expect(filter.fill).toBe(fill)
  }
}

const key = fc.oneof(
  fc.constantFrom(0n, 1n, 2n ** 32n, 2n ** 64n - 1n),
  fc.bigInt(0n, 2n ** 20n),
  fc.bigInt(0n, 2n ** 20n).map((id) => id << 32n),
  fc.bigInt(0n, 2n ** 64n - 1n),
)

const text = fc.oneof(
  fc.string({ maxLength: 70 }),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom('', '\ud800', 'a\udfffb', '\ud83d\ude00', 'é'.repeat(300)),
)

/** Where the list of the texts' places begins, and the first text's place in it. */
const LIST = 5
const FROM = 3

/** Stores the texts as a lane has them, behind room for their places; returns the places. */
function storeTexts(words: SharedWords, texts: string[]): number[] {
  let at = LIST + FROM + 256
  return texts.map((each) => {
    const place = at
    const bytes = encodeText(each)
    words[at + 1] = bytes << 1
    for (let i = 0; i < (bytes + 3) >>> 2; i++) words[at + 2 + i] = scratch.words[i]
    at += 2 + ((bytes + 3) >>> 2)
    return place
  })
}

describe('A filter', () => {
  it('C15: has every pair and every text that went in, in both kernels, which leave the same bytes', () => {
    fc.assert(
      fc.property(
        fc.array(key, { maxLength: 300 }),
        fc.array(text, { maxLength: 40 }),
        fc.array(key, { maxLength: 60 }),
        fc.constantFrom(4, 8, 64, 1024),
        (keys, texts, others, cells) => {
          const filters = twins(cells)
          const lanes = lanesOf(keys)
          const otherLanes = lanesOf(others)
          for (const [filter, second] of filters) {
            const { words } = filter
            words.set(lanes)
            filterPairs(filter, words, 0, lanes.length)
            words.set(otherLanes)
            filterPairs(second, words, 0, otherLanes.length)
            words.set(storeTexts(words, texts), LIST + FROM)
            filterTexts(filter, LIST, FROM, FROM + texts.length)
          }
          expectSame(filters)
          for (const [filter, second] of filters) {
            const { words } = filter
            const behind = words.slice(second.at)
            filterUnite(filter, second.at, 0, filterWords(filter))
            expect(words.slice(second.at).join()).toBe(behind.join())
            const missing: unknown[] = []
            for (const all of [lanes, otherLanes])
              for (let i = 0; i < all.length; i += 2)
                if (!filterHas(filter, all[i], all[i + 1])) missing.push([all[i], all[i + 1]])
            for (const each of texts) {
              encodeText(each)
              if (!filterHas(filter, digest[0], digest[1])) missing.push(each)
            }
            expect(missing).toEqual([])
            const { fill } = filter
            filterUnite(filter, second.at, 0, filterWords(filter))
            filterPairs(filter, otherLanes as unknown as SharedWords, 0, 0)
            expect(filter.fill).toBe(fill)
          }
          expectSame(filters)
        },
      ),
      { numRuns: 60 },
    )
  })

  it('takes long runs, and many texts, in one call', () => {
    const filters = twins(2 ** 18)
    for (const [filter, second] of filters) {
      const { words } = filter
      for (let i = 0; i < 12_000; i++) words.set([i, i & 3], i * 2)
      filterPairs(filter, words, 0, 24_000)
      const texts = Array.from({ length: 256 }, (_, i) => `user:${i}`.repeat(1 + (i % 9)))
      words.set(storeTexts(words, texts), LIST + FROM)
      filterTexts(second, LIST, FROM, FROM + 256)
    }
    const [[{ fill }, { fill: textFill }]] = filters
    expect(fill).toBeGreaterThan(85_000)
    expect(textFill).toBeGreaterThan(2000)
    expectSame(filters)
  })

  it('takes the records of texts up to their end, and not the one behind it', () => {
    const filters = twins(2 ** 10)
    for (const [filter, second] of filters) {
      const { words } = filter
      const places = storeTexts(words, ['abcde', '', 'user:7', 'not this one'])
      filterRecords(filter, places[0], places[3])
      words.set(places, LIST)
      filterTexts(second, LIST, 0, 3)
      const of = ({ at }: Filter) => words.slice(at, at + filterWords(filter))
      expect(of(filter)).toEqual(of(second))
      expect([filter.fill, second.fill]).toEqual([second.fill, second.fill])
    }
    expectSame(filters)
  })

  it.each([2 ** 4, 2 ** 6, 2 ** 8])('takes in a filter of 64 cells, with %d itself', (cells) => {
    const [[from]] = twins(2 ** 6)
    const [[to, wanted]] = twins(cells)
    const pairs = lanesOf([
      0n,
      5n,
      7n << 40n,
      ...Array.from({ length: 40 }, (_, i) => 3n ** BigInt(i)),
    ])
    for (const filter of [from, wanted])
      filterPairs(filter, pairs as unknown as SharedWords, 0, pairs.length)
    const other = from.words.slice(from.at, from.at + filterWords(from))
    const behind = to.words.slice(wanted.at)
    filterFold(to, other)
    expect(to.words.slice(wanted.at)).toEqual(behind)
    const folded = to.words.slice(to.at, wanted.at)
    if (cells <= 2 ** 6) expect(folded).toEqual(behind.slice(0, cells * 2))
    for (let block = 0; block < folded.length / 8; block++) {
      if (cells <= 2 ** 6) break
      const source = Math.floor((block * 2 ** 6) / cells) * 8
      expect(folded.slice(block * 8, block * 8 + 8)).toEqual(other.slice(source, source + 8))
    }
    for (let i = 0; i < pairs.length; i += 2)
      expect(filterHas(to, pairs[i], pairs[i + 1])).toBe(true)
  })

  it('says about how many keys are in it, a number also if all bits are set', () => {
    expect(keysIn(0.5, 512)).toBeCloseTo(64 * Math.LN2, 10)
    expect(keysIn(1, 512)).toBeCloseTo(64 * Math.log(512), 10)
    expect(keysIn(0, 512)).toBeCloseTo(0, 10)
  })

  it.each([4, 8, 2 ** 10, 2 ** 16, 2 ** 28])('of %d cells has all of their memory', (cells) => {
    const filter = { at: 0, shift: filterShift(cells), fill: 0, native: undefined }
    expect(filterWords(filter as Filter)).toBe(cells * 2)
  })

  it.each<[string, (i: number) => [number, number]]>([
    ['numbers in a row', (i) => [i, 0]],
    ['rows of tables', (i) => [i >>> 6, i & 63]],
    ['multiples of 2^16', (i) => [i << 16, i >>> 16]],
    ['high halves', (i) => [7, i]],
    ['pairs far apart', (i) => [Math.imul(i, 0x9e3779b1), Math.imul(i + 1, 0x85ebca6b)]],
  ])('is wrong as often as its fill says: %s', (_, pairOf) => {
    const [[filter]] = twins(2 ** 12)
    const n = 2 ** 13 // 8 a block, 16 bits a key, half of the bits
    for (let i = 0; i < 2 * n; i++) {
      filter.words.set(pairOf(i))
      filterPairs(filter, filter.words, 0, 2)
    }
    const random = randomFrom(9)
    let wrong = 0
    for (let i = 0; i < 60_000; i++)
      if (filterHas(filter, (random() * 2 ** 32) | 0, (random() * 2 ** 32) | 0)) wrong++
    const said = falsePositivesOf(filter.fill / (filterWords(filter) * 32))
    expect(wrong / 60_000 / said).toBeGreaterThan(0.8)
    expect(wrong / 60_000 / said).toBeLessThan(1.25)
  })

  it('says how often it is wrong, from nothing to always', () => {
    expect(falsePositivesOf(0)).toBe(0)
    expect(falsePositivesOf(1)).toBe(1)
    let last = 0
    for (let part = 0.001; part < 1; part += 0.001) {
      const now = falsePositivesOf(part)
      expect(now).toBeGreaterThanOrEqual(part ** 8)
      expect(now).toBeGreaterThan(last - 1e-13)
      expect(now).toBeLessThanOrEqual(1)
      last = now
    }
    // Poisson's sum, written out.
    const mean = -32 * Math.log(1 - 0.4)
    let sum = 0
    for (let n = 0, chance = Math.exp(-mean); n < 200; n++, chance *= mean / n)
      sum += chance * (1 - (31 / 32) ** n) ** 8
    expect(falsePositivesOf(0.4)).toBeCloseTo(sum, 10)
  })

  it("has of a text the hash that a writer stages, which is the text's fingerprint", () => {
    const out = new Int32Array(2)
    fc.assert(
      fc.property(text, (each) => {
        const bytes = encodeText(each)
        const [low, high] = digest
        hashPayload(scratch.words as unknown as SharedWords, 0, bytes << 1, out)
        expect([...out]).toEqual([low, high])
        if (each.isWellFormed())
          expect(fingerprint(each)).toBe((BigInt(high >>> 0) << 32n) | BigInt(low >>> 0))
      }),
    )
  })
})
