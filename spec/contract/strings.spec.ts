import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  fingerprint,
  type Key,
  type TrackerOptions,
  TxnBuffer,
  type Writer,
} from '../../lib/index.js'
import { epochAt, GATHERED_KEYS, GATHERED_MAX, laneAt, TEXT_SECRETS } from '../../lib/memory/map.js'
import { attachMemory, type Memory } from '../../lib/memory/memory.js'
import { stageText } from '../../lib/ring/lane.js'
import { textSecretsAt } from '../../lib/set/mix.js'
import { waitForRoom, type WaitLimit } from '../../lib/writer/wait.js'
import { laneOf } from '../../lib/writer/writer.js'
import { expectError, INVALID_ARG, OUT_OF_RANGE } from '../support/bad-input.js'
import { bytesOfOneHash } from '../support/collisions.js'
import {
  type Hand,
  nameOf,
  openHeld,
  openInline,
  openUnattended,
  randomFrom,
  range,
  rejected,
  thrown,
  turns,
  until,
} from '../support/in-process.js'
import { runProgram } from '../support/program.js'
import { encoded, TEXTS, twoOfOneKeyedHash } from '../support/text-sets.js'
import { expectAccounts } from '../support/writing.js'

/** 256 words of text ring, so the longest key has 496 bytes. */
const SMALL_RING: TrackerOptions = { laneTextBytes: 1024, onFull: 'reject' }
const LONGEST = 496

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

interface Taken {
  advanceEpoch(): Promise<{ exact: boolean; [Symbol.iterator](): Iterator<Key>; commit(): void }>
}

/** Seal, read all keys as they come back, commit. */
async function take(tracker: Taken, hand?: Hand): Promise<Key[]> {
  const pending = tracker.advanceEpoch()
  hand?.run()
  const epoch = await pending
  expect(epoch.exact).toBe(true)
  const keys = [...epoch]
  epoch.commit()
  return keys
}

describe('C2: a text key', () => {
  it.each(TEXTS)('comes back as it was marked, however it was marked: %s', async (_, text) => {
    const tracker = await openInline({ laneTextBytes: 2 ** 18 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    txn.mark(text)
    for (const mark of [
      () => writer.mark(text),
      () => writer.markMany([text, text]),
      () => writer.markMany(new Set([text]), { atomic: false }),
      () => writer.batch(() => writer.mark(text)),
      () => txn.flushTo(writer),
    ]) {
      expect(mark()).toBe(true)
      const epoch = await tracker.advanceEpoch()
      expect([...epoch]).toEqual([text])
      expect([epoch.size, epoch.has(text), epoch.has(bytes(text))]).toEqual([1, true, false])
      expect(epoch.has(`${text}\0`) || epoch.has(`a${text}`)).toBe(false)
      epoch.commit()
    }
  })

  it('is another key for every text, and the number of its digits another one still', async () => {
    const tracker = await openInline({ laneTextBytes: 2 ** 20 })
    tracker.openWriter().markMany([7, ...TEXTS.map(([, text]) => text)])
    const epoch = await tracker.advanceEpoch()
    expect([...epoch]).toEqual([7, ...TEXTS.map(([, text]) => text)])
    expect([epoch.has(7), epoch.has('7'), epoch.has(8)]).toEqual([true, true, false])
  })

  it('of bytes comes back as a copy of what they were at the mark, from any offset and any memory', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    const memories = [new ArrayBuffer(64), new SharedArrayBuffer(64)]
    const expected: Uint8Array[] = []
    for (const memory of memories)
      for (const offset of range(0, 9))
        for (const length of [0, 1, 3, 4, 5, 16, 33]) {
          const view = new Uint8Array(memory, offset, length)
          view.forEach((_, i) => (view[i] = offset * 40 + i))
          if (offset % 2 === 0) writer.mark(view)
          else txn.mark(view)
          expected.push(Uint8Array.from(view))
          view.fill(255)
        }
    txn.flushTo(writer)
    const epoch = await tracker.advanceEpoch()
    const names = new Set(expected.map(nameOf))
    expect(new Set(Array.from(epoch, nameOf))).toEqual(names)
    expect(epoch.size).toBe(names.size)
    for (const key of epoch.texts()) {
      expect([key.constructor, (key as Uint8Array).buffer.constructor]).toEqual([
        Uint8Array,
        ArrayBuffer,
      ])
      ;(key as Uint8Array).fill(1)
    }
    expect(expected.every((key) => epoch.has(key))).toBe(true)
  })

  it('C11: of a view that is detached, or out of its buffer, is a TypeError, and marks nothing', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    const epoch = await tracker.advanceEpoch()
    const detached = new Uint8Array(8)
    structuredClone(detached.buffer, { transfer: [detached.buffer] })
    const buffer = new ArrayBuffer(16, { maxByteLength: 16 })
    const shrunk = new Uint8Array(buffer, 8)
    const fixed = new Uint8Array(buffer, 4, 8)
    buffer.resize(6)
    for (const view of [detached, shrunk, fixed])
      for (const call of [
        () => writer.mark(view),
        () => writer.markMany(['before', view]),
        () => txn.mark(view),
        () => txn.markMany([view]),
        () => txn.has(view),
        () => epoch.has(view),
      ])
        expectError(thrown(call), INVALID_ARG)
    expect([writer.staged, txn.size]).toEqual([0, 0])
    expect(await take(tracker)).toEqual([])
  })

  it('and bytes of the same content are two keys; so are it and the number of its fingerprint', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const prints = [fingerprint('user:7'), fingerprint('\ud800')]
    const all = ['user:7', bytes('user:7'), prints[0], '\ud800', Uint8Array.of(0xed, 0xa0, 0x80)]
    for (const order of [all, [...all].reverse()]) {
      for (const key of order) writer.mark(key)
      const keys = await take(tracker)
      expect(keys.map(nameOf).sort()).toEqual(all.map(nameOf).sort())
      for (const key of order) {
        writer.mark(key)
        const epoch = await tracker.advanceEpoch()
        expect([key, ...all.filter((each) => epoch.has(each))]).toEqual([key, key])
        epoch.commit()
      }
    }
  })

  it('is suppressed by no number, and suppresses none, while repeated marks are', async () => {
    const tracker = await openInline({ batchSize: 8 })
    const writer = tracker.openWriter()
    for (const i of range(0, 8 * 250)) writer.mark(i)
    const suppressed = (): number => tracker.stats().writers[0].suppressed
    const [a, b, c] = ['user:7', 'user:8', 'user:9']
    writer.flush()
    writer.mark(1)
    writer.mark(1)
    expect(suppressed()).toBe(1)
    writer.mark(a)
    writer.mark(fingerprint(a))
    writer.flush()
    writer.mark(fingerprint(b))
    writer.mark(b)
    writer.mark(fingerprint(b))
    writer.flush()
    expect(suppressed()).toBe(2) // the repeated number, and nothing else
    writer.batch(() => {
      writer.mark(c)
      writer.mark(fingerprint(c))
      writer.mark(c)
    })
    expect(suppressed()).toBe(2)
    expectAccounts(tracker)
    const epoch = await tracker.advanceEpoch()
    expect([a, b, c].map((key) => [epoch.has(key), epoch.has(fingerprint(key))])).toEqual(
      Array(3).fill([true, true]),
    )
    expect([...epoch.texts()]).toEqual([a, b, c])
  })
})

