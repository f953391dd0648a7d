import { describe, expect, it, jest } from '@jest/globals'
import type { SharedWords } from '../../lib/memory/map.js'
import type { SetState } from '../../lib/set/kernel.js'

// 2^28 keys need 6 GiB: this kernel only says that they are there.
const kernel = await import('../../lib/set/kernel.js')
jest.unstable_mockModule('../../lib/set/kernel.js', () => ({
  ...kernel,
  insertRun(set: SetState, _source: SharedWords, at: number) {
    set.count = 2 ** 28
    return at
  },
}))
const { FingerprintSet } = await import('../../lib/set/fingerprint-set.js')

describe('FingerprintSet with 2^28 keys', () => {
  it('refuses another one', () => {
    const set = new FingerprintSet()
    expect(() => set.addMany([7])).toThrow(
      expect.objectContaining({
        code: 'ERR_DIRTYRING_OUT_OF_RANGE',
        message: '"set" must be a set of at most 268435456 keys, got 268435457',
      }),
    )
  })
})
