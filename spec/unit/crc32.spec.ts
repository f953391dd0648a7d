import { crc32 as ofZlib } from 'node:zlib'
import { describe, expect, it, jest } from '@jest/globals'
import { crc32 } from '../../lib/crc32.js'

describe('crc32()', () => {
  it('gives what zlib gives, for bytes of any length', () => {
    const bytes = Uint8Array.from({ length: 4 * 256 + 3 }, (_, i) => (i * 167 + (i >> 8)) & 255)
    for (let length = 0; length <= bytes.length; length++)
      expect(crc32(bytes.subarray(0, length))).toBe(ofZlib(bytes.subarray(0, length)))
  })

  it('gives what zlib gives when it is loaded anew, and has no tables yet', async () => {
    jest.resetModules()
    const { crc32: fresh } = await import('../../lib/crc32.js')
    const bytes = Uint8Array.from({ length: 4 * 256 + 3 }, (_, i) => (i * 167 + (i >> 8)) & 255)
    for (let turn = 0; turn < 2; turn++) expect(fresh(bytes)).toBe(ofZlib(bytes))
  })

  it('gives another number for each byte, at each place of a word', () => {
    const zeros = new Uint8Array(4)
    const numbers = new Set<number>()
    for (let at = 0; at < 4; at++)
      for (let byte = 1; byte < 256; byte++) {
        const bytes = zeros.with(at, byte)
        expect(crc32(bytes)).toBe(ofZlib(bytes))
        numbers.add(crc32(bytes))
      }
    expect(numbers.size).toBe(4 * 255)
  })
})