describe('texts of one hash', () => {
  it('of 64 bits, in the lane, are told apart by what they say', async () => {
    const { tracker, hand } = await openHeld()
    const lane = laneOf(tracker.openWriter())
    for (const text of ['one', 'two', 'one', 'three']) {
      const { head, words } = encoded(text)
      expect(stageText(lane, 7, 9, words, head)).toBe(true)
    }
    const pending = tracker.advanceEpoch()
    hand.run()
    const epoch = await pending
    expect([...epoch]).toEqual(['one', 'two', 'three'])
    expect([epoch.hasPair(7, 9), epoch.has('one'), epoch.has('four')]).toEqual([false, true, false])
  })

  it("of the table's secret 32 bits are told apart by what they say", async () => {
    const { tracker, hand } = await openHeld()
    const [one, two] = twoOfOneKeyedHash(textSecretsAt(hand.memory.words, TEXT_SECRETS))
    const writer = tracker.openWriter()
    for (const keys of [[one], [two], [two, one, two]]) {
      writer.markMany(keys)
      const pending = tracker.advanceEpoch()
      hand.run()
      const epoch = await pending
      expect([...epoch]).toEqual([...new Set(keys)])
      expect([epoch.has(one), epoch.has(two)]).toEqual([keys.includes(one), keys.includes(two)])
      epoch.commit()
    }
  })

  it('of the public hash, 3,000 of them, all come back', async () => {
    const tracker = await openInline({ laneCapacity: 4096, laneTextBytes: 2 ** 18 })
    const keys = bytesOfOneHash(3000)
    expect(new Set(keys.map((key) => fingerprint(key))).size).toBe(1)
    tracker.openWriter().markMany(keys)
    const epoch = await tracker.advanceEpoch()
    expect([epoch.size, epoch.exact, epoch.has(fingerprint(keys[0]))]).toEqual([3000, true, false])
    expect(Array.from(epoch, nameOf)).toEqual(keys.map(nameOf))
    expect(keys.every((key) => epoch.has(key))).toBe(true)
  })
})

describe('an epoch with too much text', () => {
  it.each<[string, TrackerOptions, Key[], Key[], Key[]]>([
    [
      'maxStringsPerEpoch',
      { maxStringsPerEpoch: 3 },
      ['a', 'b', bytes('a'), 'a', 1],
      ['c', 2, 'b', ''],
      [1, 'a', 'b', bytes('a')],
    ],
    [
      'maxStringBytesPerEpoch',
      { maxStringBytesPerEpoch: 10 },
      ['', 'abcdefgh', 1, '', 'abcdefgh'],
      ['two', 2, 'ij', 'k', bytes('')],
      [1, '', 'abcdefgh'],
    ],
    [
      'maxStringsPerEpoch',
      { maxStringsPerEpoch: 2, maxKeysPerEpoch: 2 }, // the numbers just fit
      ['a', 1, 2, 'b', 1],
      ['c', 2, 'a'],
      [1, 2, 'a', 'b'],
    ],
    [
      'maxStringBytesPerEpoch',
      { maxStringBytesPerEpoch: 10, maxKeysPerEpoch: 2 }, // the numbers just fit
      ['abcdefgh', 1, 2, 'i'],
      ['two', 2, 'i'],
      [1, 2, 'abcdefgh', 'i'],
    ],
    [
      'maxKeysPerEpoch',
      { maxKeysPerEpoch: 2, maxStringsPerEpoch: 3, maxStringBytesPerEpoch: 12 },
      ['abcdef', 1, 2, 'b', 1], // there is room for one more text
      [3, 'b', 1],
      [1, 2, 'abcdef', 'b'],
    ],
    [
      'maxKeysPerEpoch',
      { maxKeysPerEpoch: 2 },
      ['a', 1, 2, 'b', 1],
      [3, 'c', 1, 'd'],
      [1, 2, 'a', 'b'],
    ],
  ])(
    'says so, names %s, and lists what came before: the rest is in has() only',
    async (limit, options, fit, more, listed) => {
      const tracker = await openInline({ batchSize: 1, ...options })
      const told: unknown[] = []
      tracker.on('overflow', (event) => told.push(event))
      const writer = tracker.openWriter()
      for (const key of fit) writer.mark(key)
      const exact = await tracker.advanceEpoch()
      expect([exact.exact, exact.reason, exact.has('never')]).toEqual([true, undefined, false])
      await exact.restore()
      for (const key of more) writer.mark(key)
      await tracker.drained()
      await until(() => told.length > 0)
      const epoch = await tracker.advanceEpoch()
      const { maxKeysPerEpoch } = tracker.options
      expect(told).toEqual([{ epoch: 1, limit, maxKeysPerEpoch }])
      expect([epoch.exact, epoch.reason, epoch.size]).toEqual([false, 'overflow', listed.length])
      expect(Array.from(epoch.listed(), nameOf)).toEqual(listed.map(nameOf))
      expect(epoch.precision).toBe('superset')
      for (const key of [...fit, ...more]) expect(epoch.has(key)).toBe(true)
      for (const key of ['never', 99, bytes('never')]) expect(epoch.has(key)).toBe(false)
      for (const read of [
        () => epoch[Symbol.iterator](),
        () => epoch.texts(),
        () => epoch.strings(),
        () => epoch.numbers(),
      ])
        expect(thrown(read).code).toBe('ERR_DIRTYRING_INEXACT')
      await epoch.restore()
      const again = await tracker.advanceEpoch()
      expect([again.exact, again.reason]).toEqual([false, 'overflow'])
      expect(Array.from(again.listed(), nameOf)).toEqual(listed.map(nameOf))
      for (const key of [...fit, ...more]) expect(again.has(key)).toBe(true)
      expect(again.has('never')).toBe(false)
      expect(tracker.stats().overflows).toBe(2)
    },
  )

  it('is exact at exactly maxStringsPerEpoch texts of exactly maxStringBytesPerEpoch bytes, at every growth', async () => {
    for (const count of [1, 2, 3, 511, 512, 513, 2049]) {
      const texts = range(0, count).map((i) => `${i}`)
      const tracker = await openInline({
        laneCapacity: 4096,
        maxStringsPerEpoch: count,
        maxStringBytesPerEpoch: texts.join('').length,
      })
      const writer = tracker.openWriter()
      for (const _ of range(0, 2)) writer.markMany(texts)
      const epoch = await tracker.advanceEpoch()
      expect([epoch.exact, epoch.size, [...epoch]]).toEqual([true, count, texts])
      expect(texts.every((text) => epoch.has(text)) && !epoch.has('x')).toBe(true)
      expect(tracker.stats().overflows).toBe(0)
    }
  })
})

