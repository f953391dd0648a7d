import { runInNewContext } from 'node:vm'
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import murmurhash from 'murmurhash3js-revisited'
import { randomFrom } from '../../lib/demo/random.js'
import { fingerprint, hash128, hashText } from '../../lib/fingerprint.js'

const words = new Int32Array(4)

/** The digest as the published vectors print it: h1 to h4, each as a number in hex. */
function hex128(key: string | Uint8Array, seed: number): string {
  hash128(key, seed, words)
  return Array.from(words, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
}

/** What an independent package says. */
function reference(bytes: Uint8Array, seed: number): string {
  const { x86 } = murmurhash as { x86: { hash128(bytes: Uint8Array, seed: number): string } }
  return x86.hash128(bytes, seed)
}

const anySeed = fc.integer({ min: 0, max: 0xffffffff })
/** UTF-16 units of every kind, so lone surrogates too. */
const anyString = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0x7f }),
      fc.integer({ min: 0, max: 0xffff }),
      fc.integer({ min: 0xd800, max: 0xdfff }),
    ),
  )
  .map((units) => String.fromCharCode(...units))

const invalidArg = expect.objectContaining({ name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
const outOfRange = expect.objectContaining({
  name: 'RangeError',
  code: 'ERR_DIRTYRING_OUT_OF_RANGE',
})

function thrownBy(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

describe('the hash is MurmurHash3_x86_128', () => {
  test('it has the verification value that SMHasher lists for it', () => {
    const digests = new Int32Array(4 * 256)
    for (let length = 0; length < 256; length++) {
      hash128(
        Uint8Array.from({ length }, (_, i) => i),
        256 - length,
        words,
      )
      digests.set(words, 4 * length)
    }
    expect(hex128(new Uint8Array(digests.buffer), 0).slice(0, 8)).toBe('b3ece62a')
  })

  test('it agrees with an independent package on bytes and on strings, whatever the seed', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), anyString, anySeed, (bytes, text, seed) => {
        const encoded = new TextEncoder().encode(text)
        expect([hex128(bytes, seed), hex128(text, seed)]).toEqual([
          reference(bytes, seed),
          reference(encoded, seed),
        ])
      }),
      { numRuns: 1000 },
    )
  })

  test.each([1, 123, 0x9747b28c, 0xffffffff])(
    'it agrees with that package on ASCII of each length up to 32, with seed %d',
    (seed) => {
      const all = Array.from({ length: 32 }, (_, i) => String.fromCharCode((i * 37 + 90) % 128))
      for (let length = 0; length <= 32; length++) {
        const text = all.slice(0, length).join('')
        expect([text, hex128(text, seed)]).toEqual([text, reference(Buffer.from(text), seed)])
      }
    },
  )

  // From the test suites of PeterScott/murmur3 and of Dovecot.
  test.each([
    ['Hello, world!', 123, '61c9129e5a1aacd7a41621629e37c886'],
    ['Hello, world!', 321, 'd5fbdcb3c26c4193045880c5a7170f0f'],
    ['x'.repeat(28), 123, '5e40bab278825a164cf929d31fec6047'],
    ['', 123, 'fedc524526f3e79926f3e79926f3e799'],
    ['', 0, '00000000000000000000000000000000'],
    ['', 1, '88c4adec54d201b954d201b954d201b9'],
    ['', 0xffffffff, '051e08a9989d49f7989d49f7989d49f7'],
    ['\0\0\0\0', 0, 'cc066f1f9e5178409e5178409e517840'],
    ['a', 0x9747b28c, '084ef94421a1186e21a1186e21a1186e'],
    ['aa', 0x9747b28c, 'dfbe4a864a9c350b4a9c350b4a9c350b'],
    ['aaa', 0x9747b28c, '838389be9aad7f889aad7f889aad7f88'],
    ['aaaa', 0x9747b28c, '36804cef2a61c2242a61c2242a61c224'],
    ['Hello, world!', 0x9747b28c, '756d5460bb872216b7d48b7c53c8c636'],
    ['π'.repeat(8), 0x9747b28c, 'af2ad3253a74df8838cc7534f197cc0d'],
    ['a'.repeat(256), 0x9747b28c, 'd3f2b7bbf666c0ccd4a400605ec8d32a'],
  ])('it gives the published digest of %j with seed %d', (key, seed, digest) => {
    expect(hex128(key, seed)).toBe(digest)
  })

  test('a fingerprint is h2 above h1, and the two are its pair', () => {
    expect(fingerprint('Hello, world!', { seed: 123 })).toBe(0x5a1aacd761c9129en)
    const pair = new Int32Array(4).fill(7)
    hashText('Hello, world!', pair, 1)
    const bits = (BigInt(pair[2] >>> 0) << 32n) | BigInt(pair[1] >>> 0)
    expect([pair[0], bits, pair[3]]).toEqual([7, fingerprint('Hello, world!'), 7])
  })

  test('a fingerprint without a seed has seed 0', () => {
    expect(fingerprint('key')).toBe(fingerprint('key', { seed: 0 }))
    expect(fingerprint('key')).not.toBe(fingerprint('key', { seed: 1 }))
  })
})

