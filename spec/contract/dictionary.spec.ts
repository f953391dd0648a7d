import { inspect } from 'node:util'
import { runInNewContext } from 'node:vm'
import { beforeAll, describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { addKey, D_SECRETS, hashOf, openDictionary } from '../../lib/dictionary/core.js'
import { DirtyTracker, KeyDictionary } from '../../lib/index.js'
import type { SharedWords } from '../../lib/memory/map.js'
import { range } from '../support/in-process.js'
import { runProgram } from '../support/program.js'
import { textOfWtf8, wtf8Of } from '../support/wtf8.js'

const KILLS = 14
const ROUNDS = 5

type Key = string | Uint8Array

const bytesOf = (key: Key): Uint8Array => (typeof key === 'string' ? wtf8Of(key) : key)
const nameOf = (key: Key): string => Buffer.from(bytesOf(key)).toString('hex')
const textOf = (key: Key): string => (typeof key === 'string' ? key : textOfWtf8(key))
const wordsOf = (dictionary: KeyDictionary): SharedWords =>
  new Int32Array(
    (dictionary.handle as unknown as { buffer: SharedArrayBuffer }).buffer,
  ) as SharedWords
/** Words of the space that a key takes. */
const sizeOf = (key: Key): number => 2 + Math.ceil(bytesOf(key).length / 4)

/** Bytes at an odd offset of a larger buffer. */
const anywhere = (bytes: Uint8Array): Uint8Array => {
  const around = new Uint8Array(bytes.length + 7).fill(0xee)
  around.set(bytes, 3)
  return around.subarray(3, 3 + bytes.length)
}

/**
 * Few keys, of all lengths around the ends of words, so that many come again and many differ in
 * little.
 */
const key: fc.Arbitrary<Key> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.string({
      unit: fc.constantFrom('a', 'b', '\0', 'é', '語', '\u{1f600}', '\ud800', '\udc00'),
      maxLength: 6,
    }),
  },
  { weight: 2, arbitrary: fc.uint8Array({ min: 0, max: 2, maxLength: 5 }).map(anywhere) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 90 }).map(anywhere) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 90 }) },
)
const keys = fc.array(key, { maxLength: 60 })