describe('reading an epoch with texts', () => {
  it('gives numbers, then texts, each in order of first mark', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany(['b', 2, bytes('b'), 2n ** 60n, 'a', 1, 'b', 2])
    const epoch = await tracker.advanceEpoch()
    const numbers = [2, 2n ** 60n, 1]
    const texts = ['b', bytes('b'), 'a']
    expect([...epoch]).toEqual([...numbers, ...texts])
    expect([...epoch.listed()]).toEqual([...numbers, ...texts])
    expect([[...epoch.numbers()], [...epoch.texts()]]).toEqual([numbers, texts])
    expect([epoch.size, tracker.stats().distinct]).toEqual([6, 0])
  })

  it('as keys of one kind is a RangeError at once if there are others, and says what to read', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const members = {
      ids: (epoch: Awaited<ReturnType<typeof tracker.advanceEpoch>>) => epoch.ids(),
      strings: (epoch: Awaited<ReturnType<typeof tracker.advanceEpoch>>) => epoch.strings(),
      bigints: (epoch: Awaited<ReturnType<typeof tracker.advanceEpoch>>) => epoch.bigints,
      pairs: (epoch: Awaited<ReturnType<typeof tracker.advanceEpoch>>) => epoch.pairs,
      forEachPair: (epoch: Awaited<ReturnType<typeof tracker.advanceEpoch>>) =>
        epoch.forEachPair(() => undefined),
    }
    for (const [keys, refused] of [
      [[], []],
      [[1, 2], ['strings']],
      [
        ['a', 'b'],
        ['ids', 'bigints', 'pairs', 'forEachPair'],
      ],
      [
        ['a', bytes('b')],
        ['ids', 'strings', 'bigints', 'pairs', 'forEachPair'],
      ],
      [
        [1, 'a'],
        ['ids', 'strings', 'bigints', 'pairs', 'forEachPair'],
      ],
      [[2n ** 60n], ['ids', 'strings']],
    ] as [Key[], string[]][]) {
      writer.markMany(keys)
      const epoch = await tracker.advanceEpoch()
      for (const [name, read] of Object.entries(members))
        if (refused.includes(name)) {
          const error = thrown(() => read(epoch))
          expectError(error, OUT_OF_RANGE)
          expect(error.message).toMatch(
            keys[0] === 2n ** 60n && name === 'ids' ? /bigints/ : /texts\(\)/,
          )
        } else read(epoch)
      expect([...epoch.numbers(), ...epoch.texts()]).toEqual(keys)
      epoch.commit()
      for (const read of [...Object.values(members), () => epoch.texts(), () => epoch.numbers()])
        if (keys.length > 0) expect(thrown(() => read(epoch)).code).toBe('ERR_DIRTYRING_SETTLED')
    }
  })

  it('stops with ERR_DIRTYRING_SETTLED when the epoch is settled in the middle of a walk', async () => {
    const tracker = await openInline()
    tracker.openWriter().markMany(['a', 'b', 'c'])
    const epoch = await tracker.advanceEpoch()
    const walk = epoch.strings()
    expect(walk.next().value).toBe('a')
    epoch.commit()
    expect(thrown(() => walk.next()).code).toBe('ERR_DIRTYRING_SETTLED')
  })
})

describe('C7, C8, C9: texts', () => {
  it('that were restored are in the next epoch, once, with those marked meanwhile', async () => {
    const tracker = await openInline()
    const writer = tracker.openWriter()
    const texts = range(0, 900).map((i) => `row ${i}`)
    writer.markMany([...texts, 5, bytes('row 1')])
    const first = await tracker.advanceEpoch()
    writer.markMany(['row 3', 'new', 6])
    await first.restore()
    const second = await tracker.advanceEpoch()
    expect([second.exact, second.size]).toEqual([true, 904])
    expect([...second]).toEqual([
      6,
      5,
      'row 3',
      'new',
      ...texts.filter((t) => t !== 'row 3'),
      bytes('row 1'),
    ])
    expect(texts.every((text) => second.has(text))).toBe(true)
    {
      using again = second
      expect(again.state).toBe('sealed')
    }
    const third = await tracker.advanceEpoch()
    expect(new Set(Array.from(third, nameOf))).toEqual(
      new Set([5, 6, 'new', bytes('row 1'), ...texts].map(nameOf)),
    )
    third.commit()
    expect(await take(tracker)).toEqual([])
  })

  it('that a killed thread had published, staged, or marked in a batch() are in the next epoch', async () => {
    const staged = [true, 1, 2, 'a', 'lone \ud800', [0, 255, 1], 'row 2', '']
    const batch = [true, 7, 'before', 'row 1', [0, 255, 1], '\u{1f680}']
    const again = [true, ...range(100, 10), 'one', 'two', 'three']
    expect(await runProgram('strings')).toEqual({
      staged: { epochs: [staged, staged], harvested: 2 },
      batch: { epochs: [batch, batch], harvested: 8 },
      again: { epochs: [again, again], harvested: 0 },
    })
  })

  it('that are staged at stop() are in the last epoch, and none is marked after it', async () => {
    const tracker = await openInline({ batchSize: 64 })
    const writer = tracker.openWriter()
    writer.mark('a')
    writer.mark(1)
    writer.mark(bytes('b'))
    const last = await tracker.stop()
    expect([last.exact, ...last]).toEqual([true, 1, 'a', bytes('b')])
    expect(last.has('a')).toBe(true)
    for (const mark of [() => writer.mark('late'), () => writer.markMany(['late', 'later'])])
      expect(thrown(mark).code).toBe('ERR_DIRTYRING_STOPPED')
    expect([writer.roomForText, [...last].length]).toEqual([0, 3])
  })

  it('of a writer that closed are in the epoch, and the next owner of its lane starts without them', async () => {
    const { tracker, hand } = await openHeld({ maxWriters: 1, laneTextBytes: 1024 })
    for (const round of range(0, 20)) {
      const writer = tracker.openWriter()
      writer.mark(`text ${round}`)
      writer.mark(round)
      writer.close()
      hand.run()
      const numbers = tracker.openWriter()
      for (const i of range(0, 5)) numbers.mark(1000 + i)
      numbers.close()
      expect(await take(tracker, hand)).toEqual([round, ...range(1000, 5), `text ${round}`])
    }
  })
})

/** Puts short texts into an empty text ring until one does not fit. */
function fill(writer: Writer, text = 'x'.repeat(40)): number {
  let count = 0
  while (writer.mark(text)) count++
  return count
}

