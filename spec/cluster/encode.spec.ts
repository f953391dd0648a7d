import { createHash } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { decodeKeys } from '../../lib/cluster/decode.js'
import { decodeEpoch } from '../../lib/cluster/index.js'
import { encodeAttached } from '../../lib/epochs/attached-epoch.js'
import { encodeKeys, type EncodeOptions } from '../../lib/epochs/encode.js'
import { encodeSealed } from '../../lib/epochs/sealed-epoch.js'
import {
  attachEpoch,
  type EpochKeys,
  fingerprint,
  type Key,
  type SealedEpoch,
  type TrackerOptions,
} from '../../lib/index.js'
import type { SharedWords } from '../../lib/memory/map.js'
import { EMPTY_SLOT } from '../../lib/memory/slot.js'
import { expectError } from '../support/bad-input.js'
import { nameOf, openInline, range, thrown } from '../support/in-process.js'
import { TEXTS } from '../support/text-sets.js'

const ROOMY: TrackerOptions = {
  laneTextBytes: 2 ** 20,
  laneCapacity: 2 ** 15,
  maxKeysPerEpoch: 2 ** 16,
  maxStringsPerEpoch: 2 ** 14,
  maxStringBytesPerEpoch: 2 ** 22,
}

/** Marks keys, hands the sealed epoch to `use`, and commits it. */
async function withEpoch<T>(
  keys: readonly Key[],
  use: (epoch: SealedEpoch) => T,
  options: TrackerOptions = ROOMY,
): Promise<T> {
  const tracker = await openInline(options)
  tracker.openWriter().markMany(keys, { atomic: false })
  return tracker.consume(use)
}

const names = (keys: Iterable<Key>): string[] => Array.from(keys, nameOf).sort()
/** To be compared in one go, and not byte by byte. */
const hex = (messages: readonly Uint8Array[]): string[] =>
  messages.map((message) => Buffer.from(message).toString('hex'))
const sizes = (messages: readonly Uint8Array[]): number[] => messages.map(({ length }) => length)
/** 32 bytes that no program makes shorter. */
const noise = (i: number): Uint8Array => createHash('sha256').update(`${i}`).digest()

/** What `act` returns on a host whose `process` is another, or missing. */
function withProcess<T>(process: object | undefined, act: () => T): T {
  const own = Object.getOwnPropertyDescriptor(globalThis, 'process')!
  Object.defineProperty(globalThis, 'process', { value: process, configurable: true })
  try {
    return act()
  } finally {
    Object.defineProperty(globalThis, 'process', own)
  }
}

/** What a reader can ask of an epoch without its list. */
function answers(keys: EpochKeys, asked: readonly Key[]): unknown {
  const { size, exact, reason, precision, everythingIn } = keys
  return { size, exact, reason, precision, everythingIn, has: asked.map((key) => keys.has(key)) }
}

/** Distinct keys of all kinds, many of which lie close together or begin alike. */
const anyKey = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(300),
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc.bigInt(2n ** 32n - 5n, 2n ** 32n + 5n),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.nat(200).map((n) => `/users/${n}/é\0`),
  fc.constantFrom('a\ud800', '\udc00b', '\ud83d\ud83d\ude80', '\ufffd', '', '\0'),
  fc.uint8Array({ maxLength: 20 }),
)