describe('KeyDictionary', () => {
  it('gives each key one number, from 0 up, and gives the key back for it', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    expect(names.find('user:7')).toBeUndefined()
    expect(names.id('user:7')).toBe(0)
    expect(names.id('user:8')).toBe(1)
    expect(names.id('user:7')).toBe(0)
    expect(names.find('user:8')).toBe(1)
    expect(names.find('user:9')).toBeUndefined()
    expect(names.size).toBe(2)
    expect([names.key(0), names.key(1)]).toEqual(['user:7', 'user:8'])
    expect(names.bytes(1)).toEqual(bytesOf('user:8'))
  })

  it('answers as a Map does, up to the last number and the last word', () => {
    fc.assert(
      fc.property(
        keys,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 8, max: 400 }),
        (sequence, maxKeys, maxBytes) => {
          const names = KeyDictionary.create({ maxKeys, maxBytes })
          const model = new Map<string, number>()
          const given: Key[] = []
          let free = Math.ceil(maxBytes / 4)
          for (const each of sequence) {
            const known = model.get(nameOf(each))
            expect(names.find(each)).toBe(known)
            if (known === undefined && (given.length === maxKeys || sizeOf(each) > free)) {
              expect(() => names.id(each)).toThrow(
                expect.objectContaining({ code: 'ERR_DIRTYRING_DICTIONARY_FULL' }),
              )
              expect(names.find(each)).toBeUndefined()
            } else {
              expect(names.id(each)).toBe(known ?? given.length)
              if (known === undefined) {
                model.set(nameOf(each), given.length)
                given.push(each)
                free -= sizeOf(each)
              }
            }
            expect(names.size).toBe(given.length)
          }
          for (const [id, each] of given.entries()) {
            expect(names.id(each)).toBe(id)
            expect(names.key(id)).toBe(textOf(each))
            expect(nameOf(names.bytes(id))).toBe(nameOf(each))
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('is one dictionary, whichever copy of its handle a thread attached', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.nat({ max: 2 })), { maxLength: 60 }), (sequence) => {
        const first = KeyDictionary.create({ maxKeys: 100 })
        const all = [
          first,
          KeyDictionary.attach(first.handle),
          KeyDictionary.attach(structuredClone({ ...first.handle })),
        ]
        const model = new Map<string, number>()
        for (const [each, who] of sequence) {
          const id = all[who].id(each)
          expect(id).toBe(model.get(nameOf(each)) ?? model.size)
          model.set(nameOf(each), id)
          for (const one of all) {
            expect(one.find(each)).toBe(id)
            expect(one.key(id)).toBe(textOf(each))
            expect(one.size).toBe(model.size)
          }
        }
      }),
      { numRuns: 100 },
    )
  })

  it.each([0, 1, 2, 3, 4, 5, 7, 8, 9, 39, 40, 41, 43, 44, 45, 4095, 4096, 4097, 100_001])(
    'takes keys of %d bytes',
    (length) => {
      const names = KeyDictionary.create({ maxKeys: 20, maxBytes: 20 * (length + 12) })
      const text = 'x'.repeat(length)
      const raw = Uint8Array.from({ length }, (_, i) => 255 - (i % 7))
      const wide = 'é'.repeat(length)
      const near = [
        text,
        raw,
        wide,
        `${text.slice(1)}y`,
        `y${text.slice(1)}`,
        `${text}\0`,
        text.slice(1),
      ]
      const all: Key[] = [...new Map(near.map((each) => [nameOf(each), each])).values()]
      expect(all.map((each) => names.id(each))).toEqual(all.map((_, id) => id))
      // What a longer key left in a buffer is no part of a shorter one.
      expect(all.toReversed().map((each) => names.find(each))).toEqual(
        all.map((_, id) => id).reverse(),
      )
      for (const [id, each] of all.entries()) {
        expect(names.key(id)).toBe(textOf(each))
        expect(Buffer.compare(names.bytes(id), bytesOf(each))).toBe(0)
      }
    },
  )

  it('takes a string for its UTF-8 bytes, and tells lone surrogates apart', () => {
    const names = KeyDictionary.create({ maxKeys: 20 })
    expect(names.id('é')).toBe(names.id(new Uint8Array([0xc3, 0xa9])))
    const texts = ['a\ufffdb', 'a\ud800b', 'a\udc00b', 'a\ud83d\ude00b', 'a\ude00\ud83db']
    const ids = texts.map((text) => names.id(text))
    expect(new Set(ids).size).toBe(texts.length)
    expect(ids.map((id) => names.key(id))).toEqual(texts)
    expect(names.bytes(ids[1])).toEqual(Uint8Array.of(0x61, 0xed, 0xa0, 0x80, 0x62))
    expect(names.find(names.bytes(ids[1]))).toBe(ids[1])
    expect(names.key(names.id('\ufeffa'))).toBe('\ufeffa')
    expect(names.id('\ufeffa')).not.toBe(names.id('a'))
  })

  it('tells bytes apart that are no UTF-8, and gives them back', () => {
    const names = KeyDictionary.create({ maxKeys: 300 })
    const all = Array.from({ length: 256 }, (_, i) => new Uint8Array([0xff, i]))
    const ids = all.map((each) => names.id(each))
    expect(new Set(ids).size).toBe(256)
    expect(names.key(ids[0xff])).toBe('\ufffd\ufffd')
    expect(ids.map((id) => names.bytes(id))).toEqual(all)
  })

  it('takes bytes wherever they lie: at an odd offset, in a Buffer, in shared or resizable memory, of another realm', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    const id = names.id('keys')
    const around = Uint8Array.from(Buffer.from('monkeys!'))
    const shared = new Uint8Array(new SharedArrayBuffer(8))
    shared.set(around)
    // TypeScript's library for ES2023 does not know resizable buffers.
    const resizable = new (ArrayBuffer as any)(8, { maxByteLength: 16 })
    new Uint8Array(resizable).set(around)
    const elsewhere = runInNewContext('Uint8Array.from([107, 101, 121, 115])') as Uint8Array
    for (const each of [
      around.subarray(3, 7),
      Buffer.from('keys'),
      shared.subarray(3, 7),
      new Uint8Array(resizable, 3, 4),
      elsewhere,
    ] as Uint8Array[]) {
      expect(names.find(each)).toBe(id)
    }
    resizable.resize(5)
    expect(names.find(new Uint8Array(resizable))).toBeUndefined()
    expect(names.size).toBe(1)
  })

  it('keeps a copy of the bytes, and hands one out', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    const mine = Buffer.from('a key')
    const id = names.id(mine)
    mine.fill(0)
    const copy = names.bytes(id)
    names.id('something else')
    expect(copy).toEqual(bytesOf('a key'))
    copy.fill(0)
    expect(names.key(id)).toBe('a key')
  })

  it('survives a stack overflow at any call in it: no number is lost, none is given twice', () => {
    const names = KeyDictionary.create({ maxKeys: 1000 })
    for (let i = 0; i < 500; i++) names.id(`known ${i}`) // compiled as it is in use
    const tried = Array.from({ length: 200 }, (_, i) => `key ${i}`)
    let next = 0
    let thrown = 0
    // Down to the end of the stack, and on the way back one key a frame: each has a little more
    // room than the one before.
    const dive = (): void => {
      try {
        dive()
      } catch {
        // that was the end
      }
      if (next === tried.length) return
      try {
        names.id(tried[next++])
      } catch {
        thrown++
      }
    }
    dive()
    expect(thrown).toBeGreaterThan(0)
    expect(thrown).toBeLessThan(tried.length)
    const ids = tried.map((each) => names.id(each))
    expect(ids.toSorted((a, b) => a - b)).toEqual(tried.map((_, i) => 500 + i))
    expect(ids.map((id) => names.key(id))).toEqual(tried)
    expect(names.size).toBe(500 + tried.length)
  })

  it('is not crowded by keys made to crowd a table: its secrets are its own', () => {
    const count = 2 ** 12
    const made: Record<string, (i: number) => Uint8Array> = {
      'one bit of each word': (i) =>
        Uint8Array.from(
          { length: 64 },
          (_, at) => ((i >> (at >> 2)) & 1) << (at % 4 === 3 ? 7 : 0),
        ),
      'the top bits of one word': (i) => new Uint8Array(new Uint32Array([0, i << 20, 0]).buffer),
      'words that cancel when they are xored': (i) =>
        new Uint8Array(new Uint32Array([i * 0x9e3779b1, i * 0x9e3779b1]).buffer),
      'words that cancel in a polynomial of 31': (i) =>
        new Uint8Array(new Int32Array([i, -31 * i]).buffer),
      'numbers in a row': (i) => bytesOf(String(i)),
      'zeros, more and more': (i) => new Uint8Array(i >> 5).fill(0).fill(i & 31, 0, 1),
    }
    for (const [name, make] of Object.entries(made)) {
      const names = KeyDictionary.create({ maxKeys: count, maxBytes: count * 600 })
      for (let i = 0; i < count; i++) names.id(make(i))
      const words = wordsOf(names)
      const { table, space, seed, mulA, mulB } = openDictionary(words)
      expect([seed, mulA, mulB]).toEqual([...words.slice(D_SECRETS, D_SECRETS + 3)])
      let longest = 0
      for (let i = table, run = 0; i < space; i++)
        longest = Math.max(longest, (run = words[i] === 0 ? 0 : run + 1))
      // Half of the cells are full at most: keys drawn at random leave runs of about 30.
      expect({ name, crowded: longest > 100 }).toEqual({ name, crowded: false })
    }
    const secrets = Array.from(
      { length: 5 },
      () => wordsOf(KeyDictionary.create({ maxKeys: 1 }))[D_SECRETS],
    )
    expect(new Set(secrets).size).toBe(5)
  })

  it('is printed in one line', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    names.id('a')
    expect(inspect(names)).toBe(
      `KeyDictionary { size: 1, maxKeys: 10, byteLength: ${names.byteLength} }`,
    )
  })

  it('reserves what it says: 12 to 20 bytes a key, and room for their bytes', () => {
    for (const [maxKeys, perKey] of [
      [2 ** 16, 12],
      [2 ** 16 + 1, 20],
    ]) {
      const { byteLength } = KeyDictionary.create({ maxKeys, maxBytes: 8000 })
      expect((byteLength - 8000) / maxKeys).toBeGreaterThan(perKey)
      expect((byteLength - 8000) / maxKeys).toBeLessThan(perKey + 0.1)
    }
  })
})