describe('a full text ring', () => {
  it("with onFull 'reject' makes a mark false; it stores nothing, and is counted", async () => {
    const { tracker, hand } = await openHeld(SMALL_RING)
    const writer = tracker.openWriter()
    const count = fill(writer)
    expect(count).toBe(21) // 12 words each, of 256
    expect([
      writer.mark(1),
      writer.mark('y'.repeat(40)),
      writer.markMany(['z'.repeat(40), 2]),
    ]).toEqual([true, false, false])
    expect(tracker.stats().writers[0]).toMatchObject({ rejected: 4, marked: count + 5 })
    hand.run()
    expect(writer.markMany(['z'.repeat(40), 2])).toBe(true)
    expect(await take(tracker, hand)).toEqual([1, 2, 'x'.repeat(40), 'z'.repeat(40)])
    expectAccounts(tracker, count + 7)
  })

  it("with onFull 'wait' makes a mark sleep, and throw after maxWaitMs with nothing stored", async () => {
    const tracker = await openUnattended({ laneTextBytes: 1024, maxWaitMs: 40 })
    const writer = tracker.openWriter()
    const { wait } = Atomics
    let sleeps = 0
    Atomics.wait = ((...args: Parameters<typeof wait>) => {
      sleeps++
      return wait(...args)
    }) as typeof wait
    try {
      const marks = range(0, 22).map(() => () => writer.mark('x'.repeat(40)))
      for (const mark of marks.slice(0, 21)) expect(mark()).toBe(true)
      expect(thrown(marks[21])).toMatchObject({ code: 'ERR_DIRTYRING_STALLED' })
      expect(thrown(() => writer.markMany(['y'.repeat(90), 1]))).toMatchObject({
        code: 'ERR_DIRTYRING_STALLED',
      })
    } finally {
      Atomics.wait = wait
    }
    // It sleeps in slices of 10 ms. A loop that spins would look thousands of times.
    expect(sleeps).toBeGreaterThan(1)
    expect(sleeps).toBeLessThan(200)
    expect(tracker.stats().writers[0]).toMatchObject({ waits: 2, rejected: 3, marked: 24 })
  })

  it('has one deadline for a call that waits several times', async () => {
    const tracker = await openUnattended({ laneTextBytes: 1024 })
    const writer = tracker.openWriter()
    for (const _ of range(0, 21)) writer.mark('x'.repeat(40))
    const limit: WaitLimit = { until: undefined, maxWaitMs: 20 }
    const lane = laneOf(writer)
    const untils = range(0, 3).map(() => {
      const error = thrown(() => waitForRoom(lane, 1, 13, true, limit))
      return [error.code, limit.until]
    })
    expect(untils).toEqual(Array(3).fill(['ERR_DIRTYRING_STALLED', limit.until]))
    expect(typeof limit.until).toBe('number')
  })

  it.each(['wait', 'reject'] as const)(
    "inside batch() is a RangeError at once that names laneTextBytes, with onFull '%s'; what the batch marked is published",
    async (onFull) => {
      const { tracker, hand } = await openHeld({ laneTextBytes: 1024, onFull })
      const writer = tracker.openWriter()
      const marked: string[] = []
      const error = thrown(() =>
        writer.batch(() => {
          for (const i of range(0, 30)) {
            const text = `${i}`.padEnd(40, '.')
            writer.mark(text)
            marked.push(text)
          }
        }),
      )
      expectError(error, OUT_OF_RANGE, 'laneTextBytes')
      expect(tracker.stats().writers[0].waits).toBe(0)
      expect(marked).toHaveLength(21)
      writer.mark(7)
      expect(await take(tracker, hand)).toEqual([7, ...marked])
    },
  )

  it("inside batch() with onFull 'reject' throws also where only the room is missing, because a mark must not be missed", async () => {
    const { tracker, hand } = await openHeld(SMALL_RING)
    const writer = tracker.openWriter()
    for (const _ of range(0, 15)) writer.mark('x'.repeat(40))
    const error = thrown(() =>
      writer.batch(() => {
        for (const i of range(0, 10)) writer.mark(`${i}`.padEnd(40, '.'))
      }),
    )
    expect(error.code).toBe('ERR_DIRTYRING_STALLED')
    expect(await take(tracker, hand)).toHaveLength(7)
    writer.batch(() => {
      for (const i of range(0, 10)) writer.mark(`${i}`.padEnd(40, '.'))
    })
    expect(await take(tracker, hand)).toHaveLength(10)
  })
})

/**
 * Calls `check` with an empty text ring, once for each place at which its next text can begin. The
 * second word is no such place, because the shortest entry takes two.
 */
async function atEachPlace(check: (writer: Writer, hand: Hand) => void): Promise<void> {
  const { tracker, hand } = await openHeld(SMALL_RING)
  const writer = tracker.openWriter()
  const lane = laneOf(writer)
  const size = lane.textWords
  const place = (): number => lane.textEnd & (size - 1)
  const move = (words: number): void => {
    writer.mark('m'.repeat((words - 2) * 4))
    writer.flush()
    hand.run()
  }
  move(2)
  for (const wanted of [0, ...range(2, size - 2)]) {
    while (place() !== wanted) {
      const left = (wanted > place() ? wanted : size) - place()
      move(Math.max(2, Math.min(left, left === 127 ? 125 : 126)))
    }
    check(writer, hand)
    writer.flush()
    hand.run()
    if (wanted % 50 === 0) await take(tracker, hand)
  }
}

describe('the longest key', () => {
  it('fits an empty text ring at each of its places, and one byte more nowhere', async () => {
    const exact = 'x'.repeat(LONGEST)
    const more = 'x'.repeat(LONGEST + 1)
    await atEachPlace((writer) => {
      expectError(
        thrown(() => writer.mark(more)),
        OUT_OF_RANGE,
        'laneTextBytes',
      )
      expectError(
        thrown(() => writer.markMany([more])),
        OUT_OF_RANGE,
        '"keys[0]"',
        'laneTextBytes',
      )
      expect(writer.mark(exact)).toBe(true)
    })
  })

  it('is counted in bytes, and the error says how many there are', async () => {
    const tracker = await openInline(SMALL_RING)
    const writer = tracker.openWriter()
    const fits = ['\u20ac'.repeat(165) + 'a', new Uint8Array(LONGEST), '\ud800'.repeat(165)]
    for (const key of fits) {
      writer.mark(key)
      await tracker.drained()
    }
    for (const [key, length] of [
      ['\u20ac'.repeat(165) + 'ab', 497],
      [new Uint8Array(LONGEST + 1), 497],
      ['\ud800'.repeat(166), 498],
      ['a'.repeat(2 ** 20), 2 ** 20],
    ] as [Key, number][])
      for (const mark of [
        () => writer.mark(key),
        () => writer.markMany(['a', key]),
        () => writer.markMany([key], { atomic: false }),
        () => writer.batch(() => writer.mark(key)),
      ])
        expectError(thrown(mark), OUT_OF_RANGE, `at most ${LONGEST} bytes`, `got ${length}`)
    expect((await take(tracker)).map(nameOf)).toEqual(fits.map(nameOf))
  })
})

