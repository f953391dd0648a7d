import { describe, expect, it } from '@jest/globals'
import {
  attachEpoch,
  type DirtyTracker,
  type EpochKeys,
  type Key,
  type SealedEpoch,
} from '../../lib/index.js'
import { SECRETS, type SharedWords, TEXT_SECRETS } from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { homeOf, shiftFor } from '../../lib/set/kernel.js'
import { secretsAt, textSecretsAt } from '../../lib/set/mix.js'
import { keyedHash } from '../../lib/set/sip.js'
import { openInline, range } from '../support/in-process.js'
import { encoded, twoOfOneKeyedHash } from '../support/text-sets.js'

/** The tracker's next epoch with these keys, as its own thread and as another thread have it. */
async function epochOf(
  tracker: DirtyTracker,
  keys: readonly Key[],
): Promise<[SealedEpoch, EpochKeys]> {
  const writer = tracker.openWriter()
  writer.markMany(keys)
  writer.close()
  const epoch = await tracker.advanceEpoch()
  return [epoch, attachEpoch(structuredClone(epoch.handle))]
}

/** The first so many ids whose search begins at the last cell of a table that has not grown. */
function lastIds(tracker: DirtyTracker, count: number): number[] {
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  const shift = shiftFor(layout.smallestTable)
  const secrets = secretsAt(words, SECRETS)
  const isLast = (id: number) => homeOf(secrets, shift, id, 0) === layout.smallestTable - 1
  const ids: number[] = []
  for (let id = 1; ids.length < count; id++) if (isLast(id)) ids.push(id)
  return ids
}

/** The same of texts. */
function lastTexts(tracker: DirtyTracker, count: number): string[] {
  const { words, layout } = attachMemory(tracker.handle, 'tracker')
  const shift = shiftFor(layout.smallestTextTable)
  const { key0, key1 } = textSecretsAt(words, TEXT_SECRETS)
  const isLast = (text: string) => {
    const { words: payload, head } = encoded(text)
    const hash = keyedHash(payload as SharedWords, 0, head, key0, key1)
    return hash >>> shift === layout.smallestTextTable - 1
  }
  const texts: string[] = []
  for (let i = 0; texts.length < count; i++) if (isLast(`text ${i}`)) texts.push(`text ${i}`)
  return texts
}

describe("has() of an epoch, on the tracker's thread and on others", () => {
  it('C2: finds the numbers whose search goes on at the start of the table, and no others', async () => {
    const tracker = await openInline()
    const ids = lastIds(tracker, 12)
    const [marked, others] = [ids.slice(0, 6), ids.slice(6)]
    for (const epoch of await epochOf(tracker, marked)) {
      expect(marked.map((id) => epoch.has(id))).toEqual(marked.map(() => true))
      expect(others.map((id) => epoch.has(id))).toEqual(others.map(() => false))
    }
  })

  it('C2: finds the texts whose search goes on at the start of the table, and no others', async () => {
    const tracker = await openInline()
    const texts = lastTexts(tracker, 12)
    const [marked, others] = [texts.slice(0, 6), texts.slice(6)]
    for (const epoch of await epochOf(tracker, marked)) {
      expect(marked.map((text) => epoch.has(text))).toEqual(marked.map(() => true))
      expect(others.map((text) => epoch.has(text))).toEqual(others.map(() => false))
    }
  })

  it('C2: tells two texts of one hash apart', async () => {
    const tracker = await openInline()
    const { words } = attachMemory(tracker.handle, 'tracker')
    const [marked, other] = twoOfOneKeyedHash(textSecretsAt(words, TEXT_SECRETS))
    for (const epoch of await epochOf(tracker, [marked]))
      expect([epoch.has(marked), epoch.has(other)]).toEqual([true, false])
  })

  it('C2: tells keys apart that have one half in common', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    for (let i = 1; i <= 40; i++) for (let k = 0; k < 40; k++) if (i !== k) writer.markPair(i, k)
    const epoch = await tracker.advanceEpoch()
    for (const keys of [epoch, attachEpoch(structuredClone(epoch.handle))]) {
      expect(keys.size).toBe(40 * 39 + 1)
      for (let i = 1; i <= 40; i++)
        for (let k = 0; k < 45; k++)
          if (keys.hasPair(i, k) !== (i !== k && k < 40)) throw new Error(`(${i}, ${k})`)
    }
  })

  it('C2: finds each of many texts, and none that is not there', async () => {
    const tracker = await openInline()
    const texts = range(0, 1000).map((i) => `${i}`)
    for (const epoch of await epochOf(tracker, texts)) {
      for (const text of texts) if (!epoch.has(text)) throw new Error(`lost: ${text}`)
      for (let i = 1000; i < 4000; i++) if (epoch.has(`${i}`)) throw new Error(`invented: ${i}`)
    }
  })
})

describe("The texts of an epoch, on the tracker's thread and on others", () => {
  // Another thread copies 1024 words at a time. A record has two words before its bytes.
  it.each(range(1019, 8))(
    'C2: are read whole at the end of a block, of %d words',
    async (words) => {
      const tracker = await openInline({ laneTextBytes: 2 ** 17 })
      for (const before of [0, 4, 8, 4084, 4088, 4092]) {
        const texts = [
          'b'.repeat(before),
          'w'.repeat(words * 4),
          'c',
          'v'.repeat(words * 4 - 1),
          '',
        ]
        const wanted = before === 0 ? texts.slice(1) : texts
        const epochs = await epochOf(tracker, wanted)
        for (const epoch of epochs) {
          const read = [...epoch.texts()]
          expect(read.map((text) => text.length)).toEqual(wanted.map((text) => text.length))
          expect(read).toEqual(wanted)
          expect([...epoch.strings()]).toEqual(wanted)
        }
        epochs[0].commit()
      }
    },
  )
})