describe('epoch.encode()', () => {
  it('writes what decodeEpoch() reads: keys of all kinds, as they come back', async () => {
    const tracker = await openInline(ROOMY)
    const writer = tracker.openWriter()
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyKey, { maxLength: 100 }),
        fc.array(anyKey, { maxLength: 20 }),
        fc.constantFrom(4096, 900_000),
        async (keys, others, maxBytes) => {
          writer.markMany(keys)
          await tracker.consume((epoch) => {
            const decoded = decodeEpoch(encodeSealed(epoch, { maxBytes }))
            const asked = [...keys, ...others]

            expect(names(decoded)).toEqual(names(new Set(epoch)))
            expect(answers(decoded, asked)).toEqual(answers(epoch, asked))
          })
        },
      ),
      { numRuns: 60, endOnFailure: true }, // a failure gives its keys back
    )
  })

  it.each(TEXTS)('keeps %s apart from the bytes of it', async (_, text) => {
    const bytes = new TextEncoder().encode(text)
    await withEpoch([text, `${text}a`, bytes], (epoch) => {
      const decoded = decodeEpoch(epoch.encode())

      expect(names(decoded.texts())).toEqual(names([text, `${text}a`, bytes]))
      expect([decoded.has(text), decoded.has(bytes), decoded.has(`${text}b`)]).toEqual([
        true,
        true,
        false,
      ])
    })
  })

  it('takes 1 to 1.3 bytes for a row id of many, and less than 8 for a fingerprint', async () => {
    const rows = Array.from({ length: 10_000 }, (_, i) => i * 40 + ((i * 7919) % 40))
    const prints = rows.map((row) => fingerprint(`row ${row}`))
    const bytesPerKey = (epoch: SealedEpoch): number => epoch.encode()[0].length / epoch.size

    expect(await withEpoch(rows, bytesPerKey)).toBeLessThan(1.3)
    expect(await withEpoch(range(5000, 10_000), bytesPerKey)).toBeLessThan(0.03)
    expect(await withEpoch(prints, bytesPerKey)).toBeLessThan(7.8) // of 100,000: 7.02
  })

  it('is the same set on a host without zlib, and no shorter', async () => {
    const dense = [...range(0, 2000), ...range(0, 500).map((id) => `/users/${id}`)]
    const loose = [...range(0, 50).map((id) => fingerprint(`id ${id}`)), ...range(0, 50).map(noise)]
    for (const keys of [dense, loose])
      await withEpoch(keys, (epoch) => {
        const usual = epoch.encode()
        for (const process of [undefined, {}, { getBuiltinModule: () => undefined }]) {
          const plain = withProcess(process, () => epoch.encode())
          expect(names(decodeEpoch(plain))).toEqual(names(keys))
          if (keys === dense) expect(usual[0].length).toBeLessThan(plain[0].length / 2)
          else expect(hex(usual)).toEqual(hex(plain)) // no part gets shorter
        }
      })
  })

  it('sorts texts by their bytes, in whatever order they were marked', async () => {
    const count = 7000
    const ids = range(0, count).map((i) => (i * 7919) % count)
    const zeros = range(0, 10).map((length) => '\0'.repeat(length))
    const texts = [
      ...ids.map((id) => `/users/${id}`),
      ...['', 'ab', 'abcd', 'abcdefg'].flatMap((text) => zeros.map((end) => text + end)),
      ...['aaaa', 'aaab', 'aaba', 'abaa', 'baaa', 'azaz', 'zaza', 'é', 'zzzé', '\uffff'],
    ]
    const bytes = [
      ...texts.slice(count).map((text) => new TextEncoder().encode(text)),
      // Such as the ids of rows: four zeros at first, or a word of small numbers at the end.
      ...ids.map((id) => Uint8Array.of(0, 0, 0, 0, id >>> 8, id & 255, 7, 7)),
      ...ids.slice(0, 100).map((id) => Uint8Array.of(9, 9, 9, 9, id & 255, id >>> 8, 0, 0)),
    ]
    const sorted = (keys: readonly (string | Uint8Array)[]): string[] =>
      keys
        .map((key) => Buffer.from(key as string))
        .sort((a, b) => Buffer.compare(a, b))
        .map((key) => key.toString('hex'))
    const keys = [...texts, ...bytes]
    for (const marked of [keys, keys.toReversed()])
      await withEpoch(marked, (epoch) => {
        const [message, ...rest] = epoch.encode()
        const { strings, byteKeys } = decodeKeys(message)

        expect(rest).toEqual([])
        expect(strings.map((text) => Buffer.from(text).toString('hex'))).toEqual(sorted(texts))
        expect(byteKeys.map((key) => Buffer.from(key).toString('hex'))).toEqual(sorted(bytes))
      })
  })

  it('writes of a text only what it does not share with the one before', async () => {
    const families = ['x', 'y'].map((letter) => letter.repeat(1500))
    const texts = range(10, 50).flatMap((id) => families.map((family) => `${family}${id}`))
    await withEpoch(texts, (epoch) => {
      const messages = encodeSealed(epoch, { maxBytes: 4096 })

      expect(messages).toHaveLength(1)
      expect(names(decodeEpoch(messages))).toEqual(names(texts))
    })
  })

  it('makes no message whose texts have more than 2^23 bytes, which no reader takes', async () => {
    const texts = range(1000, 900).map((id) => `${'x'.repeat(10_000)}${id}`)
    await withEpoch(
      texts,
      (epoch) => {
        const strings = epoch.encode().flatMap((message) => decodeKeys(message).strings)

        expect(strings.sort().join() === texts.join()).toBe(true)
      },
      { ...ROOMY, laneTextBytes: 2 ** 24, maxStringBytesPerEpoch: 2 ** 24 },
    )
  })

  it.each([127, 128, 129])('writes %d keys, and a text of as many bytes', async (count) => {
    const keys = [
      ...range(0, count),
      ...range(0, count - 1).map(String),
      'x'.repeat(count),
      ...range(0, count).map(noise),
    ]
    await withEpoch(keys, (epoch) => {
      expect(names(decodeEpoch(epoch.encode()))).toEqual(names(keys))
    })
  })

  it('makes messages of a given length at most, each a set by itself', async () => {
    const keys = [
      ...range(0, 3000).map((id) => fingerprint(`id ${id}`)),
      ...range(0, 3000).map((id) => `/users/${fingerprint(`user ${id}`)}`),
      ...range(0, 300).map((id) => new TextEncoder().encode(`bytes ${id}`)),
    ]
    await withEpoch(keys, (epoch) => {
      const messages = encodeSealed(epoch, { maxBytes: 4096 })
      const parts = messages.map((message) => names(decodeEpoch(message)))

      expect(messages.length).toBeGreaterThan(10)
      expect(Math.max(...sizes(messages))).toBeLessThanOrEqual(4096)
      expect(parts.flat().sort()).toEqual(names(keys)) // none is there twice
      expect(names(decodeEpoch(messages.toReversed()))).toEqual(names(keys))
    })
  })

  it('makes as few messages, where numbers and texts together fit or not', async () => {
    const prints = (count: number): Key[] => range(0, count).map((id) => fingerprint(`id ${id}`))
    const cases: [numbers: readonly Key[], texts: number, count: number][] = [
      [range(0, 10), 10, 1],
      [range(0, 2), 300, 3],
      [prints(300), 300, 4],
      [prints(540), 100, 2],
      [prints(540), 10, 2],
    ]
    for (const [numbers, texts, count] of cases) {
      const keys = [...numbers, ...range(0, texts).map(noise)]
      await withEpoch(keys, (epoch) => {
        const messages = encodeSealed(epoch, { maxBytes: 4096 })

        expect([numbers.length, texts, messages.length]).toEqual([numbers.length, texts, count])
        expect(Math.max(...sizes(messages))).toBeLessThanOrEqual(4096)
        expect(messages.flatMap((message) => names(decodeEpoch(message))).sort()).toEqual(
          names(keys),
        )
      })
    }
  })

  it('writes the keys of an epoch without any as one message', async () => {
    await withEpoch([], (epoch) => {
      const messages = epoch.encode()

      expect(messages).toHaveLength(1)
      expect(answers(decodeEpoch(messages), [7, 'a'])).toEqual(answers(epoch, [7, 'a']))
    })
    const tracker = await openInline({ maxConsumers: 1 })
    tracker.consumer('one', { from: 'now' })
    const last = await tracker.stop() // the consumer gets the keys
    expect(names(decodeEpoch(last.encode()))).toEqual([])
  })

  it("gives the same bytes as another thread's reader of the epoch", async () => {
    const keys = [...range(0, 40_000), ...range(0, 500).map((id) => `/users/${id}`)]
    const everySort: EncodeOptions[] = [{}, { maxBytes: 4096 }, { text: 'fingerprint' }]
    await withEpoch(keys, (epoch) => {
      for (const options of everySort)
        expect(hex(encodeAttached(epoch.handle, options))).toEqual(
          hex(encodeSealed(epoch, options)),
        )
    })
    await withEpoch([], (epoch) => {
      expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex(epoch.encode()))
    })
  })

  it('reads no words but those of the epoch', () => {
    const text = [7, 8, 0x64636261] // a hash, the head of four characters, 'abcd'
    const words = Int32Array.from([0, ...text, ...text, ...text])
    const read = new Set<number>()
    const watched = new Proxy(words, {
      get(_, key) {
        if (/^[0-9]+$/.test(String(key))) read.add(Number(key))
        const value: unknown = Reflect.get(words, key, words)
        return typeof value === 'function' ? value.bind(words) : value
      },
    }) as unknown as SharedWords
    const header = { ...EMPTY_SLOT, textCount: 1, textBytes: 4, textEnd: 3 }
    const rest = { log: 0, filter: undefined, isBigint: false, hasPrints: false }
    for (const options of [{}, { text: 'fingerprint' }] as const) {
      const messages = encodeKeys({ words: watched, header, arena: 4, ...rest }, options)
      expect(decodeEpoch(messages).has('abcd')).toBe(true)
    }
    expect([...read].filter((i) => i < 4 || i >= 7)).toEqual([])
  })

  it('throws ERR_DIRTYRING_SETTLED once the keys are gone, on every thread', async () => {
    const [epoch, handle] = await withEpoch([7, 'a'], (each) => [each, each.handle] as const)

    const settled = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_SETTLED' }
    expectError(
      thrown(() => epoch.encode()),
      settled,
    )
    expectError(
      thrown(() => encodeAttached(handle, {})),
      settled,
    )
  })

  it("brings bigints back where the tracker's keys are bigints", async () => {
    const keys = [7n, 2n ** 40n, 2n ** 64n - 1n]
    const options: TrackerOptions = { keys: 'bigint' }
    await withEpoch(
      keys,
      (epoch) => {
        expect([...decodeEpoch(epoch.encode())]).toEqual(keys)
        expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex(epoch.encode()))
      },
      options,
    )
  })
})