describe('markMany() of texts', () => {
  // 17 of 14 words and one of 3 are 241; the largest once more, and a word behind them: 256.
  const atLimit = [...range(0, 17).map((i) => `${i}`.padEnd(48, '.')), 'abcd']

  it('takes as one batch what fits the text ring at any place, and no more', async () => {
    await atEachPlace((writer, hand) => {
      expectError(
        thrown(() => writer.markMany([...atLimit.slice(0, 17), 1, 'abcde'])),
        OUT_OF_RANGE,
        'laneTextBytes',
        '{ atomic: false }',
      )
      expect(writer.markMany([1, ...atLimit])).toBe(true)
      expect(writer.staged).toBe(0)
      expect(hand.run(1)).toBe(true)
    })
  })

  it('marks all in one epoch or none', async () => {
    const { tracker, hand } = await openHeld({ ...SMALL_RING, batchSize: 1 })
    const writer = tracker.openWriter()
    expect(writer.markMany(atLimit)).toBe(true)
    expect(writer.markMany(['a', 1, 'x'.repeat(70)])).toBe(false)
    const first = tracker.advanceEpoch()
    hand.run()
    expect([...(await first)]).toEqual(atLimit)
    expect(writer.markMany(['a', 1, 'x'.repeat(70)])).toBe(true)
    expect(await take(tracker, hand)).toEqual([1, 'a', 'x'.repeat(70)])
    expectError(
      thrown(() => writer.markMany(['b', 'c', 1.5])),
      OUT_OF_RANGE,
      '"keys[2]"',
    )
    expect([writer.staged, await take(tracker, hand)]).toEqual([0, []])
  })

  it.each(['atomic', 'in parts'])(
    'keeps a list whole whose getter marks texts of another list, or throws: %s',
    async (how) => {
      const tracker = await openInline()
      const writer = tracker.openWriter()
      const options = { atomic: how === 'atomic' }
      const list = (name: string, inside: () => void, from: number): string[] => {
        const keys = range(from, from + 40).map((i) => `${name} ${'x'.repeat(i)}`)
        return Object.defineProperty([...keys], 20, { get: () => (inside(), keys[20]) })
      }
      const inner = (): unknown =>
        writer.markMany(
          list('inner', () => undefined, 0),
          options,
        )
      const failing = (): never => {
        throw new Error('from a getter')
      }
      expect(() => writer.markMany(list('refused', failing, 3), options)).toThrow('from a getter')
      writer.markMany(
        list('first', () => undefined, 5),
        options,
      )
      writer.markMany(list('outer', inner, 7), options)
      writer.markMany(
        list('last', () => undefined, 1),
        options,
      )
      const epoch = await tracker.advanceEpoch()
      const plain = (name: string, from: number) => [...list(name, () => undefined, from)]
      expect([...epoch.strings()]).toEqual([
        ...plain('first', 5),
        ...plain('inner', 0),
        ...plain('outer', 7),
        ...plain('last', 1),
      ])
    },
  )

  it.each(['array', 'set'])('marks a long %s in parts with { atomic: false }', async (kind) => {
    const tracker = await openInline({ ...SMALL_RING, laneCapacity: 64, onFull: 'wait' })
    const writer = tracker.openWriter()
    const random = randomFrom(7)
    const keys = new Set<Key>()
    for (let i = 0; i < 600; i++) {
      const at = random()
      if (at < 0.3) keys.add(i)
      else if (at < 0.4) keys.add(`${i}`.padEnd(Math.floor(random() * LONGEST), 'x'))
      else if (at < 0.6) keys.add(bytes(`bytes ${i}`))
      else keys.add(`key ${i}`)
    }
    const list = [...keys]
    expect(writer.markMany(kind === 'set' ? keys : list, { atomic: false })).toBe(true)
    const epoch = await tracker.advanceEpoch()
    const isText = (key: Key): boolean => typeof key !== 'number'
    expect(Array.from(epoch, nameOf)).toEqual(
      [...list.filter((key) => !isText(key)), ...list.filter(isText)].map(nameOf),
    )
    expectAccounts(tracker, list.length)
    expect(tracker.stats().writers[0].batches).toBeGreaterThan(10)
  })

  it('stores whole parts only with { atomic: false }, and says false for the rest', async () => {
    const { tracker, hand } = await openHeld(SMALL_RING)
    const writer = tracker.openWriter()
    const keys = range(0, 60).map((i) => `${i}`.padEnd(40, '.'))
    expect(writer.markMany(keys, { atomic: false })).toBe(false)
    const taken = await take(tracker, hand)
    expect(taken.length).toBeGreaterThan(0)
    expect(taken).toEqual(keys.slice(0, taken.length))
    expect(writer.markMany(new Set(keys.slice(taken.length)), { atomic: false })).toBe(false)
  })
})

