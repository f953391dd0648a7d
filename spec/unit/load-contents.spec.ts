import { describe, expect, it } from '@jest/globals'
import { loadContents, type SlotContent } from '../../lib/aggregator/load.js'
import { textsOf } from '../../lib/epochs/common.js'
import { filterOf } from '../../lib/epochs/common.js'
import {
  epochAt,
  FORM_EXACT,
  FORM_FILTER,
  GATHERED_MAX,
  GATHERED_TEXTS,
  JOB,
} from '../../lib/memory/map.js'
import type { Memory } from '../../lib/memory/memory.js'
import { readSealedSlot } from '../../lib/memory/slot.js'
import { filterHas } from '../../lib/set/filter.js'
import { containsText, recordWords } from '../../lib/set/text-set.js'
import { digest, hashWords } from '../../lib/text/murmur.js'
import { logOf, type MemoryOptions, smallMemory } from '../support/steps.js'
import { encoded } from '../support/text-sets.js'

const SLOT = 1
const EPOCH = 7

/** What an epoch slot with these numbers and texts holds. */
function content(numbers: readonly number[], texts: readonly string[]): SlotContent {
  const records = texts.flatMap((text) => {
    const { head, words } = encoded(text)
    return [0, head, ...words]
  })
  return {
    flags: 0,
    namespaces: [],
    form: FORM_EXACT,
    pairs: Int32Array.from(numbers.flatMap((id) => [id, 0])),
    records: Int32Array.from(records),
    filter: new Int32Array(0),
  }
}

/**
 * Loads into slot 1, with so many words of slot 0 for texts. Fails if a word behind them changes, or
 * one of slot 2.
 */
function load(memory: Memory, contents: readonly SlotContent[], stagingWords: number): void {
  const { words, layout } = memory
  const staging = epochAt(layout, 0) + layout.arena
  const end = epochAt(layout, SLOT)
  words.fill(-99, staging, end)
  words.fill(-99, epochAt(layout, SLOT + 1))
  loadContents(memory, SLOT, EPOCH, contents, staging, stagingWords)
  for (const others of [
    words.subarray(staging + stagingWords, end),
    words.subarray(epochAt(layout, SLOT + 1)),
  ])
    expect(others.every((word) => word === -99)).toBe(true)
}

/** What the slot says of these texts, in the table or in the filter. */
function found(memory: Memory, texts: readonly string[]): string[] {
  const header = readSealedSlot(memory, SLOT, EPOCH)
  return texts.filter((text) => {
    const { head, words } = encoded(text)
    if (header.form === FORM_EXACT)
      return header.textCount > 0 && containsText(textsOf(memory, SLOT, header), words, head)
    hashWords(words, head >>> 1, 0)
    return filterHas(filterOf(memory, SLOT), digest[0], digest[1])
  })
}

const wordsOf = (text: string): number => recordWords(encoded(text).head)

const ROOM: MemoryOptions = {
  maxKeysPerEpoch: 4096,
  maxStringsPerEpoch: 1024,
  maxStringBytesPerEpoch: 2 ** 14,
}

describe('loadContents()', () => {
  it('C7: takes texts of any length, however few words there are to bring them in', () => {
    const texts = ['', 'a', 'four', 'five!', 'x'.repeat(20), 'y'.repeat(20), 'z'.repeat(41), 'b']
    const all = texts.reduce((sum, text) => sum + wordsOf(text), 0)
    const longest = Math.max(...texts.map(wordsOf))
    for (let stagingWords = 0; stagingWords <= all + 1; stagingWords++) {
      const memory = smallMemory(ROOM)
      load(memory, [content([5], texts)], stagingWords)
      const header = readSealedSlot(memory, SLOT, EPOCH)
      // With a text that could not be brought in, the epoch is a superset, and has all.
      const isWhole = stagingWords >= longest
      expect([stagingWords, header.form]).toEqual([
        stagingWords,
        isWhole ? FORM_EXACT : FORM_FILTER,
      ])
      expect(found(memory, texts)).toEqual(texts)
      if (!isWhole) continue
      expect(header.textCount).toBe(texts.length)
      expect(found(memory, ['c', 'x'.repeat(19)])).toEqual([])
    }
  })

  it('C7: takes more texts and numbers than one call of the kernel does', () => {
    for (const count of [1, 0, -1].map((less) => 3 * GATHERED_MAX - less)) {
      const memory = smallMemory(ROOM)
      const { words } = memory
      const numbers = Array.from({ length: count }, (_, i) => i)
      const texts = numbers.map((i) => `text ${i}`)
      expect(JOB).toBe(GATHERED_TEXTS + GATHERED_MAX)
      load(memory, [content(numbers, texts)], 2 ** 11)
      expect(words[JOB]).toBe(0)
      const header = readSealedSlot(memory, SLOT, EPOCH)
      expect([header.form, header.count, header.textCount]).toEqual([FORM_EXACT, count, count])
      expect(logOf(memory, SLOT).map(Number)).toEqual(numbers)
      expect(found(memory, texts)).toEqual(texts)
    }
  })

  it('C7: unites contents: what both have is there once', () => {
    const memory = smallMemory(ROOM)
    load(memory, [content([1, 2], ['a', 'b']), content([2, 3], ['b', 'c'])], 100)
    const header = readSealedSlot(memory, SLOT, EPOCH)
    expect(logOf(memory, SLOT)).toEqual([1n, 2n, 3n])
    expect([header.textCount, header.textBytes]).toEqual([3, 3])
    expect(found(memory, ['a', 'b', 'c', 'd'])).toEqual(['a', 'b', 'c'])
  })

  it('C7: marks a text by its fingerprint in a tracker that takes none, and stays exact', () => {
    const memory = smallMemory({ ...ROOM, maxStringsPerEpoch: 0 })
    load(memory, [content([4], ['a text', 'another'])], 0)
    const header = readSealedSlot(memory, SLOT, EPOCH)
    expect([header.form, header.textCount]).toEqual([FORM_EXACT, 0])
    const fingerprints = ['a text', 'another'].map((text) => {
      const { head, words } = encoded(text)
      hashWords(words, head >>> 1, 0)
      return new BigUint64Array(digest.slice(0, 2).buffer)[0]
    })
    expect(logOf(memory, SLOT)).toEqual([4n, ...fingerprints])
  })
})