describe('a KeyDictionary that is full', () => {
  const full = (what: string) =>
    expect.objectContaining({
      code: 'ERR_DIRTYRING_DICTIONARY_FULL',
      message: expect.stringContaining(what),
    })

  it('says so when there is no number left, and keeps what it has', () => {
    const names = KeyDictionary.create({ maxKeys: 3 })
    const other = KeyDictionary.attach(names.handle)
    expect(['a', 'b', 'c'].map((each) => names.id(each))).toEqual([0, 1, 2])
    for (const one of [names, other]) {
      expect(() => one.id('d')).toThrow(
        full('all 3 numbers (maxKeys) are taken, and "key" is a new one of 1 bytes'),
      )
      expect(() => one.id('d')).toThrow(full('A key takes its bytes, rounded up to 4, and 8 more'))
      expect(one.find('d')).toBeUndefined()
      expect(['c', 'b', 'a'].map((each) => one.id(each))).toEqual([2, 1, 0])
      expect(one.size).toBe(3)
    }
  })

  it('says so when there is no room left; a shorter key still fits, and gets the number that was taken', () => {
    const names = KeyDictionary.create({ maxKeys: 10, maxBytes: 32 })
    expect(names.id('123456789')).toBe(0)
    expect(() => names.id('12345')).toThrow(full('32 bytes for keys (maxBytes)'))
    expect(names.size).toBe(1)
    expect(names.id('1234')).toBe(1)
    expect(() => names.id('')).toThrow(full('a new one of 0 bytes'))
    expect([names.key(0), names.key(1), names.size]).toEqual(['123456789', '1234', 2])
  })

  it('neither counts nor reads back a number that was taken and that no key has', () => {
    const names = KeyDictionary.create({ maxKeys: 10, maxBytes: 24 })
    const other = KeyDictionary.attach(names.handle)
    expect(() => other.id('1234567890123')).not.toThrow()
    expect(() => other.id('x')).toThrow(full('24 bytes')) // has number 1 now, and no use for it
    expect(names.size).toBe(1)
    expect(() => names.key(1)).toThrow(RangeError)
  })

  it('never looks at a key that is longer than all its room, and takes no number for it', () => {
    const names = KeyDictionary.create({ maxKeys: 1, maxBytes: 100 })
    const huge: Key[] = ['x'.repeat(2 ** 28), new Uint8Array(2 ** 28)]
    const before = process.memoryUsage().arrayBuffers
    for (const each of [...huge, 'é'.repeat(60), new Uint8Array(93)]) {
      expect(names.find(each)).toBeUndefined()
      expect(() => names.id(each)).toThrow(full('100 bytes for keys (maxBytes)'))
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 ** 20)
    }
    expect(KeyDictionary.attach(names.handle).id('x'.repeat(92))).toBe(0)
  })
})