describe('TxnBuffer with texts', () => {
  it('has what was marked, and gives it back in order, repetitions included', () => {
    const txn = new TxnBuffer(1)
    const marked: Key[] = ['b', 1, bytes('b'), 'b', '', 2n ** 60n, '\ud800', 1]
    for (const key of marked) txn.mark(key)
    expect([txn.size, [...txn]]).toEqual([8, marked])
    for (const key of marked) expect(txn.has(key)).toBe(true)
    for (const key of ['a', 2, bytes(''), fingerprint('b'), '\udc00', bytes('\ufffd')])
      expect(txn.has(key)).toBe(false)
    txn.mark('a')
    txn.markMany(['c', 3, bytes('d')])
    expect(['a', 'c', 3, bytes('d')].map((key) => txn.has(key))).toEqual(Array(4).fill(true))
    expect(txn.drain()).toEqual([...marked, 'a', 'c', 3, bytes('d')])
    expect([txn.size, txn.has('a'), txn.has(1), [...txn]]).toEqual([0, false, false, []])
    txn.mark('e')
    txn.clear()
    expect(txn.has('e')).toBe(false)
    txn.mark('f')
    txn.reset(2)
    expect([txn.has('f'), txn.size]).toEqual([false, 0])
  })

  it('copies bytes at the mark', () => {
    const txn = new TxnBuffer()
    const view = bytes('abc')
    txn.mark(view)
    txn.markMany([view])
    view.fill(0)
    expect([txn.has(bytes('abc')), txn.has(view)]).toEqual([true, false])
    expect(txn.drain()).toEqual([bytes('abc'), bytes('abc')])
  })

  it('flushTo() publishes all as one batch, or nothing', async () => {
    const { tracker, hand } = await openHeld(SMALL_RING)
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    const keys: Key[] = ['a', 1, 'x'.repeat(200), bytes('a'), 'b']
    txn.markMany(keys)
    const blocked = fill(writer)
    expect([blocked, txn.flushTo(writer), [...txn]]).toEqual([21, false, keys])
    hand.run()
    expect([txn.flushTo(writer), txn.size]).toEqual([true, 0])
    expect((await take(tracker, hand)).slice(1)).toEqual([
      'x'.repeat(40),
      'a',
      'x'.repeat(200),
      bytes('a'),
      'b',
    ])
    txn.markMany(range(0, 18).map((i) => `${i}`.padEnd(48, '.')))
    expectError(
      thrown(() => txn.flushTo(writer)),
      OUT_OF_RANGE,
      '{ atomic: false }',
    )
    expect(txn.size).toBe(18)
  })

  it('flushTo() with { atomic: false } publishes in parts; what was not stored is still in the buffer, in order', async () => {
    const { tracker, hand } = await openHeld({ ...SMALL_RING, laneCapacity: 32 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    const keys: Key[] = range(0, 200).map((i) =>
      i % 3 === 0 ? i : i % 5 === 0 ? `${i}`.padEnd(LONGEST, '-') : `key ${i}`,
    )
    txn.markMany(keys)
    expect(txn.has('key 199')).toBe(true)
    const taken: Key[] = []
    let calls = 0
    while (!txn.flushTo(writer, { atomic: false })) {
      expect([...txn]).toEqual(keys.slice(keys.length - txn.size))
      expect(txn.has(keys[keys.length - txn.size])).toBe(true)
      expect(txn.has(keys[0])).toBe(txn.size === keys.length)
      hand.run()
      if (calls++ > 200) throw new Error('no progress')
    }
    taken.push(...(await take(tracker, hand)))
    expect([calls > 3, txn.size]).toEqual([true, 0])
    const isText = (key: Key): boolean => typeof key === 'string'
    expect(taken).toEqual([...keys.filter((key) => !isText(key)), ...keys.filter(isText)])
  })
})

describe('the option keys', () => {
  const samples: Record<
    string,
    { key: Key; list: (() => Key[] | BigUint64Array | Uint32Array)[] }
  > = {
    number: { key: 7, list: [() => [7], () => Uint32Array.of(7)] },
    bigint: { key: 2n ** 60n, list: [() => [2n ** 60n], () => BigUint64Array.of(2n ** 60n)] },
    string: { key: 'seven', list: [() => ['seven']] },
    bytes: { key: bytes('seven'), list: [() => [bytes('seven')]] },
  }
  const kinds = ['any', 'number', 'bigint', 'string', 'bytes'] as const

  it.each(kinds)(
    "'%s': a key of another kind is a TypeError that names the option, and stores nothing",
    async (kind) => {
      const tracker = await openInline({ keys: kind })
      const writer = tracker.openWriter()
      const epoch = await tracker.advanceEpoch()
      for (const [name, { key, list }] of Object.entries(samples)) {
        const marks: ((writer: Writer) => boolean)[] = [
          (to) => to.mark(key),
          (to) => to.batch(() => to.mark(key)),
          (to) => to.markMany(new Set([key])),
          (to) => to.markMany([key], { atomic: false }),
          ...list.map((make) => (to: Writer) => to.markMany(make())),
          ...list.map((make) => (to: Writer) => to.markMany(make(), { atomic: false })),
        ]
        for (const mark of marks) {
          if (kind === 'any' || kind === name) {
            expect(mark(writer)).toBe(true)
            const keys = await take(tracker)
            expect(keys).toEqual([key])
          } else {
            expectError(
              thrown(() => mark(writer)),
              INVALID_ARG,
              `keys: '${kind}'`,
            )
            expect(writer.staged).toBe(0)
          }
        }
        expect(epoch.has(key)).toBe(false) // a question is not a mark
      }
      const takesPairs = kind === 'any' || kind === 'number' || kind === 'bigint'
      const marksOfPairs = [
        () => writer.markPair(7, 1),
        () => writer.markPairs(Uint32Array.of(7, 1)),
        () => writer.markPairs(Uint32Array.of(7, 1), { atomic: false }),
      ]
      for (const mark of marksOfPairs)
        if (takesPairs) {
          expect(mark()).toBe(true)
          const id = 2 ** 32 + 7
          expect(await take(tracker)).toEqual([kind === 'bigint' ? BigInt(id) : id])
        } else {
          const of = kind === 'string' ? 'a string' : 'a Uint8Array'
          const name = mark === marksOfPairs[0] ? 'low' : 'pairs[0]'
          const parts = [`"${name}" must be ${of}, got 7`, `keys: '${kind}'`]
          expectError(thrown(mark), INVALID_ARG, ...parts)
        }
      if (kind === 'number')
        expectError(
          thrown(() => writer.markPairs(Uint32Array.of(7, 1, 8, 2 ** 21))),
          OUT_OF_RANGE,
          '"pairs[3]" must be at most 2097151',
          `got ${2 ** 21}`,
        )
      if (takesPairs) {
        expect(writer.markPair(7, 2 ** 21 - 1)).toBe(true)
        if (kind !== 'number') expect(writer.markPair(7, 2 ** 21)).toBe(true)
        else
          expectError(
            thrown(() => writer.markPair(7, 2 ** 21)),
            OUT_OF_RANGE,
            '"high" must be',
          )
        expectError(
          thrown(() => writer.markPair(7, 0.5)),
          OUT_OF_RANGE,
          '"high"',
          '-2^31',
        )
        await take(tracker)
      } else {
        expectError(
          thrown(() => writer.markPair(7, 1)),
          INVALID_ARG,
          '"low"',
          `'${kind}'`,
        )
      }
      expect(writer.markMany([])).toBe(true)
      expect(await take(tracker)).toEqual([])
    },
  )

  it.each(kinds)(
    "'%s': flushTo() of a TxnBuffer refuses a text where numbers are wanted, and the other way round; the keys stay in the buffer",
    async (kind) => {
      const tracker = await openInline({ keys: kind })
      const writer = tracker.openWriter()
      const isNumeric = kind === 'number' || kind === 'bigint'
      for (const [name, { key }] of Object.entries(samples)) {
        const txn = new TxnBuffer()
        txn.mark(key)
        const keyIsNumeric = name === 'number' || name === 'bigint'
        if (kind === 'any' || kind === name) {
          expect(txn.flushTo(writer)).toBe(true)
          expect(await take(tracker)).toEqual([key])
        } else if (!isNumeric || !keyIsNumeric) {
          expectError(
            thrown(() => txn.flushTo(writer)),
            INVALID_ARG,
            `keys: '${kind}'`,
          )
          expect([...txn]).toEqual([key])
        }
      }
      expect(await take(tracker)).toEqual([])
    },
  )

  it("'bigint': every key comes back as a bigint, small ones too, so that a Map of bigints finds them", async () => {
    const tracker = await openInline({ keys: 'bigint' })
    const writer = tracker.openWriter()
    writer.markMany([7n, 2n ** 53n, 0n, 2n ** 64n - 1n])
    const epoch = await tracker.advanceEpoch()
    const keys = [7n, 2n ** 53n, 0n, 2n ** 64n - 1n]
    expect([[...epoch], [...epoch.listed()], [...epoch.numbers()], [...epoch.bigints]]).toEqual([
      keys,
      keys,
      keys,
      keys,
    ])
    expect([epoch.has(7n), epoch.has(7)]).toEqual([true, true])
  })
})

describe('maxStringsPerEpoch: 0', () => {
  it('marks a text by its fingerprint, as a number, and reserves nothing for text', async () => {
    const tracker = await openInline({ maxStringsPerEpoch: 0 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    txn.mark('c')
    expect([writer.mark('a'), writer.markMany(['b', 'a', bytes('a')])]).toEqual([true, true])
    expect(writer.mark('x'.repeat(2 ** 20))).toBe(true)
    expect(txn.flushTo(writer)).toBe(true)
    const epoch = await tracker.advanceEpoch()
    const prints = ['a', 'b', 'x'.repeat(2 ** 20), 'c'].map((text) => fingerprint(text))
    expect([...epoch.bigints]).toEqual(prints)
    expect([epoch.size, [...epoch.texts()]]).toEqual([4, []])
    expect([
      epoch.has('a'),
      epoch.has(bytes('b')),
      epoch.has(fingerprint('c')),
      epoch.has('d'),
    ]).toEqual([true, true, true, false])
    const { laneTextWords, arenaWords, largestTextTable } = attachMemory(
      tracker.handle,
      'tracker',
    ).layout
    expect([laneTextWords, arenaWords, largestTextTable]).toEqual([0, 0, 0])
  })

  it('needs no room for text: waitForRoom() resolves, also for textBytes', async () => {
    const tracker = await openInline({ maxStringsPerEpoch: 0 })
    const writer = tracker.openWriter()
    await writer.waitForRoom()
    await writer.waitForRoom(2, { textBytes: 0 })
    await writer.waitForRoom(2, { textBytes: 1000 })
    expect(writer.mark('x'.repeat(1000))).toBe(true)
  })
})

describe('room for text', () => {
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ mark: fc.integer({ min: 0, max: LONGEST }) }) },
    { weight: 5, arbitrary: fc.record({ mark: fc.integer({ min: 0, max: 30 }) }) },
    { weight: 2, arbitrary: fc.record({ number: fc.integer({ min: 0, max: 9 }) }) },
    { weight: 2, arbitrary: fc.record({ steps: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 3, arbitrary: fc.constant('room' as const) },
    {
      weight: 3,
      arbitrary: fc.record({
        // 0 asks for no text, not even for an empty one.
        wait: fc.integer({ min: 1, max: LONGEST }),
        keys: fc.integer({ min: 1, max: 8 }),
      }),
    },
  )

  it('roomForText, and waitForRoom() with textBytes, promise no mark that is then refused', async () => {
    const { tracker, hand } = await openHeld({ ...SMALL_RING, laneCapacity: 8, batchSize: 3 })
    const writer = tracker.openWriter()
    let rooms = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        for (const each of steps) {
          if (each === 'room') {
            const room = writer.roomForText
            expect(room).toBeLessThanOrEqual(LONGEST)
            if (writer.room === 0 || room === 0) continue
            rooms++
            expect([room, writer.mark('r'.repeat(room))]).toEqual([room, true])
          } else if ('mark' in each) writer.mark('x'.repeat(each.mark))
          else if ('number' in each) writer.mark(each.number)
          else if ('steps' in each) hand.run(each.steps)
          else {
            const waiting = writer.waitForRoom(each.keys, { textBytes: each.wait })
            let done = false
            const noting = waiting.then(() => (done = true))
            await turns(1) // it may be there already, and only just
            if (!done) hand.run()
            await noting
            expect(writer.mark('w'.repeat(each.wait))).toBe(true)
            for (const id of range(1, each.keys - 1)) expect(writer.mark(id)).toBe(true)
          }
        }
        hand.run()
        const pending = tracker.advanceEpoch()
        hand.run()
        ;(await pending).commit()
      }),
      { numRuns: 200 },
    )
    expect(rooms).toBeGreaterThan(50)
    expectAccounts(tracker)
  })

  it('waitForRoom() waits for text as it waits for keys, and refuses what never fits', async () => {
    const { tracker, hand } = await openHeld(SMALL_RING)
    const writer = tracker.openWriter()
    fill(writer)
    let done = false
    const waiting = writer.waitForRoom(1, { textBytes: 100 }).then(() => (done = true))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(done).toBe(false)
    hand.run()
    await waiting
    expect(writer.mark('y'.repeat(100))).toBe(true)
    expectError(
      await rejected(writer.waitForRoom(1, { textBytes: LONGEST + 1 })),
      OUT_OF_RANGE,
      'textBytes',
    )
    expectError(
      await rejected(writer.waitForRoom(1, { textBytes: '1' as never })),
      INVALID_ARG,
      'textBytes',
    )
    fill(writer)
    const controller = new AbortController()
    const aborted = rejected(writer.waitForRoom(1, { textBytes: 100, signal: controller.signal }))
    controller.abort(new Error('enough'))
    expect((await aborted).message).toBe('enough')
  })
})

