import { deflateRawSync } from 'node:zlib'
import { describe, expect, it } from '@jest/globals'
import {
  DECLARED_MAX,
  decodeBeatBody,
  decodeEpochBody,
  decodeNamespacesBody,
  encodeBeatBody,
  encodeEpochBody,
  encodeNamespacesBody,
  REQUESTS_MAX,
  TAG_MAX,
} from '../../lib/cluster/body.js'
import { decodeKeys, Input, type KeyMessage } from '../../lib/cluster/decode.js'
import { decodeEpoch } from '../../lib/cluster/index.js'
import { crc32 } from '../../lib/crc32.js'
import { RAW_MAX, TEXTS_MAX } from '../../lib/epochs/encode.js'
import { NAMESPACE_MAX } from '../../lib/memory/slot.js'
import { expectError, INVALID_ARG } from '../support/bad-input.js'
import { range, thrown } from '../support/in-process.js'

const BAD = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_BAD_MESSAGE' }

/** Expects the error for bytes that are none of ours, with exactly these words. */
function expectBad(act: () => unknown, why: string): void {
  const error = thrown(act)
  expectError(error, BAD)
  expect(error.message).toBe(`these bytes are not what the library wrote: ${why}`)
}

const NUMBERS_DEFLATED = 1
const TEXTS_DEFLATED = 2
const FILTER = 4
const HIDES_TEXTS = 32
const SUPERSET = 1 | (5 << 4) // 'overflow'