describe('strings and bytes', () => {
  test('a string has the fingerprint of its UTF-8 bytes, a lone surrogate being U+FFFD', () => {
    fc.assert(
      fc.property(anyString, anySeed, (text, seed) => {
        expect(hex128(text, seed)).toBe(hex128(new TextEncoder().encode(text), seed))
      }),
    )
    for (const lone of ['\ud800', '\udfff', 'a\udc00\ud800b', '\ud83d'])
      expect(fingerprint(lone)).toBe(fingerprint(Buffer.from(lone)))
  })

  test.each(['a', 'é', '€', '😀', '\ud800'])(
    'a string of any length may begin anywhere in it: repeated %j',
    (character) => {
      for (const length of [
        ...Array(66).keys(),
        255,
        256,
        257,
        340,
        341,
        342,
        511,
        512,
        513,
        1023,
        1024,
        1025,
        2047,
        2048,
        5000,
      ]) {
        for (const before of ['', 'a', 'ab', 'abc']) {
          const text = before + character.repeat(length)
          expect(fingerprint(text)).toBe(fingerprint(new TextEncoder().encode(text)))
        }
      }
    },
  )

  test('where bytes lie does not matter', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 64 }),
        fc.integer({ min: 0, max: 17 }),
        anySeed,
        (bytes, offset, seed) => {
          const expected = hex128(bytes, seed)
          for (const buffer of [new ArrayBuffer(100), new SharedArrayBuffer(100)]) {
            const view = new Uint8Array(buffer, offset, bytes.length)
            new Uint8Array(buffer).fill(0xff)
            view.set(bytes)
            expect(hex128(view, seed)).toBe(expected)
          }
          expect(hex128(Buffer.from(bytes), seed)).toBe(expected)
        },
      ),
    )
  })

  test('bytes of another realm are bytes', () => {
    expect(fingerprint(runInNewContext('Uint8Array.of(1, 2, 3)') as Uint8Array)).toBe(
      fingerprint(Uint8Array.of(1, 2, 3)),
    )
  })

  test('a key leaves nothing behind for the next one', () => {
    const expected = fingerprint('ab')
    fingerprint('z'.repeat(5000))
    expect(fingerprint('ab')).toBe(expected)
  })
})

describe('bad input', () => {
  test.each([
    [undefined],
    [null],
    [1],
    [1n],
    [{}],
    [['a']],
    [Int8Array.of(1)],
    [new Uint8ClampedArray(1)],
    [new ArrayBuffer(1)],
    [new DataView(new ArrayBuffer(1))],
  ])('a key that is neither a string nor a Uint8Array is a TypeError: %p', (key: any) => {
    const error: any = thrownBy(() => fingerprint(key))
    expect(error).toEqual(invalidArg)
    expect(error.message).toMatch(/^"key" must be a string or a Uint8Array, got /)
  })

  test.each([[null], ['1'], [1n], [{}]])(
    'a seed that is no number is a TypeError: %p',
    (seed: any) => {
      const error: any = thrownBy(() => fingerprint('key', { seed }))
      expect(error).toEqual(invalidArg)
      expect(error.message).toMatch(/^"options\.seed" must be a number, got /)
    },
  )

  test.each([[-1], [0.5], [2 ** 32], [NaN], [Infinity]])(
    'a seed that is no uint32 is a RangeError: %p',
    (seed) => {
      const error: any = thrownBy(() => fingerprint('key', { seed }))
      expect(error).toEqual(outOfRange)
      expect(error.message).toBe(
        `"options.seed" must be a whole number from 0 to 2^32-1, got ${seed}`,
      )
    },
  )
})

describe('keys of 64 KiB and more', () => {
  const sizes = [2 ** 16 - 1, 2 ** 16, 2 ** 16 + 1, 2 ** 17 + 15, 2 ** 20 + 7]

  test.each(sizes)('%d bytes have the digest that the reference package gives', (length) => {
    const bytes = new Uint8Array(length)
    const random = randomFrom(length)
    for (let i = 0; i < length; i++) bytes[i] = random() * 256
    const digest = hex128(bytes, 7)
    expect(digest).toBe(reference(bytes, 7))
    // The last byte, and the first one after 64 KiB, count.
    for (const at of [length - 1, Math.min(length - 1, 2 ** 16)]) {
      bytes[at] ^= 1
      expect(hex128(bytes, 7)).not.toBe(digest)
      bytes[at] ^= 1
    }
  })

  test.each(['a', 'é', '語', '😀', '\ud800', 'aé語😀'])(
    'strings of %j have the digest that the reference package gives for their UTF-8',
    (characters) => {
      for (const [before, length] of [
        ['', 2 ** 16],
        ['ab', 2 ** 16 - 1],
      ] as const) {
        const text =
          before + characters.repeat(Math.ceil(length / characters.length)).slice(0, length)
        expect(hex128(text, 1)).toBe(reference(new TextEncoder().encode(text), 1))
      }
    },
  )
})

describe('the first and the last character of each length in UTF-8', () => {
  const points = [
    0, 0x7f, 0x80, 0x81, 0x7ff, 0x800, 0x801, 0xd7ff, 0xd800, 0xdbff, 0xdc00, 0xdfff, 0xe000,
    0xffff, 0x10000, 0x10ffff,
  ]

  test.each(points.map((point) => [point.toString(16), String.fromCodePoint(point)]))(
    'U+%s is hashed as its bytes',
    (_, character) => {
      for (const before of ['', 'a', 'é', 'a'.repeat(1023)]) {
        expect(hex128(before + character, 3)).toBe(
          hex128(new TextEncoder().encode(before + character), 3),
        )
      }
    },
  )

  test('bytes that are detached are refused by their name', () => {
    const bytes = new Uint8Array(8)
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
    expect((thrownBy(() => fingerprint(bytes)) as Error).message).toMatch(
      /^"key" must be a view of memory/,
    )
  })
})