describe('what a KeyDictionary refuses', () => {
  const refusal = (type: string, code: string, message: string) =>
    expect.objectContaining({
      name: type,
      code: `ERR_DIRTYRING_${code}`,
      message: expect.stringContaining(message),
    })

  it.each<[string, any, string, string]>([
    ['options', null, 'INVALID_ARG', '"options" must be a plain object, got null'],
    ['options', 5, 'INVALID_ARG', '"options" must be a plain object, got 5'],
    ['maxKeys', { maxKeys: '5' }, 'INVALID_ARG', '"options.maxKeys" must be a number, got "5"'],
    [
      'maxKeys',
      { maxKeys: 0 },
      'OUT_OF_RANGE',
      '"options.maxKeys" must be a whole number from 1 to 16777216, got 0',
    ],
    ['maxKeys', { maxKeys: 2 ** 24 + 1 }, 'OUT_OF_RANGE', 'got 16777217'],
    ['maxKeys', { maxKeys: 1.5 }, 'OUT_OF_RANGE', 'got 1.5'],
    [
      'maxBytes',
      { maxBytes: NaN },
      'OUT_OF_RANGE',
      '"options.maxBytes" must be a whole number from 8 to 4026531840, got NaN',
    ],
    ['maxBytes', { maxBytes: 7 }, 'OUT_OF_RANGE', 'got 7'],
    ['maxBytes', { maxBytes: 2 ** 32 }, 'OUT_OF_RANGE', 'got 4294967296'],
    ['maxBytes', { maxBytes: 8n }, 'INVALID_ARG', '"options.maxBytes" must be a number, got 8n'],
  ])('create(): %s %j', (_what, options, code, message) => {
    expect(() => KeyDictionary.create(options)).toThrow(
      refusal(code === 'INVALID_ARG' ? 'TypeError' : 'RangeError', code, message),
    )
  })

  it('a key that is neither a string nor bytes, and nothing has changed', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    const wrong: any[] = [
      undefined,
      null,
      5,
      5n,
      {},
      [97],
      Symbol.iterator,
      new String('a'),
      new Uint16Array(2),
      new DataView(new ArrayBuffer(2)),
    ]
    for (const each of wrong) {
      for (const call of ['id', 'find'] as const)
        expect(() => names[call](each)).toThrow(
          refusal('TypeError', 'INVALID_ARG', '"key" must be a string or a Uint8Array, got '),
        )
    }
    const detached = new Uint8Array(4)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    for (const call of ['id', 'find'] as const)
      expect(() => names[call](detached)).toThrow(
        refusal('TypeError', 'INVALID_ARG', '"key" must be a view of memory that this thread has'),
      )
    expect(names.size).toBe(0)
  })

  it('a number that no key has', () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    for (let i = 0; i < 5; i++) names.id(`key ${i}`)
    for (const call of ['key', 'bytes'] as const) {
      for (const id of [5, 9, 10, -1, 0.5, NaN, Infinity, 2 ** 32, -(2 ** 32)])
        expect(() => names[call](id)).toThrow(
          refusal(
            'RangeError',
            'OUT_OF_RANGE',
            `"id" must be a number that id() returned, got ${id}`,
          ),
        )
      for (const id of [undefined, null, '0', 0n, {}] as any[])
        expect(() => names[call](id)).toThrow(
          refusal('TypeError', 'INVALID_ARG', '"id" must be a number, got '),
        )
    }
    expect(KeyDictionary.create({ maxKeys: 1 }).find('')).toBeUndefined()
    expect(() => KeyDictionary.create({ maxKeys: 1 }).key(0)).toThrow(RangeError)
  })

  it('a value that is not a handle of a dictionary', async () => {
    const names = KeyDictionary.create({ maxKeys: 10 })
    const { buffer } = names.handle as unknown as { buffer: SharedArrayBuffer }
    const tracker = await DirtyTracker.create({ aggregator: 'none' })
    const otherVersion = new SharedArrayBuffer(buffer.byteLength)
    new Int32Array(otherVersion).set(wordsOf(names))
    new Int32Array(otherVersion)[1] = 7
    const larger = new SharedArrayBuffer(buffer.byteLength + 4)
    new Int32Array(larger).set(wordsOf(names))
    const handle = (parts: object) => ({ ...(names.handle as object), ...parts })
    const attempts: [unknown, string, string][] = [
      [undefined, 'BAD_HANDLE', '"handle" must be dictionary.handle, got undefined'],
      [null, 'BAD_HANDLE', 'got null'],
      ['handle', 'BAD_HANDLE', 'got "handle"'],
      [{}, 'BAD_HANDLE', 'got another object'],
      [names, 'BAD_HANDLE', 'not the dictionary itself'],
      [structuredClone(names), 'BAD_HANDLE', 'not the dictionary itself'],
      [tracker.handle, 'BAD_HANDLE', 'got another object'],
      [JSON.parse(JSON.stringify(names.handle)), 'BAD_HANDLE', 'not as JSON'],
      [handle({ buffer: undefined }), 'BAD_HANDLE', 'handle.buffer'],
      [handle({ buffer: new ArrayBuffer(buffer.byteLength) }), 'BAD_HANDLE', 'handle.buffer'],
      [
        handle({ buffer: new SharedArrayBuffer(0) }),
        'BAD_HANDLE',
        '"handle.buffer" must be memory of a KeyDictionary, got magic undefined',
      ],
      [
        handle({ buffer: (tracker.handle as any).buffer }),
        'BAD_HANDLE',
        '"handle.buffer" must be memory of a KeyDictionary',
      ],
      [
        handle({ buffer: larger }),
        'BAD_HANDLE',
        `must have ${buffer.byteLength} bytes for 10 keys, got ${buffer.byteLength + 4}`,
      ],
      [
        handle({ dirtyringDictionary: 2 }),
        'VERSION',
        'must be of dictionary layout version 1, got 2',
      ],
      [
        handle({ buffer: otherVersion }),
        'VERSION',
        'must be of dictionary layout version 1, got 7',
      ],
    ]
    for (const [wrong, code, message] of attempts) {
      expect(() => KeyDictionary.attach(wrong as never)).toThrow(
        refusal('TypeError', code, message),
      )
    }
    expect(() => KeyDictionary.attach(structuredClone(names.handle)).id('a')).not.toThrow()
    expect(names.find('a')).toBe(0)
    await tracker.stop()
  })
})

