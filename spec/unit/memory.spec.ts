import { describe, expect, it } from '@jest/globals'
import { DirtyTracker } from '../../lib/index.js'
import {
  epochAt,
  IDENTITY_CHECK,
  KEY_KIND,
  TRACKER_ID,
  TRACKER_ID_2,
} from '../../lib/memory/map.js'
import { checkHost, createMemory, type Memory, sameMemory } from '../../lib/memory/memory.js'
import { hasTexts, type KeyKind, keyKindOf, storeSettings } from '../../lib/memory/settings.js'
import { readOpenSlot } from '../../lib/memory/slot.js'
import { resolveOptions } from '../../lib/options.js'
import { secretsOf } from '../../lib/set/mix.js'
import { rejected, thrown } from '../support/in-process.js'
import { smallMemory } from '../support/steps.js'

describe('The memory of a tracker', () => {
  it('is empty but for its identity and the word of the open epoch', () => {
    const memory = createMemory(
      resolveOptions({ keys: 'number', maxKeysPerEpoch: 100, laneCapacity: 64 }),
      secretsOf(1),
    )
    const { words, layout } = memory
    expect(readOpenSlot(memory, 0, 0)).toMatchObject({ count: 0, isSealed: false })
    const first = epochAt(layout, 0)
    expect(words.findIndex((word, i) => i > IDENTITY_CHECK && i < first && word !== 0)).toBe(-1)
    expect(words.subarray(first).filter((word) => word !== 0)).toHaveLength(1)
  })

  it('is told from the memory of another tracker by both words of its identity', () => {
    const memory = smallMemory()
    const copy = (changed?: number): Memory => {
      const words = new Int32Array(memory.words) as unknown as Memory['words']
      if (changed !== undefined) words[changed]++
      return { ...memory, words }
    }
    expect(sameMemory(memory, copy())).toBe(true)
    expect(sameMemory(memory, copy(TRACKER_ID))).toBe(false)
    expect(sameMemory(memory, copy(TRACKER_ID_2))).toBe(false)
  })

  it.each<[KeyKind, texts: boolean]>([
    ['any', true],
    ['string', true],
    ['number', false],
    ['bigint', false],
    ['bytes', true],
  ])('says of each kind of keys which one it is: %s', (keys, texts) => {
    const { words } = smallMemory()
    storeSettings(words, { keys })
    expect([keyKindOf(words), hasTexts(keys)]).toEqual([keys, texts])
    words[KEY_KIND] = 9
    expect(keyKindOf(words)).toBe('any')
  })

  it('is an error that says what a page needs where there is no SharedArrayBuffer', async () => {
    const { SharedArrayBuffer: real } = globalThis
    const host = globalThis as { SharedArrayBuffer: unknown }
    host.SharedArrayBuffer = undefined
    try {
      const wanted = {
        code: 'ERR_DIRTYRING_NO_SHARED_MEMORY',
        message: expect.stringMatching(
          /^SharedArrayBuffer is missing: .*Opener-Policy: same-origin and .*require-corp\. /,
        ),
      }
      expect(thrown(checkHost)).toMatchObject(wanted)
      expect(await rejected(DirtyTracker.create())).toMatchObject(wanted)
    } finally {
      host.SharedArrayBuffer = real
    }
  })
})