describe('texts that do not leave the process', () => {
  const text = { text: 'fingerprint' } as const

  it('are asked for as before, and none of their characters is in the messages', async () => {
    const texts = TEXTS.map(([, each]) => each)
    await withEpoch([7, ...texts, 'secret@example.com', Uint8Array.of(1, 2)], (epoch) => {
      const messages = encodeSealed(epoch, text)
      const decoded = decodeEpoch(messages)

      for (const each of texts) expect(decoded.has(each)).toBe(true)
      expect(decoded.has(Uint8Array.of(1, 2)) && decoded.has('secret@example.com')).toBe(true)
      expect(decoded.has('another') || decoded.has(Uint8Array.of(1))).toBe(false)
      expect(() => decoded.texts()).toThrow(/is not exact/)
      const { strings, byteKeys } = decodeKeys(messages[0])
      expect([messages.length, strings, byteKeys]).toEqual([1, [], []])
    })
  })

  it('change nothing for an epoch without texts', async () => {
    await withEpoch([7, 9], (epoch) => {
      expect(hex(encodeSealed(epoch, text))).toEqual(hex(epoch.encode()))
    })
  })

  it('are one key if they have one fingerprint', async () => {
    await withEpoch(['a', Uint8Array.of(97), fingerprint('a'), 7], (epoch) => {
      const decoded = decodeEpoch(encodeSealed(epoch, text))

      expect([decoded.size, ...[7, 'a', fingerprint('a'), 'b'].map(decoded.has, decoded)]).toEqual([
        2,
        true,
        true,
        true,
        false,
      ])
    })
  })

  it('are not found by a number that is their fingerprint where texts travel', async () => {
    await withEpoch([fingerprint('a')], (epoch) => {
      expect([epoch.has('a'), decodeEpoch(epoch.encode()).has('a')]).toEqual([false, false])
    })
  })

  it('are those of a tracker without memory for texts, too', async () => {
    await withEpoch(
      ['a', 'b\ud800', 7],
      (epoch) => {
        const decoded = decodeEpoch(epoch.encode())
        const asked = ['a', 'b\ud800', 'c', 7, 8, fingerprint('a')]

        expect(answers(decoded, asked)).toEqual(answers(epoch, asked))
        expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex(epoch.encode()))
      },
      { maxStringsPerEpoch: 0 },
    )
  })
})