describe('a KeyDictionary to which another thread adds a key in the midst of id()', () => {
  const methods = ['load', 'store', 'compareExchange'] as const

  /** What `act` returns; before its access number `n` to the memory, `other` is run. */
  function between<T>(act: () => T, n: number, other: () => void): T {
    let count = 0
    const own = methods.map((name) => Atomics[name] as (...args: unknown[]) => unknown)
    const restore = (): void =>
      methods.forEach((name, i) => Object.assign(Atomics, { [name]: own[i] }))
    methods.forEach((name, i) =>
      Object.assign(Atomics, {
        [name]: (...args: unknown[]) => {
          if (count++ === n) {
            restore()
            other()
          }
          return own[i](...args)
        },
      }),
    )
    try {
      return act()
    } finally {
      restore()
    }
  }

  const ACCESSES = 7

  /** id() of a thread that has memory of its own for the key; -1 when the dictionary is full. */
  const adder = (names: KeyDictionary): ((key: string) => number) => {
    const d = openDictionary(wordsOf(names))
    return (key) => {
      const words = new Int32Array(8)
      return addKey(
        d,
        words,
        new TextEncoder().encodeInto(key, new Uint8Array(words.buffer)).written,
      )
    }
  }

  it.each(range(0, ACCESSES))('loses no number and no room, before access %d', (n) => {
    for (const [key, ...rest] of [
      ['20 characters of key', '', '12 of others', 'last'],
      ['12345', '67890', 'last'],
    ]) {
      for (const added of [[key], ['another'], [key, 'another'], ['another', key]]) {
        const keys = [...new Set([key, ...added, ...rest])]
        const maxBytes = keys.reduce((sum, each) => sum + sizeOf(each), 0) * 4
        const names = KeyDictionary.create({ maxKeys: keys.length, maxBytes })
        const [mine, others] = [adder(names), adder(names)]
        const id = between(
          () => mine(key),
          n,
          () => added.forEach(others),
        )
        rest.forEach(mine)

        const ids = keys.map((each) => names.find(each)!)
        expect(ids[0]).toBe(id)
        expect(ids.toSorted((a, b) => a - b)).toEqual(keys.map((_, i) => i))
        expect(ids.map((each) => names.key(each))).toEqual(keys)
        expect(names.size).toBe(keys.length)
      }
    }
  })

  it.each(range(0, ACCESSES))('finds it with the last number or room, before access %d', (n) => {
    for (const options of [
      { maxKeys: 1, maxBytes: 100 },
      { maxKeys: 2, maxBytes: 12 },
    ]) {
      const names = KeyDictionary.create(options)
      const [mine, others] = [adder(names), adder(names)]
      const id = between(
        () => mine('key'),
        n,
        () => others('key'),
      )
      expect([id, names.find('key'), names.size]).toEqual([id, id, 1])
    }
  })
})

