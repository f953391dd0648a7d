import { inspect } from 'node:util'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import type { KeyMessage } from '../../lib/cluster/decode.js'
import { type EpochLimits, KeyUnion } from '../../lib/cluster/union.js'
import { fingerprint, type Key } from '../../lib/index.js'
import type { SharedWords } from '../../lib/memory/map.js'
import { BLOCK_WORDS, filterPairs } from '../../lib/set/filter.js'
import { nameOf, range } from '../support/in-process.js'

const NOTHING: KeyMessage = {
  precision: 'exact',
  reason: undefined,
  everythingIn: [],
  isBigint: false,
  hasPrints: false,
  hidesTexts: false,
  pairs: new Uint32Array(0),
  strings: [],
  stringBytes: [],
  byteKeys: [],
  filter: undefined,
}

function messageOf(keys: readonly Key[]): KeyMessage {
  const numbers = keys.filter((key) => typeof key === 'number' || typeof key === 'bigint')
  const strings = keys.filter((key) => typeof key === 'string')
  return {
    ...NOTHING,
    pairs: new Uint32Array(BigUint64Array.from(numbers, BigInt).buffer),
    strings,
    stringBytes: strings.map((text) => Buffer.byteLength(text)),
    byteKeys: keys.filter((key) => key instanceof Uint8Array),
  }
}

/** A superset of numbers, as a filter of so many blocks. */
function supersetOf(ids: readonly bigint[], blocksLog2: number): KeyMessage {
  const words = new Int32Array(2 ** blocksLog2 * BLOCK_WORDS)
  const filter = { words: words as unknown as SharedWords, at: 0, shift: 31 - blocksLog2 }
  const pairs = new Int32Array(BigUint64Array.from(ids).buffer) as unknown as SharedWords
  filterPairs({ ...filter, fill: 0, native: undefined }, pairs, 0, pairs.length)
  return {
    ...NOTHING,
    precision: 'superset',
    reason: 'overflow',
    filter: { blocksLog2, from: 0, words },
  }
}

function unionOf(messages: readonly KeyMessage[], limits: EpochLimits = {}): KeyUnion {
  const union = new KeyUnion(limits)
  for (const message of messages) union.add(message)
  return union
}

const names = (keys: Iterable<Key>): string[] => Array.from(keys, nameOf).sort()

const anyKey = fc.oneof(
  fc.nat(100),
  fc.bigInt(0n, 2n ** 64n - 1n).filter((key) => key > BigInt(Number.MAX_SAFE_INTEGER)),
  fc.nat(100).map((n) => `/users/${n}`),
  fc.uint8Array({ maxLength: 3 }),
)