/** As epochs/encode.ts describes them. */
function varint(value: number | bigint): number[] {
  const bytes: number[] = []
  let rest = BigInt(value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  return [...bytes, Number(rest)]
}

/** Puts the checksum into the last four bytes. */
function withCrc(bytes: Uint8Array): Uint8Array {
  const end = bytes.length - 4
  new DataView(bytes.buffer).setUint32(end, crc32(bytes.subarray(0, end)), true)
  return bytes
}

const crced = (bytes: readonly number[]): Uint8Array => withCrc(Uint8Array.of(...bytes, 0, 0, 0, 0))

interface Parts {
  version?: number
  flags?: number
  /** The precision, and the reason << 4. */
  kind?: number
  namespaces?: readonly number[]
  numbers?: readonly number[]
  texts?: readonly number[]
  rest?: readonly number[]
}

/** A message of an exact epoch without keys, unless a part of it is given. */
function message(parts: Parts = {}): Uint8Array {
  const { version = 1, flags = 0, kind = 0, rest = [] } = parts
  const { namespaces = [0], numbers = [0], texts = [0, 0] } = parts
  return crced([0x44, 0x52, version, flags, kind, ...namespaces, ...numbers, ...texts, ...rest])
}

/** Numbers or texts, with the length of their bytes. */
const part = (counts: readonly number[], bytes: readonly number[]): number[] => [
  ...counts.flatMap(varint),
  ...varint(bytes.length),
  ...bytes,
]

/** The same, deflated, with `more` bytes behind, and with another length if `said`. */
function deflatedPart(
  counts: readonly number[],
  bytes: readonly number[],
  more: readonly number[] = [],
  said = bytes.length,
): number[] {
  const stored = [...deflateRawSync(Uint8Array.from(bytes)), ...more]
  return [...counts.flatMap(varint), ...varint(said), ...varint(stored.length), ...stored]
}

const keysOf = ({ pairs }: KeyMessage): bigint[] => [...new BigUint64Array(pairs.slice().buffer)]

describe('decodeEpoch() refuses', () => {
  const sorted = 'their numbers are not sorted, or not written as the library does'
  const numbers = (count: number, ...bytes: number[]): Parts => ({ numbers: part([count], bytes) })
  const texts = (strings: number, byteKeys: number, ...bytes: number[]): Parts => ({
    texts: part([strings, byteKeys], bytes),
  })
  const filter = (...rest: number[]): Parts => ({ flags: FILTER, kind: SUPERSET, rest })
  const blocks = (count: number): number[] => Array<number>(32 * count).fill(0)
  const text = [...Buffer.from('abc')]

  it.each<[what: string, parts: Parts, why: string]>([
    ['a later version', { version: 2 }, 'their format is 2, and this version reads 1'],
    ['an unknown flag', { flags: 64 }, 'their head has flags 64 and 0'],
    ['another unknown flag', { flags: 128 }, 'their head has flags 128 and 0'],
    ['an unknown precision', { kind: 3 }, 'their head has flags 0 and 3'],
    ['an unknown precision with a reason', { kind: 0x23 }, 'their head has flags 0 and 35'],
    ['an unknown reason', { kind: 0x62 }, 'their head has flags 0 and 98'],
    ['exact keys with a reason', { kind: 0x20 }, `they are 'exact' with the reason "everything"`],
    ['everything without a reason', { kind: 2 }, "they are 'everything' with the reason undefined"],
    [
      'namespaces that are everything, without a reason',
      { namespaces: [1, 7] },
      "they are 'exact' with the reason undefined",
    ],
    ['a filter of exact keys', { flags: FILTER }, "they are 'exact' with a filter"],
    ['a superset without a filter', { kind: SUPERSET }, "they are 'superset' without a filter"],
    ['bytes behind the end', { rest: [0] }, 'they go on behind the end'],
    ['no numbers, deflated', { flags: NUMBERS_DEFLATED }, 'nothing in them is said to be deflated'],
    ['no texts, deflated', { flags: TEXTS_DEFLATED }, 'nothing in them is said to be deflated'],
    [
      'more bytes of numbers than a message has',
      { numbers: [1, ...varint(RAW_MAX + 1)] },
      '1048577 bytes of keys are more than a message has',
    ],
    [
      'as many as it has, of which one is there',
      { numbers: [1, ...varint(RAW_MAX), 7] },
      'they end early',
    ],
    [
      'more bytes of numbers and texts than a message has',
      { ...numbers(1, 7), texts: [1, 0, ...varint(RAW_MAX)] },
      '1048576 bytes of keys are more than a message has',
    ],
    [
      'as many of both as it has, of which few are there',
      { ...numbers(1, 7), texts: [1, 0, ...varint(RAW_MAX - 1)] },
      'they end early',
    ],
    ['more numbers than bytes', numbers(2, 7), '2 keys are said to be in 1 bytes'],
    ['a number with a needless byte', numbers(1, 0x87, 0), sorted],
    ['a number that is there twice', numbers(2, 7, 0), sorted],
    ['a number with an eleventh byte', numbers(1, ...Array<number>(10).fill(0x80), 1), sorted],
    ['a number of ten bytes that goes on', numbers(1, ...Array<number>(10).fill(0x80)), sorted],
    ['a number of 2^64', numbers(1, ...varint(2n ** 64n)), sorted],
    ['a number of 2^64 more than another', numbers(2, ...varint(2n ** 64n - 1n), 1), sorted],
    ['a number that is cut off', numbers(1, 0x87), 'their numbers have another length'],
    ['bytes behind the numbers', numbers(1, 7, 7), 'their numbers have another length'],
    [
      'numbers that cannot be inflated',
      { flags: NUMBERS_DEFLATED, numbers: [1, 2, 2, 0xff, 0xff] },
      'a part of them cannot be inflated',
    ],
    [
      'numbers that inflate to more',
      { flags: NUMBERS_DEFLATED, numbers: deflatedPart([1], [7, 7, 7], [], 2) },
      'a part of them cannot be inflated',
    ],
    [
      'numbers that inflate to less',
      { flags: NUMBERS_DEFLATED, numbers: deflatedPart([1], [7], [], 2) },
      'a part of them has another length',
    ],
    [
      'bytes behind what is inflated',
      { flags: NUMBERS_DEFLATED, numbers: deflatedPart([1], [7], [0]) },
      'a part of them has another length',
    ],
    [
      'a text that shares more than there is',
      texts(2, 0, 0, 3, ...text, 4, 0),
      'a text shares more than there is',
    ],
    [
      'a byte key that shares with a string',
      texts(1, 1, 0, 3, ...text, 1, 0),
      'a text shares more than there is',
    ],
    ['a text that is cut off', texts(1, 0, 0, 4, ...text), 'they end early'],
    ['bytes behind the texts', texts(1, 0, 0, 2, ...text), 'they go on behind the end'],
    ['a byte that no text has', texts(1, 0, 0, 1, 0xff), 'a string is not WTF-8'],
    ['three bytes that no text has', texts(1, 0, 0, 3, 0xf0, 0x90, 0x80), 'a string is not WTF-8'],
    ['too large a filter', filter(24, 0, 1, ...blocks(1)), 'they have 1 blocks of 2^24, from 0 on'],
    ['no blocks of a filter', filter(3, 0, 0), 'they have 0 blocks of 2^3, from 0 on'],
    [
      'blocks behind the end of a filter',
      filter(1, 1, 2, ...blocks(2)),
      'they have 2 blocks of 2^1, from 1 on',
    ],
    ['a filter that is cut off', filter(1, 0, 2, ...blocks(1)), 'they end early'],
  ])('%s', (_, parts, why) => {
    expectBad(() => decodeEpoch(message(parts)), why)
  })

  it('another beginning, another checksum, and what is too short', () => {
    const good = message()
    const beginning = 'they do not begin as one does'

    expect(decodeKeys(good).precision).toBe('exact')
    expectBad(() => decodeEpoch(crced([0x45, ...good.slice(1, -4)])), beginning)
    expectBad(() => decodeEpoch(crced([0x44, 0x53, ...good.slice(2, -4)])), beginning)
    expectBad(() => decodeEpoch(crced([...good.slice(0, 4)])), beginning)
    expectBad(() => decodeEpoch(crced([...good.slice(0, 5)])), 'they end early')
    expectBad(
      () => decodeEpoch(good.map((byte, i) => (i === 5 ? 1 : byte))),
      'their checksum is another',
    )
  })

  it('texts of more than 2^23 bytes that share most of them', () => {
    const half = 2 ** 19
    const others = range(0, TEXTS_MAX / half - 1).flatMap(() => [...varint(half), 0])
    const keys = (count: number, more: readonly number[]): Uint8Array => {
      const first = [0, ...varint(half)]
      const length = first.length + half + others.length + more.length
      const head = [0x44, 0x52, 1, 0, 0, 0, 0, 0, count, ...varint(length), ...first]
      const all = new Uint8Array(head.length + half + others.length + more.length + 4)
      all.set(head)
      all.set([...others, ...more], head.length + half)
      return withCrc(all)
    }

    expect(decodeKeys(keys(16, [])).byteKeys).toHaveLength(16)
    for (const more of [
      [0, 1, 7],
      [1, 0],
    ])
      expectBad(() => decodeKeys(keys(17, more)), 'their texts have more than 8388608 bytes')
  })

  it('arguments that are none, by their names', () => {
    const words = (...args: unknown[]): unknown => {
      const error = thrown(() => decodeEpoch(...(args as [Uint8Array])))
      expectError(error, INVALID_ARG)
      return error.message
    }
    const { proxy, revoke } = Proxy.revocable([], {})
    revoke()
    const gone = new Uint8Array(4)
    structuredClone(gone, { transfer: [gone.buffer] })

    expect(words(7)).toBe('"messages" must be a Uint8Array or an array of them, got 7')
    expect(words([7])).toBe('"messages[0]" must be a Uint8Array, got 7')
    expect(words([], 7)).toBe('"limits" must be a plain object, got 7')
    expect(words(gone)).toMatch(/^"messages" must be a view of memory that this thread has/)
    expect(words(proxy)).toMatch(
      /^"messages" must be a Uint8Array or an array of them, got an object/,
    )
    expect(words([gone])).toMatch(/^"messages\[0\]" must be a view of memory that this thread/)
  })
})

describe('what decodeKeys() reads', () => {
  it('numbers and differences of 1 to 10 bytes, at both ends of each length', () => {
    const bits = range(0, 65).map(BigInt)
    const keys = bits.flatMap((bit) => [2n ** bit - 1n, 2n ** bit]).slice(0, -1)
    const most = 2n ** 64n - 1n
    const read = (...differences: bigint[]): bigint[] =>
      keysOf(
        decodeKeys(message({ numbers: part([differences.length], differences.flatMap(varint)) })),
      )

    expect(keys.map((key) => read(key))).toEqual(keys.map((key) => [key]))
    const others = keys.filter((key) => key < most)
    expect(others.map((key) => read(key, most - key))).toEqual(others.map((key) => [key, most]))
  })

  it('deflated numbers and texts', () => {
    const { strings, byteKeys, ...keys } = decodeKeys(
      message({
        flags: NUMBERS_DEFLATED | TEXTS_DEFLATED,
        numbers: deflatedPart([2], [7, 1]),
        texts: deflatedPart([1, 1], [0, 1, 97, 0, 1, 98]),
      }),
    )

    expect([keysOf(keys as KeyMessage), strings, byteKeys]).toEqual([
      [7n, 8n],
      ['a'],
      [Uint8Array.of(98)],
    ])
  })

  it('texts, with how many bytes each has, and what two of them share', () => {
    const long = 'é'.repeat(300)
    const bytes = [...Buffer.from(long)]
    const texts = part(
      [4, 2],
      [
        ...[0, ...varint(600), ...bytes],
        ...[...varint(600), 1, 97],
        ...[0, 3, 0xef, 0xbf, 0xbd],
        ...[0, 3, 0xed, 0xa0, 0x80],
        ...[0, 2, 0xff, 0xfe],
        ...[1, 1, 0xff],
      ],
    )
    const { strings, stringBytes, byteKeys } = decodeKeys(message({ texts }))

    expect(strings).toEqual([long, `${long}a`, '\ufffd', '\ud800'])
    expect(stringBytes).toEqual([600, 601, 3, 3])
    expect(byteKeys).toEqual([Uint8Array.of(0xff, 0xfe), Uint8Array.of(0xff, 0xff)])
  })

  it('that texts are hidden, and no reason but that', () => {
    const { precision, reason, hidesTexts } = decodeKeys(message({ flags: HIDES_TEXTS }))
    expect([precision, reason, hidesTexts]).toEqual(['exact', 'overflow', true])
  })

  it('one block of the largest filter, and the last one of a small one', () => {
    const words = range(0, 32)
    const read = (...rest: number[]): unknown =>
      decodeKeys(message({ flags: FILTER, kind: SUPERSET, rest: [...rest, ...words] })).filter
    const same = new Int32Array(Uint8Array.from(words).buffer)

    expect(read(23, 0, 1)).toEqual({ blocksLog2: 23, from: 0, words: same })
    expect(read(2, 3, 1)).toEqual({ blocksLog2: 2, from: 3, words: same })
  })
})

describe('the input of the decoders', () => {
  const from = (...bytes: number[]): Input => new Input(Uint8Array.from(bytes), 0, bytes.length)
  const another = 'a number in them is not written as the library does'

  it('ends where it is said to end, not where its bytes do', () => {
    const input = new Input(Uint8Array.of(7, 8, 9, 10), 1, 3)

    expectBad(() => input.bytes(3), 'they end early')
    expectBad(() => input.checkEnd(), 'they go on behind the end')
    expect([input.byte(), ...input.rest()]).toEqual([8, 9])
    expectBad(() => input.byte(), 'they end early')
    expectBad(() => input.bytes(1), 'they end early')
    expect([...input.bytes(0)]).toEqual([])
    input.checkEnd()
  })

  it('has whole numbers below 2^32, each in one form', () => {
    for (const value of [0, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 32 - 1])
      expect(from(...varint(value)).varint()).toBe(value)
    for (const bytes of [[0x80, 0], [0x87, 0], varint(2 ** 32), Array<number>(5).fill(0x80)])
      expectBad(() => from(...bytes).varint(), another)
    expectBad(() => from(0x80).varint(), 'they end early')
  })
})

describe('the bodies of envelopes', () => {
  const declared = (...differences: number[]): Uint8Array =>
    Uint8Array.of(1, ...varint(differences.length), ...differences.flatMap(varint))

  it('declare namespaces: none, or a list that is sorted, each once', () => {
    const both = (namespaces: readonly number[] | undefined): unknown =>
      decodeNamespacesBody(encodeNamespacesBody(namespaces))
    const most = range(0, DECLARED_MAX)

    expect([both(undefined), both([]), both([0])]).toEqual([undefined, [], [0]])
    expect(both([127, 9, 127, NAMESPACE_MAX, 255])).toEqual([9, 127, 255, NAMESPACE_MAX])
    expect(both(most)).toEqual(most)
    expect([...encodeNamespacesBody([300, 127, 0])]).toEqual([1, 3, 0, 127, 0xad, 1])
  })

  it.each<[what: string, body: Uint8Array, why: string]>([
    ['in another form', Uint8Array.of(2), 'they declare namespaces as 2'],
    ['of a namespace that is there twice', declared(7, 0), 'a namespace is in them twice'],
    [
      'of a namespace that is too large',
      declared(7, NAMESPACE_MAX - 6),
      'they name the namespace 4194304',
    ],
    [
      'of too many namespaces',
      declared(...range(0, 4097).map(() => 1)),
      'they list 4097 namespaces',
    ],
    ['with bytes behind', Uint8Array.of(0, 0), 'they go on behind the end'],
  ])('refuse a declaration %s', (_, body, why) => {
    expectBad(() => decodeNamespacesBody(body), why)
  })

  it('answer requests, at most 64, and have a tag of at most 64 bytes', () => {
    const requests = range(0, REQUESTS_MAX).map((i) => `r-${i}`)
    const tag = Uint8Array.from(range(0, TAG_MAX))
    const keys = Uint8Array.of(1, 2)

    expect(decodeEpochBody(encodeEpochBody({ requests, tag, keys }))).toEqual({
      requests,
      tag,
      keys,
    })
    expect(decodeBeatBody(encodeBeatBody(requests))).toEqual(requests)
    expectBad(() => decodeBeatBody(encodeBeatBody([...requests, 'one'])), 'they answer 65 requests')
    expectBad(
      () => decodeEpochBody(encodeEpochBody({ requests, tag: new Uint8Array(65), keys })),
      'they have a tag of 65 bytes',
    )
    for (const request of ['', 'a b', 'é', 'x'.repeat(65)])
      expectBad(
        () => decodeBeatBody(encodeBeatBody([request])),
        'a request in them has another form',
      )
    expectBad(
      () => decodeBeatBody(Uint8Array.of(...encodeBeatBody([]), 0)),
      'they go on behind the end',
    )
  })
})