describe('a KeyDictionary of many threads', () => {
  let found: any

  beforeAll(async () => {
    found = await runProgram('dictionary', { seed: 5, kills: KILLS, rounds: ROUNDS })
  })

  it('gives each key one number and each number one key, although threads are terminated in it', () => {
    const { agreement } = found
    expect(agreement).toMatchObject({ errors: [], disagreed: 0, misread: 0, kills: KILLS })
    expect(agreement.size).toBe(agreement.keys)
    // Each that lived to the end found every key that any thread had told of, and counts the same.
    expect(agreement.answers).toEqual(
      Array.from({ length: agreement.threads }, () => ({ wrong: [], size: agreement.keys })),
    )
    expect(agreement.atWork).toBeGreaterThanOrEqual(KILLS * 0.8)
    // A number at most for each that died, and one for each that came second at last.
    expect(agreement.lost).toBeLessThanOrEqual(KILLS + Number(agreement.threads))
  })

  it('gives the keys of an epoch back, by the numbers that a terminated writer marked', () => {
    const { path } = found
    expect(path).toMatchObject({ errors: [], rounds: ROUNDS })
    expect(path.read).toBeGreaterThanOrEqual(ROUNDS * 300)
  })
})

describe('a KeyDictionary with keys of many bytes', () => {
  /**
   * The scratch for keys holds 16,384 bytes, and a character takes at most three bytes for each of
   * its UTF-16 units. Keys of 4,096 bytes are read back through memory of their own.
   */
  const lengths = [
    39, 40, 41, 42, 1023, 1024, 1025, 1364, 1365, 1366, 1367, 2047, 2048, 2049, 4095, 4096, 4097,
    5460, 5461, 5462, 10_000, 16_383, 16_384, 16_385,
  ]

  it.each(['a', 'é', '語', '\u{1f600}', '\ud800'])(
    'gives each length of %j its own number, and gives the key back for it',
    (character) => {
      const names = KeyDictionary.create({ maxKeys: 400, maxBytes: 2 ** 25 })
      const texts = lengths.flatMap((length) =>
        (length < 2000 ? ['', 'a', 'ab', 'abc'] : ['', 'ab']).map(
          (before) => before + character.repeat(length),
        ),
      )
      const given = new Map<string, number>()
      for (const text of texts) {
        const known = given.get(text) // 'a' before many of 'a' is a key that came before
        expect(names.find(text)).toBe(known)
        given.set(text, names.id(text))
        if (known !== undefined) expect(names.id(text)).toBe(known)
      }
      expect([...given.values()]).toEqual(Array.from({ length: given.size }, (_, id) => id))
      for (const [text, id] of given) {
        const bytes = bytesOf(text)
        expect(names.key(id) === textOf(text)).toBe(true)
        expect(Buffer.compare(names.bytes(id), bytes)).toBe(0)
        expect([names.find(text), names.find(bytes), names.id(anywhere(bytes))]).toEqual([
          id,
          id,
          id,
        ])
      }
      expect(names.size).toBe(given.size)
    },
  )

  it('tells keys apart that differ in their last byte only, or in one zero byte more', () => {
    for (const length of [...lengths, 65_535, 65_536, 65_537]) {
      const names = KeyDictionary.create({ maxKeys: 4, maxBytes: 2 ** 20 })
      const all = new Uint8Array(length + 1).fill(7)
      all[length] = 0
      const keys = [all.slice(0, length), all.slice(), all.slice(0, length - 1)]
      keys.push(Uint8Array.from(keys[0], (byte, at) => (at === length - 1 ? 8 : byte)))
      expect(keys.map((each) => names.id(each))).toEqual([0, 1, 2, 3])
      expect(keys.map((each) => names.find(each))).toEqual([0, 1, 2, 3])
      for (const [id, each] of keys.entries()) expect(Buffer.compare(names.bytes(id), each)).toBe(0)
    }
  })

  it('finds a short key after a long one, and the other way round: no byte of the last key is left', () => {
    const names = KeyDictionary.create({ maxKeys: 64, maxBytes: 2 ** 20 })
    const long = [
      new Uint8Array(5000).fill(0xff),
      '\uffff'.repeat(1500),
      new Uint8Array(4096).fill(0xff),
    ]
    const short: Key[] = [
      '',
      'a',
      'ab',
      'abc',
      'é',
      'éa',
      '語',
      Uint8Array.of(1, 2),
      new Uint8Array(41),
      'é'.repeat(21),
      'x'.repeat(45),
    ]
    const ids = short.map((each) => names.id(each))
    for (const each of long) {
      for (const [i, one] of short.entries()) {
        names.id(each)
        expect([names.id(one), names.find(one)]).toEqual([ids[i], ids[i]])
      }
    }
    expect(names.size).toBe(short.length + long.length)
  })
})

