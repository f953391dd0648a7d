import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { SharedWords } from '../../lib/memory/map.js'
import { arenaFor, textCellsFor } from '../../lib/memory/table-size.js'
import { shiftFor } from '../../lib/set/kernel.js'
import { secretsOf, textSecretsAt } from '../../lib/set/mix.js'
import {
  containsText,
  HEAD_AT,
  indexTexts,
  insertTexts,
  recordWords,
  textBytesOf,
  type TextSet,
  textsHold,
} from '../../lib/set/text-set.js'
import { bytesOfOneHash } from '../support/collisions.js'
import { nameOf, range } from '../support/in-process.js'
import { type Encoded, encoded, TEXTS, twoOfOneKeyedHash } from '../support/text-sets.js'

type Text = string | Uint8Array

const secrets = textSecretsAt(secretsOf(7), 5)

/** A set, a list of places, and room for the texts that go in: all in one array, as in a tracker. */
class Held {
  readonly set: TextSet
  readonly #list: number
  readonly #source: number

  constructor(maxTexts: number, maxBytes: number, list: number, sourceWords: number) {
    const cells = textCellsFor(maxTexts)
    const table = 8
    const arena = table + cells * 2
    this.#list = arena + arenaFor(maxTexts, maxBytes)
    this.#source = this.#list + list
    const words = new Int32Array(this.#source + sourceWords) as unknown as SharedWords
    const shift = shiftFor(cells)
    const counts = { count: 0, bytes: 0, end: 0, native: undefined }
    this.set = { words, arena, table, shift, limit: maxTexts, maxBytes, ...counts, ...secrets }
  }

  /** Inserts texts as the aggregator does, going on behind one that has no room. */
  insert(texts: readonly Encoded[]): number[] {
    const { words } = this.set
    let at = this.#source
    texts.forEach(({ head, words: payload }, i) => {
      words[this.#list + i] = at
      words[at] = -1 // a lane's tag: of no use to the set
      words[at + HEAD_AT] = head
      words.set(payload, at + 2)
      at += recordWords(head)
    })
    const left: number[] = []
    for (let i = 0; i < texts.length; i++) {
      i = insertTexts(this.set, this.#list, i, texts.length)
      if (i < texts.length) left.push(i)
    }
    return left
  }

  has(key: Text): boolean {
    const { head, words } = encoded(key)
    return containsText(this.set, words, head)
  }

  get records(): Encoded[] {
    const { words, arena, end } = this.set
    const records: Encoded[] = []
    for (let at = arena; at < arena + end; at += recordWords(words[at + HEAD_AT])) {
      const head = words[at + HEAD_AT]
      records.push({ head, words: Int32Array.from(words.subarray(at + 2, at + recordWords(head))) })
    }
    return records
  }

  get cells(): Int32Array {
    const { words, table, shift } = this.set
    return Int32Array.from(words.subarray(table, table + 2 ** (33 - shift)))
  }

  /** Cells from the one that a text hashes to up to the one that it is in, of all texts the most. */
  get longestProbe(): number {
    const { words, arena, table, shift, end } = this.set
    const mask = 2 ** (32 - shift) - 1
    let longest = 0
    for (let at = 0; at < end; at += recordWords(words[arena + at + HEAD_AT])) {
      let probe = 0
      const home = words[arena + at] >>> shift
      while (words[table + ((home + probe) & mask) * 2] !== at + 1) probe++
      longest = Math.max(longest, probe)
    }
    return longest
  }
}

function held(keys: readonly Text[], { room = keys.length, bytes = 2 ** 20 } = {}): Held {
  const texts = keys.map(encoded)
  const words = texts.reduce((sum, { head }) => sum + recordWords(head), 0)
  const all = new Held(Math.max(1, room), bytes, keys.length, words)
  all.insert(texts)
  return all
}

const everyText: Text[] = [
  ...TEXTS.map(([, text]) => text),
  ...TEXTS.map(([, text]) => new TextEncoder().encode(text)),
  Uint8Array.of(0xed, 0xa0, 0x80),
]

describe('a set of texts', () => {
  it('holds each text once, in order of insertion, with its length and kind', () => {
    const distinct = [...new Map(everyText.map((key) => [nameOf(key), key])).values()]
    const all = held([...everyText, ...everyText], { room: everyText.length, bytes: 2 ** 21 })
    expect(all.records).toEqual(distinct.map(encoded))
    const bytes = distinct.reduce((sum, key) => sum + textBytesOf(encoded(key).head), 0)
    expect([all.set.count, all.set.bytes]).toEqual([distinct.length, bytes])
    for (const key of everyText) expect(all.has(key)).toBe(true)
    const less = held(everyText.slice(1), { bytes: 2 ** 21 })
    expect([less.has(''), less.has(new Uint8Array(0))]).toEqual([false, true])
  })

  it('tells a text from bytes of the same content, and from the same with a zero more', () => {
    for (const key of ['', 'abc', 'abcd', '\0']) {
      const all = held([key])
      const bytes = new TextEncoder().encode(key)
      expect([all.has(key), all.has(bytes), all.has(`${key}\0`)]).toEqual([true, false, false])
      const other = held([bytes])
      expect([other.has(bytes), other.has(key)]).toEqual([true, false])
    }
  })

  it('tells two texts of one keyed hash apart, wherever they stand', () => {
    const [one, two] = twoOfOneKeyedHash(secrets)
    expect(one).not.toBe(two)
    for (const [first, second] of [
      [one, two],
      [two, one],
    ]) {
      const all = held([first, 'another', second, first, second])
      expect([all.set.count, all.has(first), all.has(second)]).toEqual([3, true, true])
      const { cells } = all
      const hashes = range(0, cells.length / 2).filter((i) => cells[2 * i] !== 0)
      expect(new Set(hashes.map((i) => cells[2 * i + 1])).size).toBe(2)
      expect(held([first]).has(second)).toBe(false)
    }
  })

  it('is not crowded by texts of one public hash: no more than by others', () => {
    const probe = held(bytesOfOneHash(3000)).longestProbe
    const other = held(Array.from({ length: 3000 }, (_, i) => `key:${i}`)).longestProbe
    expect(probe).toBeLessThan(4 * other + 40)
  })

  it('takes exactly as many texts, and as many bytes, as it may, and a shorter one after one too long', () => {
    const keys = Array.from({ length: 8 }, (_, i) => `k${i}`)
    const texts = [...keys, 'k8', 'k0'].map(encoded)
    const all = new Held(8, 100, 10, 100)
    expect(all.insert(texts)).toEqual([8])
    expect([all.set.count, all.set.bytes, all.has('k8'), all.has('k7')]).toEqual([
      8,
      16,
      false,
      true,
    ])

    const few = new Held(8, 10, 10, 100)
    expect(few.insert(['12345678', 'abc', 'de', '', 'f', '12345678'].map(encoded))).toEqual([1, 4])
    expect(few.records).toEqual(['12345678', 'de', ''].map(encoded))
    expect([few.set.bytes, few.has('abc'), few.has('f'), few.has('')]).toEqual([
      10,
      false,
      false,
      true,
    ])
  })

  it('indexes its records again into a table of any size, with the same answers', () => {
    const keys = [...everyText.slice(0, 20), ...Array.from({ length: 300 }, (_, i) => `row ${i}`)]
    const all = held(keys, { room: 320, bytes: 2 ** 21 })
    const { set } = all
    const { end } = set
    const before = all.cells
    for (const cells of [1024, 512]) {
      set.words.fill(0, set.table, set.table + before.length)
      set.shift = shiftFor(cells)
      indexTexts(set, 0, end)
      for (const key of keys) expect(all.has(key)).toBe(true)
      expect(all.has('row 300')).toBe(false)
    }
  })

  it.each<[holds: boolean, words: number, count: number, bytes: number]>([
    [true, 7, 2, 6],
    [false, 6, 2, 6],
    [false, 8, 2, 6],
    [false, 7, 1, 6],
    [false, 7, 3, 6],
    [false, 7, 2, 5],
    [false, 7, 2, 7],
  ])('holds together: %s of %d words as %d texts of %d bytes', (holds, size, count, bytes) => {
    const { words, arena } = held(['abcde', 'x']).set
    expect(textsHold(words, arena, arena + size, count, bytes)).toBe(holds)
  })

  it('answers as a plain Set does', () => {
    const alphabet = fc.constantFrom('', 'a', '\0', '\ud800', '\udc00', '\u{1f680}', 'abcd', 'é')
    const text = fc.array(alphabet, { maxLength: 4 }).map((parts) => parts.join(''))
    const bytes = fc.uint8Array({ max: 2, maxLength: 9 })
    const key = fc.oneof<[fc.Arbitrary<Text>, fc.Arbitrary<Text>]>(text, bytes)
    fc.assert(
      fc.property(
        fc.array(key, { maxLength: 60 }),
        fc.array(key, { maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 120 }),
        (keys, others, maxTexts, maxBytes) => {
          const model = new Map<string, Text>()
          let sum = 0
          for (const each of keys) {
            const { head } = encoded(each)
            const isIn = model.has(nameOf(each))
            if (isIn || model.size === maxTexts || sum + textBytesOf(head) > maxBytes) continue
            model.set(nameOf(each), each)
            sum += textBytesOf(head)
          }
          const all = new Held(maxTexts, maxBytes, keys.length, 600)
          all.insert(keys.map(encoded))
          expect(all.records).toEqual([...model.values()].map(encoded))
          expect([all.set.count, all.set.bytes]).toEqual([model.size, sum])
          for (const each of [...keys, ...others])
            expect([each, all.has(each)]).toEqual([each, model.has(nameOf(each))])
        },
      ),
    )
  })
})