describe('a text that no message has room for', () => {
  it('makes its part a superset, and is found by has()', async () => {
    const long = ['x', 'y'].map((letter) => letter.repeat(5000))
    await withEpoch([7, 'short', ...long], (epoch) => {
      const messages = encodeSealed(epoch, { maxBytes: 4096 })
      const decoded = decodeEpoch(messages)

      expect(Math.max(...sizes(messages))).toBeLessThanOrEqual(4096)
      expect(answers(decoded, [7, 'short', ...long])).toEqual({
        size: 2,
        exact: false,
        reason: 'overflow',
        precision: 'superset',
        everythingIn: [],
        has: [true, true, true, true],
      })
      expect(decoded.has('z'.repeat(5000))).toBe(false)
    })
    await withEpoch(long, (epoch) => {
      expect(encodeSealed(epoch, { maxBytes: 4096 })).toHaveLength(1)
    })
  })

  it('is told from the longest one that a message has room for', async () => {
    const texts = range(3850, 100).map((length) => String(length).padEnd(length, 'x'))
    await withEpoch(texts, (epoch) => {
      const messages = encodeSealed(epoch, { maxBytes: 4096 })
      const decoded = decodeEpoch(messages)

      expect(decoded.size).toBeGreaterThan(40)
      expect(decoded.precision).toBe('superset')
      expect(texts.filter((each) => !decoded.has(each))).toEqual([])
    })
  })
})

