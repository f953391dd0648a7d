import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it, jest } from '@jest/globals'
import fc from 'fast-check'
import murmurhash from 'murmurhash3js-revisited'
import { textOfWtf8, wtf8Of } from '../support/wtf8.js'

type Text = typeof import('../../lib/text/encode.js') &
  typeof import('../../lib/text/decode.js') &
  Pick<typeof import('../../lib/text/murmur.js'), 'digest'> &
  Pick<typeof import('../../lib/fingerprint.js'), 'fingerprint'> & {
    host: typeof import('../../lib/text/host.js')
  }

/** The hosts that the modules are loaded for: what each one lacks. */
const HOSTS = {
  'with all that Node has': {},
  'without Buffer': { Buffer: undefined },
  'without TextEncoder': { TextEncoder: undefined },
  'without TextEncoder and isWellFormed()': { TextEncoder: undefined, isWellFormed: undefined },
  'without TextDecoder': { TextDecoder: undefined },
  'without Buffer and TextDecoder': { Buffer: undefined, TextDecoder: undefined },
  'without Buffer and TextEncoder': { Buffer: undefined, TextEncoder: undefined },
  'without any of them': { Buffer: undefined, TextEncoder: undefined, TextDecoder: undefined },
  'whose TextEncoder and Buffer are made of other things': {
    TextEncoder: () => undefined,
    TextDecoder: class {
      decode(): string {
        return ''
      }
    },
    Buffer: { from: () => new Uint8Array(4) },
  },
}

async function load(lacks: Record<string, unknown>): Promise<Text> {
  const isOfStrings = (name: string): boolean => name === 'isWellFormed'
  const objectOf = (name: string): any => (isOfStrings(name) ? String.prototype : globalThis)
  const before = Object.keys(lacks).map(
    (name) => [name, Object.getOwnPropertyDescriptor(objectOf(name), name)!] as const,
  )
  for (const [name, value] of Object.entries(lacks))
    Object.defineProperty(objectOf(name), name, { value, configurable: true, writable: true })
  try {
    jest.resetModules()
    return {
      host: await import('../../lib/text/host.js'),
      ...(await import('../../lib/text/encode.js')),
      ...(await import('../../lib/text/decode.js')),
      digest: (await import('../../lib/text/murmur.js')).digest,
      fingerprint: (await import('../../lib/fingerprint.js')).fingerprint,
    }
  } finally {
    for (const [name, descriptor] of before) Object.defineProperty(objectOf(name), name, descriptor)
  }
}

const reference = (bytes: Uint8Array): string =>
  (murmurhash as { x86: { hash128(bytes: Uint8Array, seed: number): string } }).x86.hash128(
    bytes,
    0,
  )

function wordsOf(bytes: Uint8Array): Int32Array {
  const words = new Int32Array((bytes.length + 3) >>> 2)
  new Uint8Array(words.buffer).set(bytes)
  return words
}

/** What the scratch has, the zeros that fill up the last word included. */
function hasWordsOf({ scratch }: Text, bytes: Uint8Array): boolean {
  const size = (bytes.length + 3) & ~3
  const found = Buffer.from(scratch.words.buffer, 0, size)
  return found.equals(Buffer.from(wordsOf(bytes).buffer))
}

/** Longer keys are compared with the digest of their bytes: the package is slow. */
const SLOW = 2 ** 10

function hasDigestOf(text: Text, bytes: Uint8Array): boolean {
  const hex = (): string =>
    Array.from(text.digest, (word) => (word >>> 0).toString(16).padStart(8, '0')).join('')
  const digest = hex()
  if (bytes.length <= SLOW) return digest === reference(bytes)
  text.encodeBytes(bytes, bytes.length)
  return digest === hex()
}

/** Whether bytes were written, of which a writer returned the length. */
function wasWritten(text: Text, length: number, bytes: Uint8Array): boolean {
  return length === bytes.length && hasWordsOf(text, bytes) && hasDigestOf(text, bytes)
}

/** Words somewhere in shared memory, all else of which is ones. */
function shared(bytes: Uint8Array, at: number): Int32Array {
  const words = wordsOf(bytes)
  const all = new Int32Array(new SharedArrayBuffer(4 * (words.length + at + 3))).fill(-1)
  all.set(words, at)
  return all
}