describe('C12: the accounts', () => {
  it('hold with texts of every form, refused ones included; stats().distinct counts both kinds', async () => {
    const { tracker, hand } = await openHeld({ ...SMALL_RING, batchSize: 4 })
    const writer = tracker.openWriter()
    const txn = new TxnBuffer()
    txn.markMany(['t', 1, 't'])
    let offered = 0
    writer.mark('a')
    writer.markMany(['a', 'b', 1, bytes('a')])
    txn.flushTo(writer)
    writer.batch(() => writer.mark('c') && writer.mark(2))
    offered += 1 + 4 + 3 + 2
    hand.run()
    expect(tracker.stats()).toMatchObject({ distinct: 7, keys: offered })
    offered += fill(writer) + 1
    for (const key of ['q'.repeat(LONGEST), 3, 'q'.repeat(LONGEST)]) {
      writer.mark(key)
      offered++
    }
    expectAccounts(tracker, offered)
    hand.run()
    expectAccounts(tracker, offered)
    expect(tracker.stats().writers[0].rejected).toBe(3)
    const pending = tracker.advanceEpoch()
    hand.run()
    expect((await pending).size).toBe(9)
    expect(tracker.stats().distinct).toBe(0)
  })
})

describe('a program that marks only numbers', () => {
  it.each(['js', 'wasm'] as const)(
    'stores nothing in the memory for text, with kernel %s',
    async (kernel) => {
      const tracker = await openInline({ kernel, maxWriters: 3, epochSlots: 3, batchSize: 8 })
      const memory = attachMemory(tracker.handle, 'tracker')
      const SENTINEL = 0x5a5a5a5a
      const parts = textParts(memory)
      for (const [from, length] of parts) memory.words.fill(SENTINEL, from, from + length)
      const txn = new TxnBuffer()
      for (const round of range(0, 12)) {
        const writers = [tracker.openWriter(), tracker.openWriter()]
        for (const i of range(0, 1500)) writers[i % 2].mark(i * 7 + round)
        writers[0].markMany(range(0, 700).map((i) => BigInt(i) << 40n))
        writers[1].batch(() => writers[1].markPair(1, 2))
        txn.markMany([1, 2, 3])
        txn.flushTo(writers[0])
        await writers[0].waitForRoom(1000)
        expect(writers[0].roomForText).toBe(32_752)
        const epoch = await tracker.advanceEpoch()
        expect([epoch.exact, epoch.size > 1500, epoch.has('a'), [...epoch.texts()]]).toEqual([
          true,
          true,
          false,
          [],
        ])
        if (round % 3 === 0) await epoch.restore()
        else epoch.commit()
        for (const writer of writers) writer.close()
        await tracker.drained()
      }
      for (const [from, length, what] of parts) {
        const touched = memory.words
          .subarray(from, from + length)
          .findIndex((word) => word !== SENTINEL)
        expect([what, touched]).toEqual([what, -1])
      }
    },
  )

  it('and one text is seen by that look', async () => {
    const tracker = await openInline({ maxWriters: 1, epochSlots: 2, batchSize: 1 })
    const memory = attachMemory(tracker.handle, 'tracker')
    tracker.openWriter().mark('a')
    await tracker.drained()
    const used = textParts(memory).filter(([from, length]) =>
      memory.words.subarray(from, from + length).some((word) => word !== 0),
    )
    expect(used.map(([, , what]) => what)).toEqual([
      'the places gathered',
      'text of lane 0',
      'arena of slot 0',
      'table of slot 0',
    ])
  })
})

