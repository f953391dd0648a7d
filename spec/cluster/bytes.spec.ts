import { describe, expect, it } from '@jest/globals'
import { ByteReader, ByteWriter } from '../../lib/cluster/bytes.js'

describe('bytes of numbers and short texts', () => {
  it('are the same on every machine', () => {
    const bytes = new ByteWriter()
    for (const value of [0, 127, 128, 300, 2 ** 53 - 1]) bytes.varint(value)
    bytes.word(0xfffefdfc)
    bytes.float(1.5)
    bytes.text('aé')
    bytes.instance('000102030405060708090a0b0c0d0eff')
    bytes.list(undefined)
    bytes.list([])
    bytes.list([200])
    expect(Buffer.from(bytes.bytes).toString('hex').match(/../g)).toEqual(
      [
        ...['00', '7f', '80 01', 'ac 02', 'ff ff ff ff ff ff ff 0f'],
        ...['fc fd fe ff', '00 00 00 00 00 00 f8 3f', '02 61 e9 01'],
        ...['00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e ff', '00', '01', '02 c8 01'],
      ].flatMap((part) => part.split(' ')),
    )
  })

  it('are read as they were written, however many there are, and not beyond their end', () => {
    const bytes = new ByteWriter()
    for (let i = 0; i < 40; i++) {
      bytes.varint(2 ** i)
      bytes.float(-i / 3)
      bytes.word(2 ** 32 - 1 - i)
    }
    const reader = new ByteReader(bytes.bytes)
    for (let i = 0; i < 40; i++)
      expect([reader.varint(), reader.float(), reader.word()]).toEqual([
        2 ** i,
        -i / 3,
        2 ** 32 - 1 - i,
      ])
    expect(reader.isAtEnd).toBe(true)
    expect(() => reader.byte()).toThrow(RangeError)
  })
})