function check(text: Text, key: string): void {
  const bytes = wtf8Of(key)
  const { length } = bytes
  const isWritten = wasWritten(text, text.encodeText(key), bytes)
  const isPacked = text.packText(key) === length && hasWordsOf(text, bytes)
  const isRead =
    text.decodeText(wordsOf(bytes), 0, length) === key &&
    text.decodeText(shared(bytes, 5), 5, length) === key
  const copy = text.decodeBytes(shared(bytes, 3), 3, length)
  const isCopied =
    copy.buffer instanceof ArrayBuffer &&
    copy.buffer.byteLength === length &&
    Buffer.compare(copy, bytes) === 0
  const isHashed = text.fingerprint(key) === text.fingerprint(new TextEncoder().encode(key))
  if (isWritten && isPacked && isRead && isCopied && isHashed) return
  expect({ key, isWritten, isPacked, isRead, isCopied, isHashed }).toEqual({
    key,
    isWritten: true,
    isPacked: true,
    isRead: true,
    isCopied: true,
    isHashed: true,
  })
}

const LONE = ['\ud800', '\udbff', '\udc00', '\udfff', '\ud83d', '\ude00']
/** UTF-16 units of every kind, those of pairs and halves of pairs most of all. */
const anyText = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0x7f }).map((unit) => String.fromCharCode(unit)),
      fc.integer({ min: 0x80, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
      fc.constantFrom('é', '語', '😀', '\0', '\ufffd', '\ufeff', ...LONE),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(''))

afterEach(() => {
  jest.resetModules()
})

describe.each(Object.entries(HOSTS))('text in a host %s', (_name, lacks) => {
  it('is written as WTF-8, hashed, and read back as it was: ASCII of 0 to 200 characters', async () => {
    const text = await load(lacks)
    const all = Array.from({ length: 200 }, (_, i) => String.fromCharCode((i * 37) % 128)).join('')
    for (let length = 0; length <= 200; length++) check(text, all.slice(0, length))
  })

  it('is written as WTF-8, hashed, and read back as it was: one other character anywhere', async () => {
    const text = await load(lacks)
    for (const other of ['\x7f', '\x80', 'é', '\u07ff', '\u0800', '語', '\uffff', '😀', ...LONE]) {
      for (const length of [...Array(18).keys(), 24, 29])
        for (const at of new Set([0, length >> 1, length]))
          check(text, `${'x'.repeat(at)}${other}${'y'.repeat(length - at)}`)
    }
  })

  it('is written as WTF-8, hashed, and read back as it was: any text', async () => {
    const text = await load(lacks)
    fc.assert(fc.property(anyText, (key) => check(text, key)))
  })

  it('is written as WTF-8, hashed, and read back as it was: sliced and concatenated text', async () => {
    const text = await load(lacks)
    const long = 'abcdefghijklmnopqrstuvwxyzäöü語😀'.repeat(20)
    let rope = ''
    for (let i = 0; i < 80; i++) {
      check(text, long.slice(i, i + 2 * i))
      rope = i % 2 === 0 ? rope + long.slice(i, i + 13) : `user:${i}:${rope}`
      check(text, rope)
    }
  })

  it.each(['x', 'é', '語', '😀', '\ud800', 'x\udc00', 'abc😀é語'])(
    'is written as WTF-8, hashed, and read back as it was: long runs of %j',
    async (part) => {
      const text = await load(lacks)
      for (const length of [4095, 4096, 4097, 16_385])
        for (const before of length === 4097 ? ['', 'é'] : ['é'])
          check(text, before + part.repeat(Math.ceil(length / part.length)).slice(0, length))
    },
  )

  it('of bytes that are no WTF-8 has U+FFFD where the host has it', async () => {
    const text = await load(lacks)
    const byte = fc.oneof(
      fc.integer({ min: 0, max: 0xff }),
      fc.constantFrom(0x80, 0xbf, 0xc2, 0xe0, 0xed, 0xa0, 0xaf, 0xb0, 0xf0, 0x90, 0x8f, 0xf4),
    )
    const isSame = (bytes: Uint8Array): boolean =>
      text.decodeText(shared(bytes, 1), 1, bytes.length) === textOfWtf8(bytes)
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 40 }), (bytes) => isSame(Uint8Array.from(bytes))),
      { numRuns: 200 },
    )
    for (const cut of ['é', '語', '😀'].map((one) => Buffer.from(one)))
      for (let end = 0; end < cut.length; end++)
        for (const after of ['', 'x', '語'])
          expect(isSame(Uint8Array.from([...cut.subarray(0, end), ...Buffer.from(after)]))).toBe(
            true,
          )
    // Two surrogates that would be a pair are no WTF-8.
    const pair = Uint8Array.of(0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80)
    expect(text.decodeText(wordsOf(pair), 0, 6)).toBe('\ufffd'.repeat(6))
  })

  it('is written as WTF-8, hashed, and read back as it was: two surrogates in a row', async () => {
    const text = await load(lacks)
    for (const one of LONE)
      for (const other of LONE)
        for (const length of [0, 30]) check(text, 'x'.repeat(length) + one + other)
  })

  it('of bytes that are cut off ends there, whatever lies behind', async () => {
    const text = await load(lacks)
    // The second one is two surrogates that would be a pair.
    for (const all of [[0xed, 0xa0, 0x80], [0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80], Buffer.from('😀')])
      for (let end = 0; end < all.length; end++) {
        const bytes = Uint8Array.from(all)
        expect(text.decodeText(wordsOf(bytes), 0, end)).toBe(textOfWtf8(bytes.subarray(0, end)))
      }
  })

  it('that is bytes is copied and hashed wherever they lie, and given back', async () => {
    const text = await load(lacks)
    const lengths = [...Array(36).keys(), 63, 64, 65, 66, 67, 1000, 16_383, 16_384, 65_537]
    for (const length of lengths) {
      const bytes = Uint8Array.from({ length }, (_, i) => 255 - ((i * 7) % 251))
      for (const offset of length < 1000 ? [0, 1, 2, 3] : [0, 3]) {
        for (const memory of [new ArrayBuffer(length + 20), new SharedArrayBuffer(length + 20)]) {
          new Uint8Array(memory).fill(0xee)
          const view = new Uint8Array(memory, offset, length)
          view.set(bytes)
          const isWritten = wasWritten(text, text.encodeBytes(view, length), bytes)
          const isPacked = text.packBytes(view, length) === length && hasWordsOf(text, bytes)
          const isHashed = text.fingerprint(view) === text.fingerprint(Buffer.from(bytes))
          expect({ length, offset, isWritten, isPacked, isHashed }).toEqual({
            length,
            offset,
            isWritten: true,
            isPacked: true,
            isHashed: true,
          })
        }
      }
      expect(Buffer.compare(text.decodeBytes(shared(bytes, 2), 2, length), bytes)).toBe(0)
    }
    const elsewhere = runInNewContext('Uint8Array.from({ length: 99 }, (_, i) => i)') as Uint8Array
    const same = Uint8Array.from({ length: 99 }, (_, i) => i)
    expect(wasWritten(text, text.encodeBytes(elsewhere, 99), same)).toBe(true)
  })

  it('leaves nothing of a key for the next one', async () => {
    const text = await load(lacks)
    const keys = [
      '',
      'a',
      'ab',
      'abcde',
      'é',
      'x'.repeat(25),
      '語'.repeat(9),
      '\ud800',
      'x'.repeat(16),
    ]
    for (const before of ['\uffff'.repeat(40), '\uffff'.repeat(5000), '\uffff'.repeat(20_000)]) {
      for (const key of keys) {
        text.encodeText(before)
        check(text, key)
        text.encodeText(before)
        const bytes = wtf8Of(key)
        expect(wasWritten(text, text.encodeBytes(bytes, bytes.length), bytes)).toBe(true)
      }
    }
  })
})