/** Where text is, in words: nothing else is stored there. */
function textParts({ layout }: Memory): [from: number, length: number, what: string][] {
  const { laneText, laneTextWords, arena, arenaWords, textTable, largestTextTable } = layout
  return [
    [GATHERED_KEYS, 3 * GATHERED_MAX, 'the places gathered'],
    ...range(0, layout.maxWriters).map((id): [number, number, string] => [
      laneAt(layout, id) + laneText,
      laneTextWords,
      `text of lane ${id}`,
    ]),
    ...range(0, layout.epochSlots).flatMap((slot): [number, number, string][] => [
      [epochAt(layout, slot) + arena, arenaWords, `arena of slot ${slot}`],
      [epochAt(layout, slot) + textTable, 2 * largestTextTable, `table of slot ${slot}`],
    ]),
  ]
}

describe('a tracker, against plain Sets', () => {
  const alphabet = fc.constantFrom(
    '',
    'a',
    'user:',
    '\0',
    '\ud800',
    '\udc00',
    '\u{1f680}',
    'é',
    '漢',
  )
  const text = fc.array(alphabet, { maxLength: 5 }).map((parts) => parts.join(''))
  const key: fc.Arbitrary<Key> = fc.oneof(
    { weight: 5, arbitrary: text },
    { weight: 2, arbitrary: text.map(bytes) },
    { weight: 1, arbitrary: fc.uint8Array({ max: 2, maxLength: 9 }) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: LONGEST }).map((n) => 'l'.repeat(n)) },
    { weight: 3, arbitrary: fc.integer({ min: 0, max: 20 }) },
    { weight: 1, arbitrary: text.map((each) => fingerprint(each)) },
  )
  const short = fc.oneof<fc.Arbitrary<Key>[]>(text, text.map(bytes), fc.nat({ max: 20 }))
  const writers = fc.nat({ max: 1 })
  const operation = fc.oneof(
    { weight: 8, arbitrary: fc.record({ by: writers, mark: key }) },
    { weight: 2, arbitrary: fc.record({ by: writers, many: fc.array(short, { maxLength: 8 }) }) },
    { weight: 2, arbitrary: fc.record({ by: writers, parts: fc.array(key, { maxLength: 30 }) }) },
    { weight: 2, arbitrary: fc.record({ by: writers, batch: fc.array(short, { maxLength: 8 }) }) },
    { weight: 1, arbitrary: fc.record({ by: writers, txn: fc.array(key, { maxLength: 20 }) }) },
    { weight: 1, arbitrary: fc.record({ by: writers, again: fc.constant(true) }) },
    { weight: 2, arbitrary: fc.constantFrom('commit' as const, 'restore' as const) },
  )

  it.each(['js', 'wasm'] as const)(
    'gives back exactly what was marked, with kernel %s',
    async (kernel) => {
      const tracker = await openInline({
        kernel,
        laneTextBytes: 1024,
        laneCapacity: 32,
        batchSize: 4,
        capacity: 4,
        maxWriters: 4,
      })
      const open = [tracker.openWriter(), tracker.openWriter()]
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { maxLength: 40 }), async (operations) => {
          const model = new Map<string, Key>()
          const note = (keys: Iterable<Key>): void => {
            for (const each of keys) model.set(nameOf(each), each)
          }
          const settle = async (how: 'commit' | 'restore'): Promise<void> => {
            const epoch = await tracker.advanceEpoch()
            expect([epoch.exact, epoch.size]).toEqual([true, model.size])
            const keys = [...epoch]
            expect(new Set(keys.map(nameOf))).toEqual(new Set(model.keys()))
            expect(
              keys.findIndex((each) => typeof each === 'object' || typeof each === 'string'),
            ).toBe([...epoch.texts()].length === 0 ? -1 : [...epoch.numbers()].length)
            for (const each of [...model.values(), 'never', 77, bytes('never')])
              expect([each, epoch.has(each)]).toEqual([each, model.has(nameOf(each))])
            if (how === 'restore') return epoch.restore()
            epoch.commit()
            model.clear()
          }
          for (const each of operations) {
            if (typeof each === 'string') {
              await settle(each)
              continue
            }
            const writer = open[each.by]
            if ('mark' in each) {
              note([each.mark])
              expect(writer.mark(each.mark)).toBe(true)
            } else if ('many' in each) {
              note(each.many)
              expect(writer.markMany(each.many)).toBe(true)
            } else if ('parts' in each) {
              note(each.parts)
              expect(writer.markMany(new Set(each.parts), { atomic: false })).toBe(true)
            } else if ('batch' in each) {
              note(each.batch)
              writer.batch(() => each.batch.forEach(writer.mark, writer))
            } else if ('txn' in each) {
              note(each.txn)
              const txn = new TxnBuffer()
              txn.markMany(each.txn)
              expect(txn.flushTo(writer, { atomic: false })).toBe(true)
            } else {
              writer.close()
              open[each.by] = tracker.openWriter()
            }
          }
          await settle('commit')
          expectAccounts(tracker)
        }),
        { numRuns: 60 },
      )
    },
  )
})