describe('a union of messages', () => {
  it('is one line for console.log(), without the keys', () => {
    const union = unionOf([messageOf([1, '/users/7'])])
    expect(inspect(union)).toBe("KeyUnion { size: 2, precision: 'exact' }")
  })

  it('is what a plain set of their keys is, in any order, and with repeats', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(anyKey, { maxLength: 30 }), { maxLength: 6 }),
        fc.array(anyKey, { maxLength: 10 }),
        (lists, others) => {
          const model = new Set(lists.flat().map(nameOf))
          const messages = lists.map(messageOf)
          const backwards = unionOf(messages.toReversed())
          const absorbing = new KeyUnion()
          absorbing.absorb(backwards)
          for (const union of [unionOf([...messages, ...messages]), backwards, absorbing]) {
            expect(names(union)).toEqual([...model].sort())
            expect([union.size, union.exact, union.falsePositives]).toEqual([model.size, true, 0])
            for (const key of [...lists.flat(), ...others])
              expect(union.has(key)).toBe(model.has(nameOf(key)))
          }
        },
      ),
      { numRuns: 60 },
    )
  })

  it('has no more keys than its limits say, and loses none of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(anyKey, { maxLength: 40 }), { maxLength: 6 }),
        fc.record({
          maxKeysPerEpoch: fc.integer({ min: 1, max: 40 }),
          maxStringsPerEpoch: fc.integer({ min: 1, max: 40 }),
          maxStringBytesPerEpoch: fc.integer({ min: 1, max: 300 }),
        }),
        (lists, limits) => {
          const union = unionOf(lists.map(messageOf), limits)
          const distinct = [...new Map(lists.flat().map((key) => [nameOf(key), key])).values()]
          const texts = distinct.filter(
            (key) => typeof key === 'string' || key instanceof Uint8Array,
          )
          const bytes = texts.reduce((sum, text) => sum + text.length, 0)
          const fits =
            distinct.length - texts.length <= limits.maxKeysPerEpoch &&
            texts.length <= limits.maxStringsPerEpoch &&
            bytes <= limits.maxStringBytesPerEpoch

          expect(distinct.every((key) => union.has(key))).toBe(true)
          expect(union.exact).toBe(fits)
          expect(union.reason).toBe(fits ? undefined : 'overflow')
          expect([...union.listed()].length).toBe(union.size)
          const listed = [...union.listed()].filter((key) => typeof key !== 'number')
          expect(listed.filter((key) => typeof key !== 'bigint').length).toBeLessThanOrEqual(
            limits.maxStringsPerEpoch,
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  it('is a superset beyond its limits, and everything once its filter is full', () => {
    const union = new KeyUnion({ maxKeysPerEpoch: 100 })
    const prints = range(0, 6000).map((id) => fingerprint(`id ${id}`))
    const add = (from: number, to: number): void => union.add(messageOf(prints.slice(from, to)))

    add(0, 100)
    expect([union.precision, union.size]).toEqual(['exact', 100])
    add(50, 100) // nothing new
    expect(union.precision).toBe('exact')
    add(100, 101)
    expect([union.precision, union.size, union.reason]).toEqual(['superset', 100, 'overflow'])
    add(101, 400)
    expect(union.precision).toBe('superset')
    expect(union.falsePositives).toBeGreaterThan(0)
    expect(union.falsePositives).toBeLessThan(0.05)
    expect(prints.slice(0, 400).every((print) => union.has(print))).toBe(true)
    add(400, 6000)
    expect([union.precision, union.falsePositives]).toEqual(['everything', 1])
    expect([union.has('never'), union.hasPair(1, 2)]).toEqual([true, true])
    union.clear()
    expect([union.precision, union.size, union.isEmpty, union.has(7)]).toEqual([
      'exact',
      0,
      true,
      false,
    ])
  })

  it('loses no key of filters of different sizes, whatever the order', () => {
    const idsOf = (from: number): bigint[] => range(from, 200).map((id) => fingerprint(`id ${id}`))
    const parts = [
      { ids: idsOf(0), blocksLog2: 3 },
      { ids: idsOf(200), blocksLog2: 9 },
      { ids: idsOf(400), blocksLog2: 6 },
    ]
    const orders = [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]
    const wrong = orders.map((order) => {
      const union = new KeyUnion({ maxKeysPerEpoch: 50 })
      union.add(messageOf([7]))
      for (const i of order) union.add(supersetOf(parts[i].ids, parts[i].blocksLog2))
      expect(parts.every(({ ids }) => ids.every((id) => union.has(id)))).toBe(true)
      expect([union.has(7), union.precision]).toEqual([true, 'superset'])
      return range(0, 5000).filter((id) => union.has(fingerprint(`other ${id}`))).length
    })
    // The large filters stay as precise as they came: the order does not matter.
    expect(new Set(wrong).size).toBe(1)
    expect(wrong[0]).toBeLessThan(1000)
  })

  it('keeps a filter that is larger than its own as it is, up to 16 MiB', () => {
    const ids = range(0, 100).map((id) => fingerprint(`id ${id}`))
    const union = unionOf([supersetOf(ids, 14)], { maxKeysPerEpoch: 1 })

    expect(union.falsePositives).toBeLessThan(1e-6)
    const others = range(100, 100).map((id) => fingerprint(`id ${id}`))
    const both = unionOf([supersetOf(ids, 19), supersetOf(others, 20)], { maxKeysPerEpoch: 1 })
    expect(both.precision).toBe('superset')
    expect([...ids, ...others].every((id) => both.has(id))).toBe(true)
    expect(range(0, 1000).filter((id) => both.has(fingerprint(`other ${id}`)))).toEqual([])
  })

  it('is everything where a filter has few bits left that are 0, or what is listed fills it', () => {
    const full = supersetOf([], 2)
    full.filter!.words.fill(-1)
    expect(unionOf([full], { maxKeysPerEpoch: 1 }).precision).toBe('everything')
    const union = unionOf([messageOf(range(0, 500).map((id) => `text ${id}`))], {
      maxKeysPerEpoch: 1,
    })
    expect(union.precision).toBe('exact')
    union.add(supersetOf([5n], 6))
    expect([union.precision, union.has('never')]).toEqual(['everything', true])
  })

  it('absorbs a superset, everything, and namespaces', () => {
    const ids = range(0, 100).map((id) => fingerprint(`id ${id}`))
    const some = unionOf([supersetOf(ids, 6)])
    some.everythingInNamespace(7, 'fault')
    const union = unionOf([messageOf([1, 'a'])])
    union.absorb(some)

    expect(ids.every((id) => union.has(id))).toBe(true)
    expect([union.has(1), union.has('a'), union.hasPair(9, 7)]).toEqual([true, true, true])
    expect([union.precision, union.reason, union.everythingIn]).toEqual(['superset', 'fault', [7]])
    const all = new KeyUnion()
    all.everything('fresh')
    union.absorb(all)
    expect([union.precision, union.reason, union.has('b')]).toEqual(['everything', 'fresh', true])
    union.add(messageOf([8]))
    expect(union.size).toBe(2)
  })

  it('names the first of its reasons', () => {
    const union = new KeyUnion()
    const seen = (['overflow', 'unpublished', 'fault', 'everything', 'fresh'] as const).map(
      (reason) => {
        union.everything(reason)
        return union.reason
      },
    )
    expect(seen).toEqual(['overflow', 'unpublished', 'fault', 'everything', 'fresh'])
    union.everything('overflow')
    expect(union.reason).toBe('fresh')
  })

  it('is everything with more namespaces than it keeps', () => {
    const union = new KeyUnion()
    for (const namespace of range(0, 4096)) union.everythingInNamespace(namespace, 'fault')
    expect([union.precision, union.everythingIn.length]).toEqual(['exact', 4096])
    union.everythingInNamespace(4096, 'fault')
    expect([union.precision, union.everythingIn, union.reason]).toEqual([
      'everything',
      [],
      'everything',
    ])
  })

  it('says of namespace 0 that each text is in it', () => {
    const union = unionOf([messageOf(['a'])])
    union.everythingInNamespace(0, 'fault')
    expect([union.has('b'), union.has(7), union.hasPair(7, 1)]).toEqual([true, true, false])
  })

  it('lists no keys while some of its numbers are fingerprints of texts', () => {
    const numbers = messageOf([7n, fingerprint('a')])
    const prints: KeyMessage = { ...numbers, reason: 'overflow', hasPrints: true, hidesTexts: true }
    const union = new KeyUnion()
    union.absorb(unionOf([messageOf([8n]), prints, messageOf(['b'])]))

    expect([union.exact, union.precision, union.reason]).toEqual([false, 'superset', 'overflow'])
    expect([union.falsePositives, union.size]).toEqual([0, 4])
    for (const walk of [() => [...union], () => [...union.texts()], () => union.bigints])
      expect(walk).toThrow(/Ask has\(\) for each row/)
    expect(['a', 'b', 'c', 7, 8, 9].map((key) => union.has(key))).toEqual([
      ...[true, true, false],
      ...[true, true, false],
    ])
    union.clear()
    expect(union.isEmpty).toBe(true)
  })

  it('gives bigints back if all messages with numbers have them', () => {
    const bigints = { ...messageOf([7n]), isBigint: true }
    const texts = messageOf(['a'])

    expect([...unionOf([texts, bigints]).numbers()]).toEqual([7n])
    expect([...unionOf([bigints, messageOf([8])]).numbers()]).toEqual([7, 8])
    const union = new KeyUnion()
    union.absorb(unionOf([bigints]))
    expect([...union.numbers()]).toEqual([7n])
  })

  it('gives numbers back if one message with numbers has no bigints, in any order', () => {
    const bigints = { ...messageOf([7n]), isBigint: true }
    const numbers = messageOf([8])
    const texts = messageOf(['a'])
    for (const [messages, expected] of [
      [
        [numbers, bigints],
        [7, 8],
      ],
      [
        [numbers, texts, bigints, bigints],
        [7, 8],
      ],
      [[bigints, bigints, texts], [7n]],
    ] as const) {
      const absorbed = new KeyUnion()
      for (const each of messages) absorbed.absorb(unionOf([each]))
      for (const union of [unionOf(messages), absorbed])
        expect([...union.numbers()].sort()).toEqual(expected)
    }
  })

  it('takes a number for a fingerprint of a text only if a message says so', () => {
    const number = messageOf([fingerprint('a')])
    const union = new KeyUnion()
    union.absorb(unionOf([number]))
    expect(union.has('a')).toBe(false)
    union.add({ ...number, reason: 'overflow', hasPrints: true, hidesTexts: true })
    expect(union.has('a')).toBe(true)
    union.clear()
    union.add(number)
    expect([union.has('a'), union.exact]).toEqual([false, true])
  })

  it('is empty only if it stands for no key, and names its namespaces in order', () => {
    const some = new KeyUnion()
    for (const namespace of [9, 2, 10]) some.everythingInNamespace(namespace, 'fault')
    const all = new KeyUnion()
    all.everything('fault')
    expect(
      [new KeyUnion(), unionOf([messageOf([1])]), some, all].map((each) => each.isEmpty),
    ).toEqual([true, false, false, false])
    expect(some.everythingIn).toEqual([2, 9, 10])
    expect(() => [...all]).toThrow(/^the epoch is not exact \('fault'\)/)
  })

  it('lists strings, unless it has other keys', () => {
    expect([...unionOf([messageOf(['a', 'b'])]).strings()]).toEqual(['a', 'b'])
    for (const [key, error] of [
      [7, /got "1 numeric keys"/],
      [Uint8Array.of(1), /got "keys of bytes"/],
    ] as const)
      expect(() => unionOf([messageOf(['a', key])]).strings()).toThrow(error)
  })

  it('has room for keys that it has already', () => {
    const bytes = Uint8Array.of(1, 2, 3)
    for (const [keys, more, limits] of [
      [[1, 2, 3], [1, 2], { maxKeysPerEpoch: 4 }],
      [[0, 1, 2], [0, 1, 2], { maxKeysPerEpoch: 3 }],
      [['aaa'], ['aaa'], { maxStringBytesPerEpoch: 4 }],
      [['aaa'], ['aaa'], { maxStringsPerEpoch: 1 }],
      [[bytes], [bytes], { maxStringBytesPerEpoch: 4 }],
      [[bytes], [bytes], { maxStringsPerEpoch: 1 }],
    ] as const) {
      const union = unionOf([messageOf(keys), messageOf(more)], limits)
      expect([union.precision, names(union)]).toEqual(['exact', names(keys)])
    }
  })

  it('lists no more keys once it is a superset, and has them all the same', () => {
    const messages = [messageOf([1, 2, 3]), supersetOf([100n], 6), messageOf([1, 2, 9])]
    const union = unionOf(messages, { maxKeysPerEpoch: 4 })
    expect([1, 2, 3, 9, 100].map((key) => union.has(key))).toEqual(Array(5).fill(true))
    expect([union.precision, union.size]).toEqual(['superset', 3])
  })

  it('gives a copy of a byte key each time', () => {
    const union = unionOf([messageOf([Uint8Array.of(1, 2)])])
    ;([...union][0] as Uint8Array).fill(9)

    expect([...union]).toEqual([Uint8Array.of(1, 2)])
    expect(union.has(Uint8Array.of(1, 2))).toBe(true)
  })

  it('walks pairs and bigints', () => {
    const union = unionOf([messageOf([2 ** 32 + 5, 7])])
    const visited: number[][] = []
    union.forEachPair((...pair) => visited.push(pair))

    expect(visited).toEqual([
      [5, 1, 0],
      [7, 0, 1],
    ])
    expect([...union.bigints]).toEqual([2n ** 32n + 5n, 7n])
    expect([...union.pairs]).toEqual([5, 1, 7, 0])
    expect([...union.ids()]).toEqual([2 ** 32 + 5, 7])
  })
})