describe('the writers of text', () => {
  it.each(['with all that Node has', 'without any of them'] as const)(
    'take 1 MiB in a host %s, and drop the room for it at the next key',
    async (name) => {
      const text = await load(HOSTS[name])
      check(text, 'key of many bytes, '.repeat(2 ** 16).slice(0, 2 ** 20))
      check(text, `語${'x'.repeat(2 ** 16)}\ud800`)
      check(text, 'x') // and nothing of it is left
      expect(text.scratch.words.length).toBeLessThan(2 ** 16)
    },
  )

  it.each<[string, (text: Text) => void]>([
    ['a short text', (text) => text.encodeText('x')],
    ['a longer text', (text) => text.encodeText('x'.repeat(100))],
    ['a short text without its digest', (text) => text.packText('x')],
    ['a longer text without its digest', (text) => text.packText('x'.repeat(100))],
    ['bytes', (text) => text.encodeBytes(Uint8Array.of(1), 1)],
    ['bytes without their digest', (text) => text.packBytes(Uint8Array.of(1), 1)],
    ['the fingerprint of a short text', (text) => text.fingerprint('x')],
    ['the fingerprint of a longer text', (text) => text.fingerprint('x'.repeat(100))],
    ['the fingerprint of a long text', (text) => text.fingerprint('x'.repeat(5000))],
  ])('drop the room for a long key when they write %s', async (_, write) => {
    const text = await load({})
    const { length } = text.scratch.words
    text.packText('x'.repeat(20_000))
    expect(text.scratch.words.length).toBeGreaterThan(length)
    write(text)
    expect(text.scratch.words.length).toBe(length)
    expect(text.scratch.bytes.buffer).toBe(text.scratch.words.buffer)
  })

  it('give different strings different bytes', async () => {
    const text = await load({})
    fc.assert(
      fc.property(anyText, anyText, (one, other) => {
        const bytes = (key: string): string => {
          const length = text.encodeText(key)
          return Buffer.from(text.scratch.bytes.subarray(0, length)).toString('hex')
        }
        expect(bytes(one) === bytes(other)).toBe(one === other)
      }),
    )
  })

  it('write all of a text where the host stops early', async () => {
    const real = new TextEncoder()
    class EarlyEncoder {
      encodeInto(text: string, into: Uint8Array): object {
        return real.encodeInto(text.slice(0, 20), into)
      }
    }
    const text = await load({ TextEncoder: EarlyEncoder })
    expect(text.host.encoder).toBeInstanceOf(EarlyEncoder)
    for (const part of ['x', 'é', '\ud800']) {
      check(text, part.repeat(40))
      check(text, part.repeat(9000))
    }
  })

  it.each(Object.entries(HOSTS))('are those that a host has %s', async (_name, lacks) => {
    const { host } = await load(lacks)
    expect([host.encoder, host.decoder, host.bufferOver].map((each) => each !== undefined)).toEqual(
      ['TextEncoder', 'TextDecoder', 'Buffer'].map((name) => !(name in lacks)),
    )
  })

  it.each([
    ['counts what it has read wrongly', 2, 2, 0xc3, 0xa9],
    ['counts what it has written wrongly', 1, 1, 0xc3, 0xa9],
    ['writes another first byte', 1, 2, 0xc2, 0xa9],
    ['writes another second byte', 1, 2, 0xc3, 0xa8],
  ])('are not a TextEncoder that %s', async (_, read, written, ...bytes) => {
    class WrongEncoder {
      encodeInto(_text: string, into: Uint8Array): object {
        into.set(bytes)
        return { read, written }
      }
    }
    const { host } = await load({ TextEncoder: WrongEncoder })
    expect(host.encoder).toBe(undefined)
  })

  it.each([
    ['writes', 2, 'aé', 'a\u00c3'],
    ['reads UTF-8', 3, 'a', 'a\u00c3'],
    ['reads Latin-1', 3, 'aé', 'aé'],
  ])('are not a Buffer that %s otherwise', async (_, written, utf8, latin1) => {
    const buffer = {
      write: () => written,
      utf8Slice: () => utf8,
      latin1Slice: () => latin1,
    }
    const { host } = await load({ Buffer: { from: () => buffer } })
    expect(host.bufferOver).toBe(undefined)
  })
})

describe('the readers of text', () => {
  it('make a long one of parts, because a call takes only so many characters', async () => {
    const text = await load(HOSTS['without any of them'])
    const length = 2 ** 18
    const words = new Int32Array(length / 4).fill(0x64636261)
    expect(text.decodeText(words, 0, length) === 'abcd'.repeat(length / 4)).toBe(true)
  })
})