describe('an epoch with more keys than it lists', () => {
  it.each([
    { maxKeysPerEpoch: 16, keys: 17 },
    { maxKeysPerEpoch: 16, keys: 200 },
    { maxKeysPerEpoch: 1000, keys: 1001 },
    { maxKeysPerEpoch: 1000, keys: 9000 },
    { maxKeysPerEpoch: 4096, keys: 12_000 },
  ])(
    'travels as a filter of 10 to 21 bits a key: $keys keys of $maxKeysPerEpoch',
    async ({ maxKeysPerEpoch, keys }) => {
      const marked = ['a', '\ud800', ...range(0, keys).map((id) => fingerprint(`id ${id}`))]
      const others = range(0, 8000).map((id) => fingerprint(`other ${id}`))
      await withEpoch(
        marked,
        (epoch) => {
          expect(epoch.precision).toBe('superset')
          const messages = epoch.encode()
          const decoded = decodeEpoch(messages)

          expect(marked.filter((key) => !decoded.has(key))).toEqual([])
          const { precision, reason, exact, everythingIn } = decoded
          expect({ precision, reason, exact, everythingIn }).toEqual({
            precision: 'superset',
            reason: 'overflow',
            exact: false,
            everythingIn: [],
          })
          const wrong = others.filter((key) => decoded.has(key)).length / others.length
          expect(wrong).toBeLessThan(0.03)
          expect(Math.abs(decoded.falsePositives - wrong)).toBeLessThan(0.01)
          const bits = (messages[0].length - 20) * 8
          expect(bits).toBeLessThan(Math.max(512, 21.5 * keys))
          expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex(messages))

          // One message has room for 128 of the filter's blocks.
          const small = encodeSealed(epoch, { maxBytes: 4288 })
          expect(small.every(({ length }) => length <= 4288)).toBe(true)
          const united = decodeEpoch(small.toReversed())
          expect(marked.filter((key) => !united.has(key))).toEqual([])
          expect(united.falsePositives).toBe(decoded.falsePositives)
        },
        { ...ROOMY, maxKeysPerEpoch, maxStringsPerEpoch: 1000 },
      )
    },
  )

  it('travels alike from another thread where its list has texts', async () => {
    const tracker = await openInline({ maxKeysPerEpoch: 16 })
    const writer = tracker.openWriter()
    writer.mark('a')
    await tracker.flushed()
    writer.markMany(range(0, 40))
    await tracker.consume((epoch) => {
      expect([epoch.precision, [...epoch.listed()].includes('a')]).toEqual(['superset', true])
      const messages = encodeAttached(epoch.handle, {})

      expect(hex(messages)).toEqual(hex(epoch.encode()))
      const decoded = decodeEpoch(messages)
      expect(['a', 0, 39].every((key) => decoded.has(key))).toBe(true)
    })
  })

  it('travels in a filter no larger than its own, however many keys are in it', async () => {
    const bytesOf = (keys: number): Promise<number> =>
      withEpoch(
        range(0, keys).map((id) => fingerprint(`id ${id}`)),
        (epoch) => {
          const [message, ...rest] = epoch.encode()
          expect([epoch.precision, rest]).toEqual(['superset', []])
          return message.length
        },
        { ...ROOMY, maxKeysPerEpoch: 16 },
      )
    expect(await bytesOf(900)).toBe(await bytesOf(400))
  })

  it('travels as everything if it is, without its keys', async () => {
    const tracker = await openInline(ROOMY)
    tracker.openWriter().markMany(range(0, 1000))
    tracker.markEverything()
    await tracker.consume((epoch) => {
      const [message, ...rest] = epoch.encode()

      expect([rest.length, message.length < 20]).toEqual([0, true])
      expect(answers(decodeEpoch(message), [7, 'a'])).toEqual({
        ...(answers(epoch, [7, 'a']) as object),
        size: 0,
      })
      expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex([message]))
    })
  })

  it('names the namespaces that changed as a whole, and has the keys of the others', async () => {
    const tracker = await openInline(ROOMY)
    const writer = tracker.openWriter()
    writer.markPair(1, 7)
    writer.markPair(1, 9)
    writer.mark('a')
    tracker.markEverything(7)
    tracker.markEverything(3)
    await tracker.consume((epoch) => {
      const decoded = decodeEpoch(epoch.encode())

      expect(decoded.everythingIn).toEqual([3, 7])
      for (const [low, high] of [
        [1, 7],
        [2, 7],
        [2, 3],
        [1, 9],
        [2, 9],
      ])
        expect(decoded.hasPair(low, high)).toBe(epoch.hasPair(low, high))
      expect([decoded.has('a'), decoded.has('b')]).toEqual([true, false])
      expect([decoded.precision, decoded.exact, decoded.reason]).toEqual([
        'exact',
        false,
        'everything',
      ])
      expect(names(decoded.listed())).toEqual(names(epoch.listed()))
    })
  })
})

