import { describe, expect, it } from '@jest/globals'
import { encodeAttached } from '../../lib/epochs/attached-epoch.js'
import {
  attachEpoch,
  BatchRing,
  type DirtyTracker,
  type EpochHandle,
  type EpochKeys,
  type Key,
  type SealedEpoch,
} from '../../lib/index.js'
import {
  epochAt,
  NAMESPACES_MAX,
  SLOT_STAMP,
  SLOT_TEXT_END,
  VERSION_VALUE,
} from '../../lib/memory/map.js'
import { attachMemory } from '../../lib/memory/memory.js'
import { stampOf } from '../../lib/memory/slot.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { openHeld, openInline, range, thrown } from '../support/in-process.js'

const BAD_HANDLE = { name: 'TypeError', code: 'ERR_DIRTYRING_BAD_HANDLE' }
const SETTLED = 'ERR_DIRTYRING_SETTLED'
const CORRUPT = { name: 'DirtyRingError', code: 'ERR_DIRTYRING_CORRUPT' }
const IS_SETTLED = { name: 'DirtyRingError', code: SETTLED }
const INEXACT = 'ERR_DIRTYRING_INEXACT'

/** As another thread receives it. */
function sent(epoch: SealedEpoch): EpochHandle {
  return structuredClone(epoch.handle)
}

