import { describe, expect, it, jest } from '@jest/globals'
import { TxnBuffer } from '../../lib/index.js'
import { openInline, thrown } from '../support/in-process.js'

describe('TxnBuffer.flushTo()', () => {
  it('refuses a Proxy of a writer, with the reason of the engine, and keeps its keys', async () => {
    const writer = (await openInline()).openWriter()
    const txn = new TxnBuffer(1)
    txn.mark(5)
    const error = thrown(() => txn.flushTo(new Proxy(writer, {})))
    expect(error).toMatchObject({
      code: 'ERR_DIRTYRING_INVALID_ARG',
      message: expect.stringMatching(/writer.* a Writer/),
      cause: expect.any(TypeError),
    })
    expect(txn.size).toBe(1)
    const inParts = thrown(() => txn.flushTo(new Proxy(writer, {}), { atomic: false }))
    expect(inParts.code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect(inParts.message).toContain('a Writer of this copy of the library')
    expect([txn.flushTo(writer), txn.size]).toEqual([true, 0])
  })

  it('says which argument is no writer of this copy of the library', () => {
    const other: any = { markPairs: () => true }
    expect(thrown(() => new TxnBuffer().flushTo(other, { atomic: false })).message).toMatch(
      /^"writer" must be a Writer of this copy of the library/,
    )
  })

  it('publishes in parts by the texts of each part, and not by those behind it', async () => {
    const tracker = await openInline({ laneCapacity: 64, laneTextBytes: 1024 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    for (let key = 0; key < 17; key++) txn.mark(key) // a part is at most 16 keys
    for (const text of ['a', 'b']) txn.mark(text)
    for (let i = 0; i < 4; i++) txn.mark(`${i}`.repeat(200)) // no two of these go together
    expect(txn.flushTo(writer, { atomic: false })).toBe(true)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, tracker.stats().batches]).toEqual([23, 6])
  })

  it('passes on what is thrown by another object that marks, and keeps its keys', () => {
    const own = new Error('its own')
    const marks = () => {
      throw own
    }
    const other: any = { markPairs: marks }
    const txn = new TxnBuffer(1)
    txn.mark(5)
    expect(thrown(() => txn.flushTo(other))).toBe(own)
    expect(txn.size).toBe(1)
  })

  it.each([undefined, null, {}, 7])('refuses %p as a writer', (other) => {
    const error = thrown(() => new TxnBuffer(1).flushTo(other as any))
    expect(error.code).toBe('ERR_DIRTYRING_INVALID_ARG')
    expect(error.message).toMatch(/writer.* a Writer/)
  })
})

describe('the keys that a TxnBuffer expects', () => {
  it.each([-1, 0.5, 2 ** 29 + 1])('are not %p: the message names the argument', (count) => {
    const error = thrown(() => new TxnBuffer(1, count))
    expect(error).toBeInstanceOf(RangeError)
    expect(error.message).toContain('"expectedKeys"')
    expect(error.message).toContain(String(2 ** 29))
  })

  it('may be 0: the buffer grows', () => {
    const txn = new TxnBuffer(1, 0)
    for (let key = 0; key < 40; key++) txn.mark(key)
    expect(Array.from(txn.drain(), Number)).toEqual(Array.from({ length: 40 }, (_, key) => key))
  })
})

describe('the keys of a TxnBuffer', () => {
  it('are at most 2^29, whatever a list says of its length', () => {
    const many: any[] = []
    many.length = 2 ** 29 + 1
    expect(thrown(() => new TxnBuffer().markMany(many)).message).toBe(
      `"keys" must be at most ${2 ** 29} in one buffer, got ${2 ** 29 + 1}`,
    )
  })

  it('are refused where the memory for them is missing, by the name of the argument', () => {
    const words = jest.spyOn(globalThis, 'Int32Array').mockImplementation(() => {
      throw new RangeError('Array buffer allocation failed')
    })
    const error = thrown(() => new TxnBuffer(1, 7))
    words.mockRestore()
    expect(error.message).toBe(
      '"expectedKeys" must be a size that this machine has the memory for, got 7',
    )
  })
})

describe('a mark in a TxnBuffer', () => {
  it('is true, and refuses bytes that are gone by the name of the argument', () => {
    const txn = new TxnBuffer()
    expect([txn.mark(7), txn.mark('b'), txn.markPair(1, 2), txn.markMany([3])]).toEqual(
      Array(4).fill(true),
    )
    const gone = new Uint8Array(2)
    structuredClone(gone, { transfer: [gone.buffer] })
    for (const call of [() => txn.mark(gone), () => txn.has(gone)])
      expect(thrown(call).message).toContain('"key"')
    expect(txn.size).toBe(4)
  })
})