describe("the epoch of a consumer that reads some namespaces, where it can't be served", () => {
  it('is everything in these, and its own keys if its reader is not fresh after all', async () => {
    const tracker = await openInline({ ...ROOMY, maxConsumers: 1 })
    const consumer = tracker.consumer('some', { namespaces: [7, 9] })
    tracker.openWriter().markPair(1, 7)
    await consumer.consume((epoch) => {
      expect(epoch.reason).toBe('fresh')
      const decoded = decodeEpoch(epoch.encode())
      const { precision, exact, reason, everythingIn } = decoded
      expect({ precision, exact, reason, everythingIn }).toEqual({
        precision: 'exact',
        exact: false,
        reason: 'fresh',
        everythingIn: [7, 9],
      })
      expect([decoded.hasPair(5, 7), decoded.hasPair(5, 8), decoded.has('a')]).toEqual([
        epoch.hasPair(5, 7),
        epoch.hasPair(5, 8),
        epoch.has('a'),
      ])
      expect(hex(encodeAttached(epoch.handle, {}))).toEqual(hex(epoch.encode()))

      const known = encodeSealed(epoch, { isNotFresh: true })
      expect(hex(encodeAttached(epoch.handle, { isNotFresh: true }))).toEqual(hex(known))
      expect([...decodeEpoch(known)]).toEqual([7 * 2 ** 32 + 1])
    })
  })
})