/** Each member that reads keys: what it gives, or the code of what it throws. */
function everything(epoch: EpochKeys, keys: readonly Key[]): Record<string, unknown> {
  const outcome = (read: () => unknown): unknown => {
    try {
      return read()
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  const pairs: number[][] = []
  return {
    size: epoch.size,
    exact: epoch.exact,
    reason: epoch.reason,
    keys: outcome(() => [...epoch]),
    listed: outcome(() => [...epoch.listed()]),
    ids: outcome(() => [...epoch.ids()]),
    strings: outcome(() => [...epoch.strings()]),
    numbers: outcome(() => [...epoch.numbers()]),
    texts: outcome(() => [...epoch.texts()]),
    bigints: outcome(() => [...epoch.bigints]),
    pairs: outcome(() => [...epoch.pairs]),
    forEachPair: outcome(() => {
      epoch.forEachPair((...each) => pairs.push(each))
      return pairs
    }),
    has: keys.map((key) => outcome(() => epoch.has(key))),
    hasPair: outcome(() => [epoch.hasPair(7, 2), epoch.hasPair(7, 3), epoch.hasPair(-1, -1)]),
  }
}

const LONG = 'long/'.repeat(4000)
const BYTES = Uint8Array.of(1, 2, 3)
const ODD = ['', '\0', 'ä', '\ud800', '🙂', 'x'.repeat(64)]

const contents: [what: string, mark: (tracker: DirtyTracker) => void, options?: object][] = [
  ['nothing', () => undefined],
  ['one number', (tracker) => void tracker.openWriter().mark(7)],
  ['key 0', (tracker) => void tracker.openWriter().mark(0)],
  ['512 numbers, one block', (tracker) => void tracker.openWriter().markMany(range(1, 512))],
  ['numbers of some blocks', (tracker) => void tracker.openWriter().markMany(range(0, 1000))],
  [
    'large numbers and pairs',
    (tracker) =>
      void tracker.openWriter().markMany([2n ** 64n - 1n, 2 ** 53 - 1, 7n + (2n << 32n)]),
  ],
  ['one text', (tracker) => void tracker.openWriter().mark('/users/7')],
  ['odd texts', (tracker) => void tracker.openWriter().markMany(ODD)],
  [
    'texts of some blocks',
    (tracker) => void tracker.openWriter().markMany(range(0, 900).map((i) => `/users/${i}`)),
  ],
  [
    'texts longer than a block',
    (tracker) => void tracker.openWriter().markMany(['a', LONG, 'b', `${LONG}!`]),
  ],
  ['bytes', (tracker) => void tracker.openWriter().markMany([BYTES, new Uint8Array(9000)])],
  [
    'all of them',
    (tracker) => void tracker.openWriter().markMany([7, 'a', LONG, BYTES, 2n ** 60n]),
  ],
  [
    'more than it takes',
    (tracker) => void tracker.openWriter().markMany([1, 2, 3, 4, 5, 'a']),
    { maxKeysPerEpoch: 4 },
  ],
  ['everything', (tracker) => tracker.markEverything()],
  ['everything, of numbers', (tracker) => tracker.markEverything(), { keys: 'number' as const }],
  [
    'everything, and keys',
    (tracker) => {
      tracker.openWriter().markMany([1, 'a'])
      tracker.markEverything()
    },
  ],
  [
    'fingerprints',
    (tracker) => void tracker.openWriter().markMany(['a', 'b']),
    { maxStringsPerEpoch: 0 },
  ],
  [
    'bigints only',
    (tracker) => void tracker.openWriter().markMany([5n, 6n]),
    { keys: 'bigint' as const },
  ],
]
const asked: Key[] = [
  0,
  1,
  7,
  512,
  2n ** 64n - 1n,
  'a',
  '/users/7',
  LONG,
  '',
  '\ud800',
  BYTES,
  'no',
]

describe('attachEpoch()', () => {
  it.each(contents)('gives what the epoch gives: %s', async (_, mark, options = {}) => {
    const tracker = await openInline({ laneCapacity: 4096, maxKeysPerEpoch: 2000, ...options })
    mark(tracker)
    const epoch = await tracker.advanceEpoch()
    expect(everything(attachEpoch(sent(epoch)), asked)).toEqual(everything(epoch, asked))
    epoch.commit()
  })

  it.each(contents)(
    'throws ERR_DIRTYRING_SETTLED in each member that reads, once the epoch is settled: %s',
    async (_, mark, options = {}) => {
      for (const how of ['commit', 'restore'] as const) {
        const tracker = await openInline({ laneCapacity: 4096, maxKeysPerEpoch: 2000, ...options })
        mark(tracker)
        const epoch = await tracker.advanceEpoch()
        const { size, exact, reason } = epoch
        const attached = attachEpoch(sent(epoch))
        await epoch[how]()
        const later = attachEpoch(sent(epoch))
        for (const each of [attached, later]) {
          const { has, ...members } = everything(each, asked)
          const { size: _size, exact: _exact, reason: _reason, ...reading } = members
          expect([each.size, each.exact, each.reason]).toEqual([size, exact, reason])
          // An exact epoch without keys has no slot, and is read for as long as one likes.
          if (exact && size === 0) {
            expect([reading.keys, has]).toEqual([[], asked.map(() => false)])
          } else {
            expect(Object.values(reading)).toEqual(Object.values(reading).map(() => SETTLED))
            expect(has).toEqual(asked.map(() => SETTLED))
          }
        }
      }
    },
  )

  it('gives copies as bigints and pairs, which outlive the epoch', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1, 2])
    const epoch = await tracker.advanceEpoch()
    const { bigints, pairs } = attachEpoch(sent(epoch))
    epoch.commit()
    tracker.openWriter().markMany([3, 4])
    await tracker.consume(() => undefined)
    await tracker.consume(() => undefined)
    expect([[...bigints], [...pairs]]).toEqual([
      [1n, 2n],
      [1, 0, 2, 0],
    ])
    expect(bigints.buffer).not.toBeInstanceOf(SharedArrayBuffer)
  })

  it('ends a walk with ERR_DIRTYRING_SETTLED behind the block at hand', async () => {
    const tracker = await openInline({ laneCapacity: 4096 })
    const writer = tracker.openWriter()
    writer.markMany(range(0, 2000))
    writer.markMany(['a', 'x'.repeat(5000), ...range(0, 2000).map((i) => `/users/${i}`)])
    const epoch = await tracker.advanceEpoch()
    const attached = attachEpoch(sent(epoch))
    const walks = [attached.numbers(), attached.listed(), attached.texts(), attached.texts()]
    const begun = walks.slice(1)
    expect(begun.map((walk) => walk.next().value)).toEqual([0, 'a', 'a'])
    walks[3].next()
    epoch.commit()
    for (const read of [
      () => [...walks[1]],
      // The text behind 'a' is longer than a block, and the one behind that is in the next block.
      () => walks[2].next(),
      () => walks[3].next(),
      // Of a walk that was not begun, there is no block.
      () => walks[0].next(),
      () => attached.texts(),
    ])
      expectError(thrown(read), IS_SETTLED, 'epoch 0 is settled')
  })

  it.each([1, 511, 512, 513])('ends a walk that has given all of %d keys', async (count) => {
    const tracker = await openInline()
    const keys = range(0, count)
    tracker.openWriter().markMany([...keys, 'a'])
    const epoch = await tracker.advanceEpoch()
    const attached = attachEpoch(sent(epoch))
    const walks = [attached.numbers(), attached.texts()] as const
    expect(keys.map(() => walks[0].next().value)).toEqual(keys)
    expect(walks[1].next().value).toBe('a')
    epoch.commit()
    expect(walks.map((walk) => walk.next().done)).toEqual([true, true])
  })

  it('has no answer if the epoch is settled while it looks', async () => {
    const filtered = { maxKeysPerEpoch: 4 }
    for (const options of [{}, filtered]) {
      const tracker = await openInline(options)
      tracker.openWriter().markMany(['a', 1, 2, 3, 4, 5])
      const epoch = await tracker.advanceEpoch()
      const attached = attachEpoch(sent(epoch))
      const { or } = Atomics
      try {
        let looks = 0
        // Another thread settles the epoch between the two looks at its stamp.
        Atomics.or = ((...args: Parameters<typeof or>) => {
          if (++looks === 2) epoch.commit()
          return or(...args)
        }) as typeof or
        expectError(
          thrown(() => attached.has(3)),
          IS_SETTLED,
          'epoch 0 is settled',
        )
      } finally {
        Atomics.or = or
      }
    }
  })

  it('never gives keys of the next epoch in the same slot', async () => {
    const { tracker, hand } = await openHeld({ epochSlots: 2, maxKeysPerEpoch: 16 })
    const writer = tracker.openWriter()
    let before: EpochKeys | undefined
    for (let i = 0; i < 50; i++) {
      writer.markMany([i, `/${i}`])
      const cut = tracker.advanceEpoch()
      hand.run()
      const epoch = await cut
      if (before !== undefined) {
        expect(thrown(() => [...before!]).code).toBe(SETTLED)
        expect(thrown(() => before!.has(i)).code).toBe(SETTLED)
      }
      before = attachEpoch(sent(epoch))
      expect([...before]).toEqual([i, `/${i}`])
      epoch.commit()
    }
  })

  it('reads an epoch while it is being restored, and not once its keys are given back', async () => {
    const { tracker, hand } = await openHeld()
    tracker.openWriter().markMany([1, 'a'])
    const cut = tracker.advanceEpoch()
    hand.run()
    const epoch = await cut
    const attached = attachEpoch(sent(epoch))
    const restored = epoch.restore()
    expect([...attached]).toEqual([1, 'a'])
    hand.run()
    await restored
    expect(thrown(() => [...attached]).code).toBe(SETTLED)
  })

  it('reads the last epoch after stop(), until it is committed', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1, 'a'])
    const last = await tracker.stop()
    const attached = attachEpoch(sent(last))
    expect([...attached]).toEqual([1, 'a'])
    last.commit()
    expect(thrown(() => [...attached]).code).toBe(SETTLED)
  })

  it("reads a read-only last epoch also after its owner's commit()", async () => {
    const tracker = await openInline()
    const epochs = tracker.epochs({ everyMs: 1_000_000 })
    const pending = epochs.next()
    tracker.openWriter().markMany([1, 'a'])
    const twin = await tracker.stop()
    const { value: epoch } = (await pending) as { value: SealedEpoch }
    const [own, other] = [attachEpoch(sent(epoch)), attachEpoch(sent(twin))]
    expect([[...own], [...other]]).toEqual([
      [1, 'a'],
      [1, 'a'],
    ])
    epoch.commit()
    expect(thrown(() => [...own]).code).toBe(SETTLED)
    expect([[...twin], [...other], other.has('a')]).toEqual([[1, 'a'], [1, 'a'], true])
  })

  it("reads the last epoch until its caller's commit(), where a loop left it to the caller", async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    writer.mark(1)
    const epochs = tracker.epochs({ everyMs: 0 })
    ;(await epochs.next()).value.commit()
    writer.mark(2)
    const last = await tracker.stop()
    await epochs.return!()
    const attached = attachEpoch(sent(last))
    expect([...attached]).toEqual([2])
    last.commit()
    expect(thrown(() => [...attached]).code).toBe(SETTLED)
  })

  it('knows as many namespaces that changed as a whole as an epoch has', async () => {
    const tracker = await openInline()
    const namespaces = range(1, NAMESPACES_MAX)
    for (const each of namespaces) tracker.markEverything(each)
    const epoch = await tracker.advanceEpoch()
    const attached = attachEpoch(sent(epoch))
    expect([attached.reason, attached.everythingIn]).toEqual(['everything', namespaces])
  })

  it('throws what the epoch throws', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([2n ** 60n, 'a'])
    const epoch = await tracker.advanceEpoch()
    tracker.openWriter().mark(1)
    tracker.markEverything()
    const inexact = await tracker.advanceEpoch()
    for (const each of [epoch, attachEpoch(sent(epoch))]) {
      expectError(
        thrown(() => each.ids()),
        OUT_OF_RANGE,
        'epoch.ids()',
        'must be of an epoch of that kind of keys only, got "1 text keys"',
        'To keep one kind out, pass the option keys',
      )
      expectError(
        thrown(() => each.strings()),
        OUT_OF_RANGE,
        'strings()',
        '1 numeric keys',
      )
      expectError(
        thrown(() => each.bigints),
        OUT_OF_RANGE,
        'epoch.bigints',
        'numbers()',
      )
      expectError(
        thrown(() => each.has(-1)),
        OUT_OF_RANGE,
        '"key"',
      )
      expectError(
        thrown(() => each.has({} as Key)),
        INVALID_ARG,
        '"key"',
      )
      expectError(
        thrown(() => each.hasPair(0.5, 1)),
        OUT_OF_RANGE,
        '"low"',
      )
      expectError(
        thrown(() => each.forEachPair(7 as never)),
        INVALID_ARG,
        '"visit"',
      )
    }
    for (const each of [inexact, attachEpoch(sent(inexact))]) {
      const error = thrown(() => each[Symbol.iterator]())
      expect([error.code, error.message]).toEqual([INEXACT, thrown(() => [...inexact]).message])
      expectError(
        thrown(() => each.has(-1)),
        OUT_OF_RANGE,
        '"key"',
      )
      expect([...each.listed()]).toEqual([1])
    }
    const bytes = await openInline()
    bytes.openWriter().markMany([BYTES])
    const attached = attachEpoch(sent(await bytes.advanceEpoch()))
    expectError(
      thrown(() => attached.strings()),
      OUT_OF_RANGE,
      'strings()',
      'keys of bytes',
    )
    const large = await openInline()
    large.openWriter().markMany([...range(0, 900), 2n ** 60n])
    const ids = attachEpoch(sent(await large.advanceEpoch()))
    expectError(
      thrown(() => ids.ids()),
      OUT_OF_RANGE,
      `${2n ** 60n}`,
    )
  })

  it('prints itself in one line', async () => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const { inspect } = await import('node:util')
    expect(inspect(attachEpoch(sent(await tracker.advanceEpoch())))).toBe(
      'AttachedEpoch { id: 0, size: 1, exact: true }',
    )
  })

  it('notices a text whose length has changed, without leaving the slot', async () => {
    for (const head of [4, -1, 2 ** 30]) {
      const tracker = await openInline()
      tracker.openWriter().mark('abc')
      const epoch = await tracker.advanceEpoch()
      const { words, layout } = attachMemory(tracker.handle, 'tracker')
      expect(words[epochAt(layout, 0) + SLOT_TEXT_END]).toBe(3)
      words[epochAt(layout, 0) + layout.arena + 1] = head
      for (const read of [
        () => [...epoch.texts()],
        () => [...epoch],
        () => epoch.strings(),
        () => epoch.encode(),
        () => encodeAttached(sent(epoch), {}),
      ])
        expectError(thrown(read), CORRUPT, 'epoch slot 0 has texts whose lengths do not add up')
      if (head === 4) continue // 'ab', as far as a walk can tell
      const attached = attachEpoch(sent(epoch))
      expectError(
        thrown(() => [...attached]),
        CORRUPT,
        'epoch slot 0 has a torn text',
      )
      expect(attached.has('abc')).toBe(false)
    }
  })

  it('reads nothing behind the last text, where an earlier epoch left its own', async () => {
    const tracker = await openInline({ epochSlots: 2 })
    const writer = tracker.openWriter()
    for (const round of range(0, 4)) {
      writer.mark(new Uint8Array(100).fill(0xff))
      await tracker.consume(() => undefined)
      if (round % 2 === 1) await tracker.consume(() => undefined)
      writer.mark('abcd')
      await tracker.consume((epoch) => {
        expect([...epoch.strings()]).toEqual(['abcd'])
        expect([...attachEpoch(sent(epoch)).strings()]).toEqual(['abcd'])
      })
    }
  })

  it('tells keys apart that have a word in common, in tables of any size', async () => {
    const tracker = await openInline({ laneCapacity: 4096 })
    const writer = tracker.openWriter()
    for (const count of [...range(1, 40), 96, 384]) {
      const pairs = range(0, count).flatMap((i) => [i % 4, i, i, i % 4])
      writer.markPairs(Uint32Array.from(pairs))
      writer.markMany(range(0, count).map((i) => `/users/${2 * i}`))
      const epoch = await tracker.advanceEpoch()
      const attached = attachEpoch(sent(epoch))
      const marked = new Set(range(0, 2 * count).map((i) => `${pairs[2 * i]} ${pairs[2 * i + 1]}`))
      const wrong = (low: number, high: number): boolean =>
        attached.hasPair(low, high) !== marked.has(`${low} ${high}`)
      for (const i of range(0, count + 1))
        for (const k of range(0, 6))
          if (wrong(i, k) || wrong(k, i)) throw new Error(`of ${count}: ${i} and ${k}`)
      const found = range(0, 2 * count).filter((i) => attached.has(`/users/${i}`))
      expect(found).toEqual(range(0, count).map((i) => 2 * i))
      epoch.commit()
    }
  })

  it('looks at each cell once at most', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany([1, 'abc'])
    const attached = attachEpoch(sent(await tracker.advanceEpoch()))
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const at = epochAt(layout, 0)
    words.fill(-1, at + layout.table, at + layout.table + 2 * layout.smallestTable)
    words.fill(-1, at + layout.textTable, at + layout.textTable + 2 * layout.smallestTextTable)
    expect([attached.has(1), attached.has('abc')]).toEqual([false, false])
  })
})

