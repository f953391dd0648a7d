import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { attachEpoch, type Key, type SealedEpoch } from '../../lib/index.js'
import { openInline, range } from '../support/in-process.js'

type Mark = Key | readonly [low: number, high: number]

const number = fc.oneof(fc.nat(60), fc.nat(2 ** 31 - 1), fc.constantFrom(0, 2 ** 53 - 1))
const text = fc.oneof(
  fc.string({ maxLength: 12 }),
  fc.string({ unit: 'binary', maxLength: 6 }),
  fc.constantFrom('', '\ud800', '\udfff', '\ufffd', 'a\ud800b', 'é'.repeat(40)),
)
const mark: fc.Arbitrary<Mark> = fc.oneof(
  number,
  fc.bigInt(0n, 2n ** 64n - 1n),
  fc.tuple(fc.nat(40), fc.nat(3)),
  text,
  fc.uint8Array({ maxLength: 10 }),
)
const round = fc.record({
  marks: fc.array(mark, { maxLength: 90, size: 'max' }),
  restores: fc.boolean(),
})

/** What tells two keys apart. */
function nameOf(key: Mark): string {
  if (Array.isArray(key)) return `${(BigInt(key[1]) << 32n) | BigInt(key[0])}`
  if (typeof key === 'number' || typeof key === 'bigint') return `${key}`
  if (typeof key === 'string')
    return `text ${Array.from({ length: key.length }, (_, i) => key.charCodeAt(i)).join()}`
  return `bytes ${(key as Uint8Array).join()}`
}

function has(epoch: Pick<SealedEpoch, 'has' | 'hasPair'>, key: Mark): boolean {
  return Array.isArray(key) ? epoch.hasPair(key[0], key[1]) : epoch.has(key as Key)
}

describe.each(['js', 'wasm'] as const)('a superset (%s)', (kernel) => {
  it('C15: has() is true for every key that was marked, whatever is too much', async () => {
    const seen = { exact: 0, superset: 0, everything: 0 }
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          maxKeysPerEpoch: fc.constantFrom(1, 3, 20, 1000),
          maxStringsPerEpoch: fc.constantFrom(0, 1, 5, 300),
          maxStringBytesPerEpoch: fc.constantFrom(1, 30, 4000),
        }),
        fc.array(round, { minLength: 1, maxLength: 4, size: 'max' }),
        async (options, rounds) => {
          const tracker = await openInline({ kernel, epochSlots: 3, ...options })
          const writer = tracker.openWriter()
          let model = new Map<string, Mark>()
          for (const { marks, restores } of rounds) {
            for (const each of marks) {
              if (Array.isArray(each)) writer.markPair(each[0], each[1])
              else writer.mark(each as Key)
              model.set(nameOf(each), each)
            }
            const epoch = await tracker.advanceEpoch()
            seen[epoch.precision]++
            const readers = [epoch, attachEpoch(epoch.handle)]
            for (const reader of readers) {
              expect(reader.precision).toBe(epoch.precision)
              expect(reader.falsePositives).toBe(epoch.falsePositives)
              for (const each of model.values())
                if (!has(reader, each)) throw new Error(`${nameOf(each)} is not in`)
            }
            expect(epoch.exact).toBe(epoch.precision === 'exact')
            if (options.maxStringsPerEpoch > 0) {
              const listed = Array.from(epoch.listed(), nameOf)
              expect(listed.filter((name) => !model.has(name))).toEqual([])
              expect(new Set(listed).size).toBe(listed.length)
              if (epoch.exact) expect(listed.length).toBe(model.size)
              else expect(listed.length).toBeLessThanOrEqual(model.size)
            }
            if (restores) {
              await epoch.restore()
            } else {
              epoch.commit()
              model = new Map()
            }
          }
          await tracker.stop()
        },
      ),
      { numRuns: 60 },
    )
    expect(Math.min(seen.exact, seen.superset, seen.everything)).toBeGreaterThan(0)
  })

  it('is wrong about as few other keys as it says', async () => {
    const tracker = await openInline({ kernel, maxKeysPerEpoch: 1024, maxStringsPerEpoch: 0 })
    const writer = tracker.openWriter()
    for (const times of [2, 8, 16]) {
      for (const id of range(0, 1024 * times)) writer.mark(id)
      const epoch = await tracker.advanceEpoch()
      expect(epoch.precision).toBe('superset')
      const attached = attachEpoch(epoch.handle)
      let wrong = 0
      for (const id of range(0, 40_000)) {
        if (epoch.hasPair(id, 1)) wrong++
        if (id % 1000 === 0) expect(attached.hasPair(id, 1)).toBe(epoch.hasPair(id, 1))
      }
      const said = epoch.falsePositives * 40_000
      expect(Math.abs(wrong - said)).toBeLessThan(5 * Math.sqrt(said) + 3)
      epoch.commit()
    }
  })

  it('C14: has all keys of the superset that another consumer took, though it merges by parts', async () => {
    const options = { kernel, maxConsumers: 2, maxKeysPerEpoch: 40_000, maxStringsPerEpoch: 0 }
    const tracker = await openInline({ ...options, capacity: 4096 })
    const [first, second] = ['first', 'second'].map((name) =>
      tracker.consumer(name, { from: 'now' }),
    )
    const writer = tracker.openWriter()
    const ids = range(0, 90_000)
    for (const id of ids) writer.mark(id)
    ;(await first.advanceEpoch()).commit()
    writer.mark(90_000)
    const epoch = await second.advanceEpoch()
    expect(epoch.precision).toBe('superset')
    expect(ids.filter((id) => !epoch.has(id))).toEqual([])
    expect(epoch.has(90_000)).toBe(true)
    expect(epoch.falsePositives).toBeLessThan(0.5)
  })
})