describe('decodeEpoch()', () => {
  const bad = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_BAD_MESSAGE' }

  it('unites the epochs of several trackers', async () => {
    const one = await withEpoch([1, 2, 'a'], (epoch) => epoch.encode())
    const two = await withEpoch([2, 3, 'b'], (epoch) => epoch.encode())
    const both = decodeEpoch([...one, ...two, ...one])

    expect(names(both)).toEqual(names([1, 2, 3, 'a', 'b']))
    expect(names(decodeEpoch([]))).toEqual([])
  })

  it('holds no more keys than its limits say', async () => {
    const messages = await withEpoch(range(0, 1000), (epoch) => epoch.encode())
    const decoded = decodeEpoch(messages, { maxKeysPerEpoch: 400 })

    expect([decoded.precision, decoded.size]).toEqual(['superset', 400])
    expect(range(0, 1000).every((id) => decoded.has(id))).toBe(true)
  })

  it('finds every byte that another program has changed, cut off or added', async () => {
    const [message] = await withEpoch([7, 2 ** 40, 'a', 'ab'], (epoch) => epoch.encode())
    const damaged = [
      ...Array.from(message, (byte, i) => message.map((each, k) => (k === i ? byte ^ 64 : each))),
      ...Array.from(message, (_, i) => message.slice(0, i)),
      Uint8Array.of(...message, 0),
    ]
    for (const each of damaged)
      expectError(
        thrown(() => decodeEpoch(each)),
        bad,
        'these bytes are not what the library wrote',
      )
    expect(decodeKeys(message).strings).toEqual(['a', 'ab'])
  })

  it.each<[what: string, messages: unknown, says: string]>([
    ['a string', 'DR', 'a Uint8Array or an array of them'],
    ['an array of others', [new Uint16Array(4)], '"messages[0]" must be a Uint8Array'],
    ['a Set', new Set([new Uint8Array(4)]), 'a Uint8Array or an array of them'],
  ])('refuses %s', (_, messages, says) => {
    expectError(
      thrown(() => decodeEpoch(messages as Uint8Array)),
      { name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' },
      says,
    )
  })

  it('refuses limits that are none', () => {
    const decode = (limits: object) => thrown(() => decodeEpoch([], limits))

    expectError(decode({ maxKeys: 1 }), { name: 'TypeError', code: 'ERR_DIRTYRING_INVALID_ARG' })
    expectError(
      decode({ maxKeysPerEpoch: 0 }),
      { name: 'RangeError', code: 'ERR_DIRTYRING_OUT_OF_RANGE' },
      '"limits.maxKeysPerEpoch"',
    )
  })
})

describe('what decodeEpoch() gives', () => {
  it('throws what a sealed epoch throws, with its words', async () => {
    const kinds = [
      { keys: [1, 2 ** 40, 'a'], inexact: false },
      { keys: [1, 2n ** 60n], inexact: false },
      { keys: ['a', Uint8Array.of(1)], inexact: false },
      { keys: [1, 'a'], inexact: true },
    ]
    const acts: ((keys: EpochKeys) => unknown)[] = [
      (keys) => keys.ids(),
      (keys) => keys.strings(),
      (keys) => keys.bigints,
      (keys) => keys.pairs,
      (keys) => keys.numbers(),
      (keys) => keys.texts(),
      (keys) => keys[Symbol.iterator](),
      (keys) => keys.forEachPair(() => undefined),
      (keys) => keys.forEachPair(7 as never),
      (keys) => keys.hasPair(1.5, 0),
      (keys) => keys.has({} as Key),
      (keys) => keys.has(-1),
    ]
    for (const { keys, inexact } of kinds) {
      const tracker = await openInline(ROOMY)
      tracker.openWriter().markMany(keys)
      if (inexact) tracker.markEverything(7)
      await tracker.consume((epoch) => {
        const decoded = decodeEpoch(epoch.encode())
        for (const act of acts) {
          const of = (from: EpochKeys): unknown => {
            try {
              act(from)
              return 'nothing is thrown'
            } catch (error) {
              const { name, code, message } = error as Error & { code: string }
              return [name, code, message.replace(/epoch 0|the epoch/, '')]
            }
          }
          expect(of(decoded)).toEqual(of(epoch))
          expect(of(attachEpoch(epoch.handle))).toEqual(of(epoch))
        }
      })
    }
  })
})