describe('the stamp of an epoch', () => {
  it('is never 0, and no two of 2^32 - 1 epochs have the same', () => {
    const at = [0, 1, 2 ** 19, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 40]
    const stamps = at.map(stampOf)
    expect(stamps.map((stamp) => stamp >>> 0)).toEqual([
      1,
      2,
      2 ** 19 + 1,
      2 ** 31,
      2 ** 31 + 1,
      2 ** 32 - 1,
      1,
      2 ** 8 + 1,
    ])
  })

  it('stands in the slot from the hand-out until the epoch is settled', async () => {
    const tracker = await openInline({}, { epoch: 2 ** 33 })
    const { words, layout } = attachMemory(tracker.handle, 'tracker')
    const stamp = (): number => words[epochAt(layout, 0) + SLOT_STAMP]
    const seen = [stamp()]
    tracker.openWriter().mark(1)
    const epoch = await tracker.advanceEpoch()
    seen.push(stamp())
    expect([...attachEpoch(sent(epoch))]).toEqual([1])
    epoch.commit()
    seen.push(stamp())
    expect(seen).toEqual([0, stampOf(2 ** 33), 0])
  })
})

describe('C11: an invalid handle of an epoch', () => {
  const wrong: [
    what: string,
    make: (epoch: SealedEpoch, tracker: DirtyTracker) => unknown,
    ...string[],
  ][] = [
    ['undefined', () => undefined, 'must be epoch.handle', 'got undefined'],
    ['a number', () => 5, 'must be epoch.handle', 'got 5'],
    ['{}', () => ({}), 'Pass epoch.handle'],
    ['the epoch itself', (epoch) => epoch, 'Pass epoch.handle', 'not the epoch itself'],
    ["a tracker's handle", (_, tracker) => tracker.handle, 'Pass epoch.handle'],
    ["a ring's handle", () => BatchRing.create().handle, 'Pass epoch.handle'],
    [
      'a handle as JSON',
      (epoch) => JSON.parse(JSON.stringify(epoch.handle)),
      'SharedArrayBuffer',
      'not as JSON',
    ],
    [
      'a foreign buffer',
      (epoch) => ({ ...epoch.handle, buffer: new SharedArrayBuffer(2 ** 20) }),
      'must be memory made by dirtyring',
    ],
    [
      "a ring's buffer",
      (epoch) => ({ ...epoch.handle, buffer: (BatchRing.create().handle as any).buffer }),
      'must be epoch.handle',
      'BatchRing',
    ],
    [
      'nothing but the memory',
      (epoch) => ({ dirtyringEpoch: VERSION_VALUE, buffer: (epoch.handle as any).buffer }),
      'without what was known',
    ],
    ['another slot', (epoch) => ({ ...epoch.handle, slot: 99 }), 'epoch slot 99 does not exist'],
    [
      'one slot too many',
      (epoch, tracker) => ({
        ...epoch.handle,
        slot: attachMemory(tracker.handle, 'tracker').layout.epochSlots,
      }),
      'does not exist',
    ],
    ['keys, and a slot of -1', (epoch) => ({ ...epoch.handle, slot: -1 }), '-1 does not exist'],
    ['a slot of -2', (epoch) => ({ ...epoch.handle, slot: -2 }), 'without what was known'],
    ['a count of -1', (epoch) => ({ ...epoch.handle, count: -1 }), 'without what was known'],
    ['half an epoch', (epoch) => ({ ...epoch.handle, id: 0.5 }), 'without what was known'],
    ['too many keys', (epoch) => ({ ...epoch.handle, count: 5000 }), 'has 5000 keys'],
    ['too large a table', (epoch) => ({ ...epoch.handle, growth: 40 }), 'doubled 40 times'],
    ['too much text', (epoch) => ({ ...epoch.handle, textEnd: 2 ** 40 }), 'words of text'],
    ['too many texts', (epoch) => ({ ...epoch.handle, textCount: 9000 }), 'has 9000 texts'],
    [
      'too many namespaces',
      (epoch) => ({ ...epoch.handle, namespaces: range(0, NAMESPACES_MAX + 1) }),
      'without what was known',
    ],
    ['other flags', (epoch) => ({ ...epoch.handle, flags: 128 }), 'has flags 128'],
  ]

  it.each(wrong)('is a TypeError: %s', async (_, make, ...parts) => {
    const tracker = await openInline()
    tracker.openWriter().mark(1)
    const epoch = await tracker.advanceEpoch()
    expectError(
      thrown(() => attachEpoch(make(epoch, tracker) as EpochHandle)),
      BAD_HANDLE,
      ...parts,
    )
  })

  it('is ERR_DIRTYRING_VERSION for another version, also of an empty epoch', async () => {
    const tracker = await openInline()
    const empty = await tracker.advanceEpoch()
    tracker.openWriter().mark(1)
    for (const epoch of [empty, await tracker.advanceEpoch()]) {
      const handle = { ...epoch.handle, dirtyringEpoch: VERSION_VALUE + 1 }
      expectError(
        thrown(() => attachEpoch(handle)),
        { name: 'TypeError', code: 'ERR_DIRTYRING_VERSION' },
        `got ${VERSION_VALUE + 1}`,
      )
    }
  })
})