describe('a KeyDictionary whose keys meet in one place of its table', () => {
  it('tells keys apart that have one hash, whatever they have in common', () => {
    const names = KeyDictionary.create({ maxKeys: 300, maxBytes: 2 ** 20 })
    wordsOf(names).fill(0, D_SECRETS, D_SECRETS + 3) // with factors of 0 every key has hash 0
    const same = KeyDictionary.attach(names.handle)
    const zeros = Array.from({ length: 40 }, (_, length) => new Uint8Array(length))
    const long = [65_536, 65_540, 131_072].map((length) => new Uint8Array(length))
    const texts = Array.from({ length: 100 }, (_, i) => `key number ${i}`)
    const keys: Key[] = [
      ...long,
      ...zeros,
      ...texts,
      'a',
      'a\0',
      'b',
      '\0a',
      'aaaab',
      'aaaac',
      'baaaa',
    ]
    expect(keys.map((each) => same.find(each))).toEqual(keys.map(() => undefined))
    expect(keys.map((each) => same.id(each))).toEqual(keys.map((_, id) => id))
    expect(keys.map((each) => same.find(each))).toEqual(keys.map((_, id) => id))
    for (const [id, each] of keys.entries()) expect(nameOf(same.bytes(id))).toBe(nameOf(each))
  })

  it('goes on at the first cell after the last one', () => {
    const names = KeyDictionary.create({ maxKeys: 16 })
    const d = openDictionary(wordsOf(names))
    const homeOf = (text: string): number => {
      const bytes = bytesOf(text.padEnd(8))
      return hashOf(d, new Int32Array(bytes.buffer, 0, 2), 8) >>> d.shift
    }
    const last = -1 >>> d.shift
    const texts = Array.from({ length: 20_000 }, (_, i) => String(i).padEnd(8))
    const crowd = [
      ...texts.filter((text) => homeOf(text) === last).slice(0, 6),
      ...texts.filter((text) => homeOf(text) === 0).slice(0, 3),
    ]
    expect(crowd.map((text) => names.id(text))).toEqual(crowd.map((_, id) => id))
    expect(crowd.map((text) => names.find(text))).toEqual(crowd.map((_, id) => id))
    expect(crowd.map((_, id) => names.key(id))).toEqual(crowd)
    const absent = texts.filter((text) => homeOf(text) === last).slice(6, 9)
    expect(absent.map((text) => names.find(text))).toEqual([undefined, undefined, undefined])
    const cells = Array.from(
      wordsOf(names).subarray(d.table, d.space),
      (cell, at) => [cell !== 0, at] as const,
    )
    expect(cells.filter(([taken]) => taken).map(([, at]) => at)).toEqual([
      0,
      1,
      2,
      3,
      4,
      5,
      6,
      7,
      last,
    ])
  })
})

describe('a KeyDictionary and the first and the last character of each length in UTF-8', () => {
  it('has the bytes that a TextEncoder gives, or those of WTF-8, in keys of any length', () => {
    const points = [
      0, 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xd800, 0xdfff, 0xe000, 0xffff, 0x10000, 0x10ffff,
    ]
    const names = KeyDictionary.create({ maxKeys: 10_000 })
    for (const point of points) {
      for (const before of [
        '',
        'a',
        'ab',
        'abc',
        'abcd',
        'a'.repeat(38),
        'a'.repeat(39),
        'a'.repeat(40),
        'a'.repeat(41),
      ]) {
        const text = before + String.fromCodePoint(point)
        const id = names.id(text)
        expect(nameOf(names.bytes(id))).toBe(nameOf(text))
        expect(names.find(bytesOf(text))).toBe(id)
      }
    }
  })
})
